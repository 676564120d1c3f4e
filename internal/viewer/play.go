package viewer

import (
	"fmt"
	"slices"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/sdp"
	"github.com/deltacdn/delta/internal/send"
	"github.com/deltacdn/delta/internal/service"
)

// playState is what was negotiated with the viewer, and whether the stream is being sent.
type playState struct {
	stream     *cdn.Stream // nil before Play
	open       *openAnswer // until Play, if the viewer was answered without the stream
	mismatches []send.Mismatch

	connected bool
	over      bool   // nothing must begin any more
	unwatch   func() // stops waiting for the stream's end
	detach    func() // from the stream
}

// An openAnswer leaves open which codecs are sent: for each section of the offer that
// receives, it accepts all that may be.
type openAnswer struct {
	config   send.Config // by which layers are picked
	offer    *sdp.Offer
	sections []*section
}

// hasVideo reports whether the answer says that there may be video.
func (o *openAnswer) hasVideo() bool {
	return slices.ContainsFunc(o.sections, func(s *section) bool { return s.media().Kind == cdn.Video })
}

// ErrNoVideo says that the answer has video, but there is none to send. A browser plays no
// sound until the first frame of video, so it has to come again. It wraps
// [cdn.ErrTimeout]: the stream was not ready in time.
var ErrNoVideo = fmt.Errorf("%w: the answer was given before it was known that there is no video to send: try again", cdn.ErrTimeout)

// Mismatches returns the tracks of the stream that the viewer wanted and cannot decode. There
// are none while the stream is unknown.
func (s *Session) Mismatches() []send.Mismatch {
	s.playing.Lock()
	defer s.playing.Unlock()
	return s.state.mismatches
}

// Play begins to send a stream, once, to a viewer that was answered while the stream was
// not ready. It fails with the errors of [Answer] or with [ErrNoVideo]; then the session
// is to be ended. A session that was answered with its stream plays by itself.
func (s *Session) Play(stream *cdn.Stream) error {
	began, err := s.play(stream)
	if began {
		s.watch(stream)
	}
	return err
}

// play is Play without the watch. It reports whether the stream is played from now on.
func (s *Session) play(stream *cdn.Stream) (began bool, err error) {
	s.playing.Lock()
	defer s.playing.Unlock()
	open := s.state.open
	if open == nil {
		return false, nil
	}
	if err := s.Err(); err != nil {
		return false, err
	}
	plan, err := planFor(open.offer, stream)
	if err != nil {
		return false, err
	}
	if open.hasVideo() && !slices.ContainsFunc(plan.Lines, func(l *send.Line) bool { return l.Track.Info().Kind == cdn.Video }) {
		return false, ErrNoVideo
	}
	if err := s.addLines(open.config, plan, open.sections); err != nil {
		return false, err
	}
	s.state.stream, s.state.open, s.state.mismatches = stream, nil, plan.Mismatches
	s.set.Warm()
	if s.state.connected {
		s.startLocked()
	}
	return true, nil
}

// SetLayer has the viewer get another layer than it asked for: see [send.Set.SetLayer].
// While the stream is not known, any name will do, and Play fails if it has none of it.
func (s *Session) SetLayer(name string) error {
	s.playing.Lock()
	defer s.playing.Unlock()
	if s.state.open != nil {
		s.state.open.config.Layer = name
	}
	return s.set.SetLayer(name)
}

// BoundChanged has the layer chosen anew: see [send.Set.BoundChanged].
func (s *Session) BoundChanged() { s.set.BoundChanged() }

// startLocked begins to send: the stream is known, and the viewer is connected.
func (s *Session) startLocked() {
	if s.state.over {
		return
	}
	if s.Near() {
		s.set.SetNear()
	}
	s.set.Start()
	s.state.detach = s.state.stream.Attach(service.Batched{Runtime: s.Transport(), Consumer: s})
}

// watch ends the session when its stream ends.
func (s *Session) watch(stream *cdn.Stream) {
	unwatch := stream.AfterEnd(s.End)
	s.playing.Lock()
	defer s.playing.Unlock()
	if s.state.over {
		unwatch()
		return
	}
	s.state.unwatch = unwatch
}
