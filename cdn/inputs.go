package cdn

import (
	"slices"
	"time"
)

// An inputSet is the inputs of a stream, and which of them feeds it. It is guarded by
// the stream's mu.
type inputSet struct {
	all      []*Input      // the oldest first
	active   *Input        // the one that took a layer last
	reported *Input        // the one that the last InputChanged was about
	overlap  time.Time     // when those ahead of the active one have to go
	present  time.Time     // when a sender was last present, if none is now
	filled   chan struct{} // closed while there are inputs
	emptied  chan struct{} // closed when the last input is gone; nil until there was one
	changed  chan struct{} // closed at the next change
}

func newInputSet() inputSet {
	return inputSet{filled: make(chan struct{}), changed: make(chan struct{})}
}

// change makes a change, and tells those who wait for one.
func (s *inputSet) change(do func()) {
	before := s.sender()
	do()
	if before == SenderPresent && s.sender() != SenderPresent {
		s.present = time.Now()
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

// add adds an input. It returns the one that has to go for it, nil: none.
func (s *inputSet) add(in *Input) (spare *Input) {
	if len(s.all) == 2 {
		if spare = s.all[1]; spare == s.active {
			spare = s.all[0]
		}
	}
	s.change(func() {
		if s.all = append(s.all, in); len(s.all) == 1 {
			close(s.filled)
			s.emptied = make(chan struct{})
		}
	})
	return spare
}

func (s *inputSet) remove(in *Input) {
	s.change(func() {
		if i := slices.Index(s.all, in); i >= 0 {
			if s.all = slices.Delete(slices.Clone(s.all), i, i+1); len(s.all) == 0 {
				s.filled = make(chan struct{})
				close(s.emptied)
			}
		}
		if s.active == in {
			s.active = nil
		}
	})
}

// activate notes that in has taken a layer. Those ahead of it may finish until overlap.
func (s *inputSet) activate(in *Input, overlap time.Time) {
	if s.active != nil {
		s.overlap = overlap
	}
	if s.active != in {
		s.change(func() { s.active = in })
	}
}

// current returns the configuration of the active input or, as long as there is none,
// of the newest.
func (s *inputSet) current() (InputConfig, bool) {
	switch {
	case s.active != nil:
		return *s.active.config.Load(), true
	case len(s.all) > 0:
		return *s.all[len(s.all)-1].config.Load(), true
	}
	return InputConfig{}, false
}

func (s *inputSet) sender() SenderState {
	if c, ok := s.current(); ok {
		return c.Sender
	}
	return SenderAbsent
}

// leads reports whether in may take a layer: it is the newest input, or the
// standby of one that is gone.
func (s *inputSet) leads(in *Input) bool {
	if s.active == nil || s.active == in {
		return true
	}
	if in.config.Load().Standby {
		return false
	}
	return slices.Index(s.all, in) > slices.Index(s.all, s.active)
}

// superseded returns the inputs that the active one takes over from.
func (s *inputSet) superseded() []*Input {
	if s.active == nil {
		return nil
	}
	i := slices.Index(s.all, s.active)
	return slices.Clone(s.all[:max(i, 0)])
}

// report returns the active input if no InputChanged was about it yet, and nil
// otherwise.
func (s *inputSet) report() (news *Input) {
	if s.active != nil && s.active != s.reported {
		news = s.active
	}
	s.reported = s.active
	return news
}

// NewInput adds a way in. The newest input that is not on standby takes the
// stream over, layer by layer, each at a keyframe; the one before it then ends
// with [ErrSuperseded]. A stream has two inputs at most: a third one ends the
// one of the two that is not active.
func (s *Stream) NewInput(c InputConfig) (*Input, error) {
	in := &Input{stream: s, done: make(chan struct{})}
	in.config.Store(&c)
	s.mu.Lock()
	if s.ended {
		defer s.mu.Unlock()
		return nil, s.err
	}
	spare := s.inputs.add(in)
	s.mu.Unlock()
	if spare != nil {
		s.removeInput(spare, ErrSuperseded)
	}
	return in, nil
}

func (s *Stream) removeInput(in *Input, err error) {
	if err == nil {
		err = ErrClosed
	}
	in.mu.Lock()
	if in.closed {
		in.mu.Unlock()
		return
	}
	in.closed, in.err = true, err
	layers, after := in.layers, in.after
	in.after = nil
	in.mu.Unlock()

	// The layers first: after that nothing of the input can take the stream.
	for _, li := range layers {
		li.layer.removeInput(li)
	}
	s.mu.Lock()
	s.inputs.remove(in)
	s.mu.Unlock()
	close(in.done)
	for _, f := range after {
		f(err)
	}
	s.kick()
}

// Input returns the configuration of the input that feeds the stream or, until one
// does, of the newest. It is false if the stream has no input.
func (s *Stream) Input() (InputConfig, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inputs.current()
}

// Sender returns whether somebody sends the stream, as its [Stream.Input] says, or
// [SenderAbsent] if it has none. present is when the sender was last [SenderPresent]:
// now if it is, and zero if it never was.
func (s *Stream) Sender() (state SenderState, present time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if state = s.inputs.sender(); state == SenderPresent {
		return state, time.Now()
	}
	return state, s.inputs.present
}

// Changed returns a channel that is closed when something of the inputs changes:
// which there are, which is active, or what one of them says of itself.
func (s *Stream) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inputs.changed
}

// InputsChanged returns a channel that is closed when the stream gets its first
// input or loses its last. [Stream.Input] then says which.
func (s *Stream) InputsChanged() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.inputs.all) > 0 {
		return s.inputs.emptied
	}
	return s.inputs.filled
}

// activeInput returns the input that took a layer last, nil: none has, or it is gone.
func (s *Stream) activeInput() *Input {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inputs.active
}

func (s *Stream) leads(in *Input) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inputs.leads(in)
}

// took notes that in has become the active input of a layer at now.
func (s *Stream) took(in *Input, now time.Time) {
	s.mu.Lock()
	s.inputs.activate(in, now.Add(s.config.Overlap))
	s.mu.Unlock()
	s.kick() // the one before may feed nothing any more
}
