package relay

import (
	"context"
	"slices"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/jitter"
)

// A fetch keeps one stream coming from wherever it can be had. Its goroutine does the I/O
// that a [chooser], a [watchdog] and a [scout] decide on.
type fetch struct {
	// static
	relay  *Relay
	stream *cdn.Stream
	path   []cdn.NodeID    // of the first request, with this node at its end
	ctx    context.Context // ends with the fetch
	cancel context.CancelFunc
	traced cdn.TraceContext // the span of the first request, until the stream is here
	jitter *jitter.Source
	chosen chan struct{} // holds one item after expected has changed

	// owned by run
	found    []cdn.Entry // the directory's last answer
	known    []cdn.Entry // the nodes to ask, the best first
	measured bool        // the nodes that may give the stream have been measured, or not in time

	// guarded by relay.mu
	wants    int
	expected cdn.InputConfig // the route that the stream is about to take; without Path: not known
	upstream upstream
	linger   *time.Timer // runs while nobody wants it
	over     bool
}

func (f *fetch) wantLocked() {
	f.wants++
	f.stopTimerLocked()
}

// comesThroughLocked reports whether the stream comes through one of nodes, or one of
// them is being asked for it: to give it to them would be a loop.
func (f *fetch) comesThroughLocked(nodes []cdn.NodeID) bool {
	in, _ := f.stream.Input()
	for _, id := range append(slices.Clone(in.Path), f.upstream.from.Node) {
		if id != "" && slices.Contains(nodes, id) {
			return true
		}
	}
	return false
}

func (f *fetch) stopLocked() {
	f.over = true
	f.stopTimerLocked()
	f.cancel()
}

func (f *fetch) stopTimerLocked() {
	if f.linger != nil && f.linger.Stop() {
		f.relay.work.Done()
	}
	f.linger = nil
}

// run fetches until the stream ends, nobody wants it, or it cannot be had any more, and
// returns why.
func (f *fetch) run(ctx context.Context) error {
	c := newChooser(time.Now(), f.stream.ID(), chooserConfig{
		findTimeout: f.relay.config.FindTimeout, giveUp: f.relay.config.GiveUp, jitter: f.jitter.Below,
		first: len(f.path) == 1, widens: f.relay.routes.near != nil,
	})
	for ctx.Err() == nil {
		s := c.next(time.Now())
		if s.tell {
			report(f.relay.routes.links, c.asked[0], s.err, "stream", string(f.stream.ID()))
		}
		switch s.do {
		case doFind:
			entries, err := f.find(ctx, s)
			c.found(time.Now(), f.sight(), entries, err)
		case doFetch:
			outcome := f.fetchFrom(ctx, s)
			c.fetched(time.Now(), f.sight(), outcome)
		case doPause:
			f.use(cdn.Entry{}, cdn.Entry{}, nil)
			f.relay.node.Logger().Info("a fetch broke off", "stream", string(f.stream.ID()), "retry", time.Until(s.until), "err", s.err)
			sleep(ctx, time.Until(s.until))
		case doGiveUp:
			f.use(cdn.Entry{}, cdn.Entry{}, nil)
			return s.err
		}
	}
	f.use(cdn.Entry{}, cdn.Entry{}, nil)
	return cdn.ErrClosed
}

// sight returns what is seen of the stream now.
func (f *fetch) sight() sighting {
	s := sighting{ready: f.stream.Tracks() != nil, newest: newest(f.stream)}
	s.sender, s.present = f.stream.Sender()
	return s
}
