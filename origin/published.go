package origin

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/receive"
	"github.com/deltacdn/delta/signal"
)

// published is a stream with its publisher, or one that waits for its publisher.
type published struct {
	origin *Origin
	stream *cdn.Stream
	own    string // the publication's name, unless the publisher names it
	ending sync.Once

	mu      sync.Mutex
	ingests []ingest // the newest last; none while the stream waits for its publisher
	subject string   // of the last publisher
	epoch   uint64
	// publication names what is published: own, or the name that the publisher gives it,
	// which then may send it to other origins, too.
	publication string
	shared      bool
	grace       *time.Timer // runs while the stream waits for its publisher
	lost        *parting    // of the publisher that is waited for; nil: it says no goodbye
	retract     func()      // withdraws the announcement
	ended       bool
}

// An ingest is the input of one publisher. While one takes over from another there are two.
type ingest struct {
	input       *cdn.Input
	subject     string
	publication string
}

// newInput adds the publisher's input, under the next epoch, if there is no other or it may
// take over. The caller must call leave or abandon.
func (p *published) newInput(subject, publication string, tracks []cdn.TrackInfo) (*cdn.Input, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.removeLocked(nil) // an input that has ended must not keep a publisher out
	switch {
	case p.ended || p.stream.Err() != nil: // why it ended is not the new publisher's concern
		return nil, cdn.ErrEnded
	case !p.admitsLocked(subject):
		return nil, &cdn.Error{
			Op: "publish", Stream: p.stream.ID(), Err: cdn.ErrAlreadyPublishing, RetryAfter: 5 * time.Second,
		}
	}
	if publication == "" {
		publication = p.publication
	}
	input, err := p.stream.NewInput(cdn.InputConfig{Publication: publication, Epoch: p.epoch + 1})
	if err == nil {
		if err = input.Start(tracks); err != nil {
			input.Close(err)
		}
	}
	switch {
	case err != nil && p.stream.Err() != nil: // meanwhile
		return nil, cdn.ErrEnded
	case err != nil:
		return nil, err
	}
	p.epoch++
	p.publication, p.shared = publication, publication != p.own
	p.ingests = append(p.ingests, ingest{input, subject, publication})
	p.subject = subject
	p.origin.work.Add(1)
	p.stopGraceLocked()
	p.announceLocked()
	return input, nil
}

func (p *published) admitsLocked(subject string) bool {
	same := p.epoch == 0 || subject == p.subject
	switch how := p.origin.config.Takeover; {
	case how == TakeoverAlways, same && len(p.ingests) == 0:
		return true
	case how == TakeoverNever:
		return false
	}
	return same && subject != ""
}

func (p *published) announceLocked() {
	e := cdn.Entry{Publication: p.publication, Epoch: p.epoch}
	if p.shared {
		e.Epoch = 1 // a publisher that came back here does not make the others' entries stale
	}
	p.retract = p.origin.node.Announce(p.stream, e, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if !p.ended { // not on the announcer's goroutine, which end calls
			p.origin.work.Go(func() { p.end(fmt.Errorf("%w: it is published elsewhere", cdn.ErrStale)) })
		}
	})
}

// leave notes that the publisher of input is gone, and why. A stream whose only publisher
// never connected is not kept for it: strangers could fill the node with such streams. Nor
// is that of a publisher that may not publish any more, or has said goodbye (nil: it cannot).
func (p *published) leave(input *cdn.Input, connected bool, err error, from *parting) {
	defer p.origin.work.Done()
	p.mu.Lock()
	p.removeLocked(input)
	if len(p.ingests) > 0 || p.grace != nil || p.ended {
		p.mu.Unlock()
		return // another has taken over, or was never replaced
	}
	goodbye := errors.Is(err, cdn.ErrClosed) || errors.Is(err, cdn.ErrEnded)
	if from != nil && from.said.Load() {
		goodbye, err = true, cdn.ErrLeft
	}
	final := goodbye || errors.Is(err, cdn.ErrForbidden) || errors.Is(err, cdn.ErrUnauthorized) && !errors.Is(err, cdn.ErrExpired)
	err = endOf(err)
	if wait := p.origin.config.Grace; wait > 0 && !final && (connected || p.epoch > 1) {
		p.lost = from
		p.startGraceLocked(wait, err)
		p.mu.Unlock()
		return
	}
	p.mu.Unlock()
	p.end(err)
}

// endOf returns why a stream ends whose publisher's session ended with err. Viewers are not
// told a reason that concerns the publisher alone.
func endOf(err error) error {
	switch {
	case errors.Is(err, cdn.ErrClosed), errors.Is(err, cdn.ErrEnded):
		return cdn.ErrEnded
	case errors.Is(err, cdn.ErrForbidden), errors.Is(err, cdn.ErrUnauthorized), errors.Is(err, cdn.ErrOverLimit) && !errors.Is(err, cdn.ErrDraining):
		return fmt.Errorf("%w: its publisher was sent away: %s", cdn.ErrEnded, err.Error())
	}
	return err
}

// abandon undoes a newInput whose publisher got no session. The stream is what it was.
func (p *published) abandon(input *cdn.Input, err error) {
	input.Close(err)
	p.mu.Lock()
	first := p.epoch == 1
	p.mu.Unlock()
	if first {
		p.end(errRefused)
	}
	p.leave(input, false, cdn.ErrPeerLost, nil)
}

// removeLocked removes the ingest of input (nil: of none), and those that have ended without
// having left yet: they do not keep the stream.
func (p *published) removeLocked(input *cdn.Input) {
	p.ingests = slices.DeleteFunc(p.ingests, func(w ingest) bool {
		select {
		case <-w.input.Done():
			return true
		default:
			return w.input == input
		}
	})
	if n := len(p.ingests); n > 0 {
		last := p.ingests[n-1]
		p.subject = last.subject
		if last.publication != p.publication && !p.ended { // the one that would have taken over did not come
			p.publication, p.shared = last.publication, last.publication != p.own
			p.announceLocked()
		}
	}
}

// startGraceLocked ends the stream unless a publisher comes in time.
func (p *published) startGraceLocked(wait time.Duration, err error) {
	p.origin.work.Add(1)
	var timer *time.Timer
	timer = time.AfterFunc(wait, func() {
		defer p.origin.work.Done()
		p.mu.Lock()
		waiting := p.grace == timer
		p.mu.Unlock()
		if waiting {
			p.end(err)
		}
	})
	p.grace = timer
}

func (p *published) stopGraceLocked() {
	if p.grace != nil && p.grace.Stop() {
		p.origin.work.Done()
	}
	p.grace = nil
}

// errRefused is why a stream ends whose first publisher is refused: the publisher is told
// why, and those who wait for the stream that there is none.
var errRefused = fmt.Errorf("%w: its publisher was refused", cdn.ErrNotFound)

// endUnused ends a stream that was made for a publisher who was then refused.
func (p *published) endUnused() {
	p.mu.Lock()
	unused := p.epoch == 0
	p.mu.Unlock()
	if unused {
		p.end(errRefused)
	}
}

// end ends the stream and everything that belongs to it. When any call returns, the stream
// has ended and its name is free.
func (p *published) end(err error) {
	p.ending.Do(func() {
		p.mu.Lock()
		p.ended = true
		p.stopGraceLocked()
		retract := p.retract
		p.mu.Unlock()

		p.stream.End(err)
		o := p.origin
		o.mu.Lock()
		delete(o.streams, p.stream.ID())
		o.mu.Unlock()
		if retract != nil {
			retract()
		}
	})
}

// transport is what receives a publisher's media.
type transport interface {
	signal.Session
	End(err error) // begins the end and does not wait
}

// A session is a publisher's. It is a signal.Session.
type session struct {
	transport
	published *published
	input     *cdn.Input
	admission *cdn.Admission
	parting   *parting
	own       atomic.Pointer[receive.Session] // nil: a PeerConnection, or not there yet
	received  atomic.Pointer[receive.Stats]   // at the end; nil: it is not over
	count     func()                          // measures for the last time
	narrowed  time.Time                       // Since of what was seen last of its path; uplink's own
	turns     turns                           // of what is told of the session
}

// Close ends the session for a publisher that says goodbye. The stream then waits for it no
// more, also where the session was over already.
func (s *session) Close() error {
	s.parting.said.Store(true)
	err := s.transport.Close()
	s.parting.say()
	return err
}

// Farewell returns what to call if the publisher says goodbye once the session is over. It
// holds none of what the session has.
func (s *session) Farewell() (goodbye func()) { return s.parting.say }

// begin tells that the session has started.
func (s *session) begin() {
	s.turns.take(func() { s.admission.Start(s.End) })
}

// ended is called when the session is over. While something is told of the session, its end
// is told after that, and ended does not wait: a handler may wait for the session's end.
// Origin.work waits for both.
func (s *session) ended(err error) {
	s.turns.take(func() {
		s.admission.Leave(err)
		s.published.leave(s.input, s.admission.HasProved(), err, s.parting)
	})
}

// ownEnded is ended for a session of Delta's own.
func (s *session) ownEnded(err error, stats receive.Stats) {
	s.published.origin.remove(s, stats)
	s.ended(err)
}

// uplink is told what is seen of the publisher's path. The clock of all publishers calls it:
// what it has to tell is told by a goroutine.
func (s *session) uplink(path cdn.Uplink, changed bool) {
	before := s.narrowed
	s.narrowed = path.Since
	s.input.SetUplink(path)
	if !changed {
		return
	}
	g, id, name := s.admission.Grant(), s.published.stream.ID(), s.admission.Name()
	var e cdn.Event = cdn.UplinkRecovered{
		Stream: id, Session: name, Subject: g.Subject, Grant: g.ID, Tag: g.Tag, Lasted: path.Since.Sub(before), Uplink: path,
	}
	if path.Narrow {
		e = cdn.UplinkNarrow{Stream: id, Session: name, Subject: g.Subject, Grant: g.ID, Tag: g.Tag, Uplink: path}
	}
	s.turns.spawn(&s.published.origin.work, func() { s.published.origin.node.Emit(e) })
}

// stats returns what a session of Delta's own has received; false while there is none.
func (s *session) stats() (receive.Stats, bool) {
	if over := s.received.Load(); over != nil {
		return *over, true
	}
	if own := s.own.Load(); own != nil {
		return own.Stats(), true
	}
	return receive.Stats{}, false
}

// measure adds what the publisher has sent.
func (s *session) measure(t *cdn.Totals) {
	got, _ := s.stats()
	t.Publishers.Received.Add(cdn.Flow{Packets: got.Packets, Bytes: got.Bytes, Repairs: got.Repairs})
	for _, n := range got.Dropped {
		t.Publishers.Received.Dropped += n
	}
}

// A parting is a publisher's goodbye. It counts also if the session is over by then: OBS closes
// its connection first, which looks like any loss of it, and sends its DELETE afterwards.
type parting struct {
	origin *Origin
	stream cdn.StreamID
	said   atomic.Bool
}

// say ends the stream if that waits for the publisher.
func (g *parting) say() {
	g.said.Store(true)
	g.origin.mu.Lock()
	p := g.origin.streams[g.stream]
	g.origin.mu.Unlock()
	if p != nil && p.awaits(g) {
		p.end(cdn.ErrEnded)
	}
}

// awaits reports whether the stream waits for the publisher whose parting it is.
func (p *published) awaits(who *parting) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.grace != nil && p.lost == who
}
