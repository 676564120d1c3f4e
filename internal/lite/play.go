package lite

import (
	"fmt"
	"slices"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/negotiate"
	"github.com/deltacdn/delta/internal/send"
)

// signaled is what was said to the viewer of what it gets, and how far that is.
type signaled struct {
	stream *cdn.Stream // nil before Play
	open   *open       // what was answered then; nil otherwise
	misses []send.Mismatch

	connected bool
	over      bool   // nothing may begin any more
	unwatch   func() // of the stream's end
	detach    func() // from the stream
}

// open is an answer that leaves open what is sent: of each of the offer's
// sections that receive, all that could be.
type open struct {
	offer    *negotiate.Offer
	sections []*section
}

// video reports whether the answer says that there may be some.
func (o *open) video() bool {
	return slices.ContainsFunc(o.sections, func(s *section) bool { return s.media().Kind == cdn.Video })
}

// ErrNoVideo says that the viewer was promised video and there is none to send. A
// browser waits for the first picture and plays no sound before it, so it has to
// come again. It wraps [cdn.ErrTimeout]: the stream was not ready in time.
var ErrNoVideo = fmt.Errorf("%w: the answer was given before it was known that there is no video to send: try again", cdn.ErrTimeout)

// Mismatches returns the tracks of the stream that the viewer wanted and cannot
// take; none before the stream is known.
func (s *Session) Mismatches() []send.Mismatch {
	s.playing.Lock()
	defer s.playing.Unlock()
	return s.said.misses
}

// Play begins to send a stream, once, to a viewer who was answered before it was
// ready. It fails with the errors of [Answer] or with [ErrNoVideo]; then the
// session is to be ended.
func (s *Session) Play(stream *cdn.Stream) error {
	if err := s.play(stream); err != nil {
		return err
	}
	s.watch(stream)
	return nil
}

func (s *Session) play(stream *cdn.Stream) error {
	s.playing.Lock()
	defer s.playing.Unlock()
	if err := s.Err(); err != nil {
		return err
	}
	plan, err := send.PlanAnswer(s.said.open.offer, stream.Tracks())
	if err != nil {
		return err
	}
	if s.said.open.video() && !slices.ContainsFunc(plan.Lines, func(l *send.Line) bool { return l.Track.Info().Kind == cdn.Video }) {
		return ErrNoVideo
	}
	if err := s.addLines(plan, s.said.open.sections); err != nil {
		return err
	}
	s.said.stream, s.said.open, s.said.misses = stream, nil, plan.Mismatches
	s.set.Warm()
	if s.said.connected {
		s.startLocked()
	}
	return nil
}

// startLocked begins to send: the stream is there, and the viewer.
func (s *Session) startLocked() {
	if s.said.over {
		return
	}
	s.set.Start()
	s.said.detach = s.said.stream.AttachBatch(s.config.Transport.Node, s)
}

// watch has the session end with its stream.
func (s *Session) watch(stream *cdn.Stream) {
	unwatch := stream.AfterEnd(s.End)
	s.playing.Lock()
	defer s.playing.Unlock()
	if s.said.over {
		unwatch()
		return
	}
	s.said.unwatch = unwatch
}
