package relay

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/trouble"
)

// A chooser decides which node a stream is fetched from. It does no I/O, has no lock and
// reads no clock: its owner does what next says and reports the outcome.
//
//	            entries are found            it has ended
//	[doFind] ─────────────────► [doFetch] ─────────────────┐
//	  ▲  ▲                          ▲                      │
//	  │  └───── it was steady ──────│──────────────────────┤
//	  │                             └── the next is asked ─┤
//	  └──────── [doPause] ◄──────── no entry is left ──────┴──► [doGiveUp]
//
// One pass from the first doFind to doPause or doGiveUp is a round.
type chooser struct {
	// static
	stream cdn.StreamID
	config chooserConfig

	todo  step
	known []cdn.Entry // the entries found last, the best first
	left  []cdn.Entry // those not asked yet
	skip  []cdn.Entry // left out of what is found next
	front cdn.Entry   // put in front of what is found next; without URL: none

	// of this round
	asked  []cdn.Entry // failed, one after another
	circle bool        // all of asked would fetch the stream from this node
	why    error       // why the previous upstream was left
	last   error       // the most telling error; nil: no node was asked

	lost    time.Time // when media last came
	pause   time.Duration
	circles int // rounds in a row in which all of asked would fetch the stream from this node
}

type chooserConfig struct {
	findTimeout, giveUp time.Duration
	// jitter returns a duration of 0 to below.
	jitter func(below time.Duration) time.Duration
	// first: the stream is wanted by clients of this node, and of no other.
	first bool
	// widens: nodes suggested by a full one are asked, too.
	widens bool
}

// An action is what the owner of a chooser has to do.
type action int

const (
	doFind   action = iota // ask the directory and call found
	doFetch                // fetch from step.from, and call fetched when that has ended
	doPause                // wait until step.until
	doGiveUp               // end the stream with step.err
)

// A step is an action with its arguments.
type step struct {
	do     action
	within time.Duration // doFind: how long the directory may take
	named  []cdn.Entry   // doFind: nodes suggested by one that is full

	from, standby cdn.Entry // doFetch: the upstream, and the one that would be next

	until time.Time // doPause
	tell  bool      // doPause, doGiveUp: err is a misconfiguration that was not told yet
	err   error     // doFetch: why the previous upstream was left; doPause, doGiveUp: why
}

// A sighting is what is seen of the stream at a time.
type sighting struct {
	ready   bool      // its tracks are known
	newest  time.Time // when media last came; zero: never
	sender  cdn.SenderState
	present time.Time // when sender was last [cdn.SenderPresent]; zero: never
}

// lively returns when the stream last had a source: media came, or its sender was
// known to be there.
func (s sighting) lively() time.Time {
	if s.present.After(s.newest) {
		return s.present
	}
	return s.newest
}

// An outcome is how a fetch ended.
type outcome struct {
	from, standby cdn.Entry // which may have changed places by a move
	begun         time.Time
	err           error
}

const (
	// What came for longer was no failure: those that failed earlier are asked again.
	steadyAfter = time.Second
	// refreshTimeout is how long the directory may take to be asked again.
	refreshTimeout = 250 * time.Millisecond
	// A circle in so many rounds is a misconfiguration: nodes that have lost the same
	// upstream may ask each other once or twice.
	leastCircles = 3
	// maxAsked bounds the nodes asked in a row that suggest others because they are full.
	maxAsked = 8

	// The pauses between rounds double from the first to the last. Each is shortened by
	// up to half, so that nodes that lost the same upstream do not come back at the same
	// moment.
	firstPause = 200 * time.Millisecond
	lastPause  = 3 * time.Second
)

func newChooser(now time.Time, stream cdn.StreamID, c chooserConfig) *chooser {
	ch := &chooser{stream: stream, config: c, lost: now, pause: firstPause}
	ch.beginRound()
	return ch
}

func (c *chooser) beginRound() {
	c.asked, c.skip, c.front = nil, nil, cdn.Entry{}
	c.circle, c.why, c.last = true, nil, nil
	c.todo = step{do: doFind, within: c.config.findTimeout}
}

// next returns what to do at a time.
func (c *chooser) next(now time.Time) step {
	if c.todo.do == doPause && !now.Before(c.todo.until) {
		c.beginRound()
	}
	return c.todo
}

// found takes the entries that the stream may be fetched from, the best first. With an
// error they are those known from earlier.
func (c *chooser) found(now time.Time, s sighting, entries []cdn.Entry, err error) {
	c.known, c.left = entries, entries
	for _, e := range c.skip {
		c.left = without(c.left, e)
	}
	if c.front.URL != "" {
		c.left = append([]cdn.Entry{c.front}, without(c.left, c.front)...)
	}
	c.skip, c.front = nil, cdn.Entry{}
	if err != nil && len(entries) == 0 && c.last == nil {
		c.last = err
	}
	c.advance(now, s)
}

// fetched takes the outcome of a fetch.
func (c *chooser) fetched(now time.Time, s sighting, o outcome) {
	if errors.Is(o.err, cdn.ErrNoCommonCodec) { // the stream has other codecs now: viewers must negotiate anew
		c.todo = step{do: doGiveUp, err: o.err}
		return
	}
	c.why = o.err
	if s.lively().Sub(o.begun) > steadyAfter {
		c.last, c.asked, c.skip = o.err, nil, []cdn.Entry{o.from}
		if errors.Is(o.err, errSilent) { // the standby has more
			c.front = o.standby
		}
		c.todo = step{do: doFind, within: refreshTimeout} // the directory may know better by now
		return
	}
	c.left, c.asked = without(c.left, o.from), append(c.asked, o.from)
	loop := errors.Is(o.err, cdn.ErrLoop)
	c.circle = c.circle && loop
	if !loop && moreTelling(o.err, c.last) {
		c.last = o.err
	}
	var full *cdn.Error
	if c.config.widens && len(c.asked) < maxAsked && errors.Is(o.err, cdn.ErrOverLimit) && errors.As(o.err, &full) {
		c.skip = c.asked
		c.todo = step{do: doFind, within: refreshTimeout, named: full.Instead}
		return
	}
	c.advance(now, s)
}

// advance goes on with the next entry.
func (c *chooser) advance(now time.Time, s sighting) {
	if len(c.left) == 0 {
		c.endRound(now, s)
		return
	}
	e := c.left[0]
	c.left = append(slices.Clone(c.left[1:]), e) // a move may lead away from it, and back
	c.todo = step{do: doFetch, from: e, standby: c.standby(e), err: c.why}
}

// standby returns the entry that would be next after e, without URL if there is none:
// one that does not have the stream through e, if there is one. One that failed earlier
// may be back by then.
func (c *chooser) standby(e cdn.Entry) (next cdn.Entry) {
	others := without(append(slices.Clone(c.left), c.known...), e)
	for _, o := range others {
		if e.Node == "" || !slices.Contains(o.Path, e.Node) {
			return o
		}
	}
	if len(others) > 0 {
		next = others[0]
	}
	return next
}

// endRound decides whether there is another round.
func (c *chooser) endRound(now time.Time, s sighting) {
	err := c.result()
	if at := s.lively(); at.After(c.lost) {
		c.lost, c.pause = at, firstPause
	}
	circle := errors.Is(err, trouble.ErrCircle)
	if c.circles++; !circle {
		c.circles = 0
	}
	if errors.Is(err, cdn.ErrEnded) || !s.ready || now.Sub(c.lost) > c.config.giveUp {
		c.todo = step{do: doGiveUp, tell: circle, err: err}
		return
	}
	c.todo = step{do: doPause, until: now.Add(c.pause - c.config.jitter(c.pause/2)), tell: c.circles >= leastCircles, err: err}
	c.pause = min(2*c.pause, lastPause)
}

// result returns the error of a round that is over.
func (c *chooser) result() error {
	fail := func(err error) error { return &cdn.Error{Op: "fetch", Stream: c.stream, Err: err} }
	switch {
	case c.circle && len(c.asked) > 0 && c.config.first: // nobody else has an entry that leads out
		return fail(fmt.Errorf("%w: %w", cdn.ErrLoop, trouble.ErrCircle))
	case c.circle && len(c.asked) > 0:
		return fail(cdn.ErrLoop)
	case c.last == nil:
		return fail(fmt.Errorf("%w: no node is known to have it", cdn.ErrNotFound))
	}
	return c.last
}

// moreTelling reports whether err tells more than last: that a node could not be asked,
// more than that it does not have the stream; and that it had the stream, which has
// ended, most.
func moreTelling(err, last error) bool {
	if errors.Is(err, cdn.ErrEnded) || errors.Is(last, cdn.ErrEnded) {
		return errors.Is(err, cdn.ErrEnded)
	}
	return last == nil || !errors.Is(err, cdn.ErrNotFound) || errors.Is(last, cdn.ErrNotFound)
}

func without(entries []cdn.Entry, left cdn.Entry) []cdn.Entry {
	return slices.DeleteFunc(slices.Clone(entries), func(e cdn.Entry) bool { return e.Place() == left.Place() && e.Node == left.Node })
}
