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

// published is a stream with its publisher, or with one that is waited for.
type published struct {
	origin *Origin
	stream *cdn.Stream
	own    string         // names what is published here alone
	work   sync.WaitGroup // sessions and timers
	ending sync.Once

	mu      sync.Mutex
	ways    []way  // the newest last; none while the publisher is waited for
	subject string // of the last publisher
	epoch   uint64
	// publication is what is being published: own, or what the publisher calls
	// it, who then may be sending it to other origins, too.
	publication string
	shared      bool
	grace       *time.Timer // runs while the publisher is waited for
	retract     func()      // takes the announcement back
	ended       bool
}

// A way is how a publisher's media comes in. While one takes over from another
// there are two of them.
type way struct {
	input       *cdn.Input
	subject     string
	publication string
}

// newInput adds the publisher's way in, under the next epoch, if there is none
// or it may take over. The caller owes a call of leave or abandon.
func (p *published) newInput(subject, publication string, tracks []cdn.TrackInfo) (*cdn.Input, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.removeLocked(nil) // an input that has ended must not keep a publisher out
	switch {
	case p.ended || p.stream.Err() != nil: // whoever ended it, and why, is not the newcomer's concern
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
	p.ways = append(p.ways, way{input, subject, publication})
	p.subject = subject
	p.work.Add(1)
	p.stopGraceLocked()
	p.announceLocked()
	return input, nil
}

func (p *published) admitsLocked(subject string) bool {
	same := p.epoch == 0 || subject == p.subject
	switch how := p.origin.config.Takeover; {
	case how == TakeoverAlways, same && len(p.ways) == 0:
		return true
	case how == TakeoverNever:
		return false
	}
	return same && subject != ""
}

func (p *published) announceLocked() {
	e := cdn.Entry{Publication: p.publication, Epoch: p.epoch}
	if p.shared {
		e.Epoch = 1 // that a publisher came back here does not make the others' stale
	}
	p.retract = p.origin.node.Announce(p.stream, e, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if !p.ended { // not from within the announcer, which ending calls
			p.work.Go(func() { p.end(fmt.Errorf("%w: it is published elsewhere", cdn.ErrStale)) })
		}
	})
}

// leave notes that the publisher of input is gone, for the reason given. A stream
// whose only publisher never connected is not kept for it: strangers could fill the
// node with such streams.
func (p *published) leave(input *cdn.Input, connected bool, err error) {
	defer p.work.Done()
	p.mu.Lock()
	p.removeLocked(input)
	if len(p.ways) > 0 || p.grace != nil || p.ended {
		p.mu.Unlock()
		return // another has taken over, or never ceased
	}
	goodbye := errors.Is(err, cdn.ErrClosed) || errors.Is(err, cdn.ErrEnded)
	if wait := p.origin.config.Grace; wait > 0 && !goodbye && (connected || p.epoch > 1) {
		p.startGraceLocked(wait, err)
		p.mu.Unlock()
		return
	}
	p.mu.Unlock()
	if goodbye {
		err = cdn.ErrEnded
	}
	p.end(err)
}

// abandon takes back a newInput whose publisher got no session. It leaves the
// stream as it was before.
func (p *published) abandon(input *cdn.Input, err error) {
	input.Close(err)
	p.mu.Lock()
	first := p.epoch == 1
	p.mu.Unlock()
	if first {
		p.end(err)
	}
	p.leave(input, false, cdn.ErrPeerLost)
}

// removeLocked takes out the way of input (nil: of none), and those that have come
// to their end without having left yet: they do not keep the stream.
func (p *published) removeLocked(input *cdn.Input) {
	p.ways = slices.DeleteFunc(p.ways, func(w way) bool {
		select {
		case <-w.input.Done():
			return true
		default:
			return w.input == input
		}
	})
	if n := len(p.ways); n > 0 {
		last := p.ways[n-1]
		p.subject = last.subject
		if last.publication != p.publication && !p.ended { // who would take over did not come
			p.publication, p.shared = last.publication, last.publication != p.own
			p.announceLocked()
		}
	}
}

// startGraceLocked ends the stream unless a publisher comes in time.
func (p *published) startGraceLocked(wait time.Duration, err error) {
	p.work.Add(1)
	var timer *time.Timer
	timer = time.AfterFunc(wait, func() {
		defer p.work.Done()
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
		p.work.Done()
	}
	p.grace = nil
}

// endUnused ends a stream that was made for a publisher who then failed.
func (p *published) endUnused(err error) {
	p.mu.Lock()
	unused := p.epoch == 0
	p.mu.Unlock()
	if unused {
		p.end(err)
	}
}

// end ends the stream and everything that belongs to it. When it returns, whoever
// has called it, the stream has ended and its name is free.
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
	own       atomic.Pointer[receive.Session] // nil: it is none of Delta's own, or not there yet
}

// ended is called when the session is over.
func (s *session) ended(err error) {
	s.admission.Leave(err)
	s.published.leave(s.input, s.admission.HasProved(), err)
}

// received is ended for a session of Delta's own.
func (s *session) received(err error, stats receive.Stats) {
	s.published.origin.remove(s, stats)
	s.ended(err)
}
