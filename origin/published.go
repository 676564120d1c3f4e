package origin

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/pcrecv"
)

// published is a stream with its publisher, or with one that is waited for.
type published struct {
	origin      *Origin
	stream      *cdn.Stream
	publication string
	work        sync.WaitGroup // sessions and timers

	mu      sync.Mutex
	subject string
	epoch   uint64
	input   *cdn.Input  // the newest; nil while the publisher is waited for
	grace   *time.Timer // runs while the publisher is waited for
	retract func()      // takes the announcement back
	ended   bool
}

// newInput adds the publisher's way in, under the next epoch, if there is none
// or it may take over.
func (p *published) newInput(subject string, tracks []cdn.TrackInfo) (*cdn.Input, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.ended:
		return nil, cdn.ErrEnded
	case !p.admitsLocked(subject):
		return nil, &cdn.Error{
			Op: "publish", Stream: p.stream.ID(), Err: cdn.ErrAlreadyPublishing, RetryAfter: 5 * time.Second,
		}
	}
	input, err := p.stream.NewInput(cdn.InputConfig{Publication: p.publication, Epoch: p.epoch + 1})
	if err != nil {
		return nil, err
	}
	if err := input.Start(tracks); err != nil {
		input.Close(err)
		return nil, err
	}
	p.epoch++
	p.input, p.subject = input, subject
	p.stopGraceLocked()
	p.announceLocked()
	return input, nil
}

func (p *published) admitsLocked(subject string) bool {
	same := p.epoch == 0 || subject == p.subject
	switch how := p.origin.config.Takeover; {
	case how == TakeoverAlways, same && p.input == nil:
		return true
	case how == TakeoverNever:
		return false
	}
	return same && subject != ""
}

func (p *published) announceLocked() {
	p.retract = p.origin.node.Announce(p.stream, cdn.Entry{Publication: p.publication, Epoch: p.epoch}, func() {
		// Not from within the announcer, which ending calls.
		p.work.Go(func() { p.end(fmt.Errorf("%w: it is published elsewhere", cdn.ErrStale)) })
	})
}

// left notes that the publisher of input is gone, for the reason given.
func (p *published) left(input *cdn.Input, err error) {
	p.mu.Lock()
	if p.input != input || p.ended {
		p.mu.Unlock()
		return // another has taken over
	}
	p.input = nil
	goodbye := errors.Is(err, cdn.ErrClosed) || errors.Is(err, cdn.ErrEnded)
	if wait := p.origin.config.Grace; wait > 0 && !goodbye {
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

// end ends the stream and everything that belongs to it.
func (p *published) end(err error) {
	p.mu.Lock()
	if p.ended {
		p.mu.Unlock()
		return
	}
	p.ended = true
	p.stopGraceLocked()
	retract := p.retract
	p.mu.Unlock()

	o := p.origin
	o.mu.Lock()
	if o.streams[p.stream.ID()] == p {
		delete(o.streams, p.stream.ID())
	}
	o.mu.Unlock()
	p.stream.End(err)
	if retract != nil {
		retract()
	}
}

// A session is a publisher's. It is a signal.Session.
type session struct {
	*pcrecv.Session
	published *published
	input     *cdn.Input
	begun     time.Time
	release   func()
	name      string // for events: the id is a secret
}

// ended is called when the session is over.
func (s *session) ended(err error) {
	defer s.published.work.Done()
	s.release()
	s.published.left(s.input, err)
	s.published.origin.node.Emit(cdn.SessionEnded{
		Stream: s.published.stream.ID(), Action: cdn.ActionPublish, Session: s.name,
		Lasted: time.Since(s.begun), Err: err,
	})
}
