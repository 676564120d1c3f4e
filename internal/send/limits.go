package send

import (
	"fmt"
	"slices"
	"time"

	"github.com/deltacdn/delta/cdn"
)

// SetLayer has a viewer get another layer than it asked for: the one named, or the best
// if name is "". The viewer goes over at that layer's next keyframe, which is asked for,
// without a new negotiation. It fails with [cdn.ErrNotFound] if the stream's video has no
// layer of that name.
func (s *Set) SetLayer(name string) error {
	s.change()
	defer s.mu.Unlock()
	if !s.hasLayer(name) {
		return fmt.Errorf("%w: no layer %.40q", cdn.ErrNotFound, name)
	}
	s.config.Layer = name
	s.chooseNow()
	return nil
}

func (s *Set) hasLayer(name string) bool {
	has := func(snd *Sender) bool { return snd.video && snd.line.Track.Layer(name) != nil }
	return name == "" || len(s.senders) == 0 || slices.ContainsFunc(s.senders, has)
}

// BoundChanged has the layer chosen anew at once, since [Config].MaxBitrate has changed.
func (s *Set) BoundChanged() {
	s.change()
	defer s.mu.Unlock()
	s.chooseNow()
}

// chooseNow has the next Consume choose, and ask the policy, and has that come soon.
func (s *Set) chooseNow() {
	if s.adaptation != nil {
		s.adaptation.due = time.Time{}
	}
	for _, snd := range s.senders {
		if snd.video {
			snd.next.check = time.Time{}
			s.wakeAt(time.Now())
		}
	}
}
