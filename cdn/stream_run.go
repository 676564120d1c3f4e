package cdn

import "time"

// kick has run look at its deadlines again.
func (s *Stream) kick() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// run sends what the stream asks of its inputs, keyframe requests and NACKs,
// when each is due, and ends inputs that were taken over from.
func (s *Stream) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		next := s.tend(time.Now())
		wait := time.Hour
		if !next.IsZero() {
			wait = time.Until(next)
		}
		timer.Reset(wait)
		select {
		case <-s.done:
			return
		case <-s.wake:
		case <-timer.C:
		}
	}
}

// tend does what is due at now, and returns when something will be next; zero:
// not before the next kick.
func (s *Stream) tend(now time.Time) (next time.Time) {
	if !s.announced && s.Tracks() != nil {
		s.announced = true
		s.node.Emit(StreamStarted{Stream: s.id})
	}
	for _, t := range s.Tracks() {
		for _, l := range t.Layers() {
			next = earlier(next, l.tend(now))
		}
	}
	next = earlier(next, s.alarmed(now))
	return earlier(next, s.retire(now))
}

// dense is how close together packets come where they wake consumers often enough.
const dense = 50 * time.Millisecond

// alarmed serves the consumers if it is time, and returns when it will be. Where
// packets come, each of them does.
func (s *Stream) alarmed(now time.Time) (next time.Time) {
	alarm := s.alarm.Load()
	if alarm == 0 {
		return time.Time{}
	}
	at := time.Unix(0, alarm)
	if last := s.newest().Add(dense); last.After(at) {
		at = last
	}
	if now.Before(at) {
		return at
	}
	if s.alarm.CompareAndSwap(alarm, 0) {
		s.feed.Wake()
	}
	return time.Time{}
}

// newest returns when something last came.
func (s *Stream) newest() (at time.Time) {
	for _, t := range s.Tracks() {
		for _, l := range t.Layers() {
			if p := l.Newest(); p != nil && p.Arrival.After(at) {
				at = p.Arrival
			}
		}
	}
	return at
}

// retire ends the inputs that the active one takes over from, once nothing is fed by
// them any more or they have had the time to be taken over from.
func (s *Stream) retire(now time.Time) (next time.Time) {
	s.mu.Lock()
	superseded, overlap, news := s.inputs.superseded(), s.inputs.overlap, s.inputs.report()
	s.mu.Unlock()
	if news != nil {
		c := news.config.Load()
		s.node.Emit(InputChanged{Stream: s.id, Publication: c.Publication, Epoch: c.Epoch, Path: c.Path})
	}
	for _, in := range superseded {
		if in.feeds() && now.Before(overlap) {
			next = overlap
			continue
		}
		s.removeInput(in, ErrSuperseded)
	}
	return next
}

// feeds reports whether any layer is fed by in.
func (in *Input) feeds() bool {
	in.mu.Lock()
	layers := in.layers
	in.mu.Unlock()
	for _, li := range layers {
		li.layer.mu.Lock()
		active := li.layer.active == li
		li.layer.mu.Unlock()
		if active {
			return true
		}
	}
	return false
}

// tend sends the requests that are due on the layer's inputs. The requests go
// out after the lock is released: an Upstream may do work.
func (l *Layer) tend(now time.Time) (next time.Time) {
	var buf [2]due
	l.mu.Lock()
	all := buf[:0]
	for _, li := range l.inputs {
		d, at := li.due(now)
		next = earlier(next, at)
		l.stats.Nacked += uint64(len(d.nack))
		if d.keyframe {
			l.stats.KeyframeRequestsSent++
		}
		if d.selective != nil {
			l.advertiseLocked()
		}
		if d.keyframe || len(d.nack) > 0 || d.selective != nil {
			all = append(all, d)
		}
	}
	l.mu.Unlock()
	for _, d := range all {
		if d.selective != nil {
			d.selective.SetActive(d.wanted)
		}
		if d.keyframe {
			d.up.RequestKeyframe()
		}
		if len(d.nack) > 0 {
			d.up.Nack(d.nack)
		}
	}
	return next
}

type due struct {
	up        Upstream
	keyframe  bool
	nack      []uint16
	selective SelectiveUpstream // nil: it is not told of a change
	wanted    bool
}

func (li *LayerInput) due(now time.Time) (d due, next time.Time) {
	d.up = li.up
	li.requests, next = li.nack.Due(now, li.requests[:0])
	for _, seq := range li.requests {
		d.nack = append(d.nack, uint16(seq))
	}
	d.wanted = li.layer.demand.Load() > 0
	changed, at := li.demand.update(now, d.wanted)
	next = earlier(next, at)
	if changed {
		d.selective = li.demand.selective
	}
	if !li.demand.inactive && !li.leftOut(now) { // otherwise there is no use in asking
		d.keyframe, at = li.asking.arbiter.Due(now)
		next = earlier(next, at)
	}
	return d, next
}

// earlier returns the earlier of two deadlines, of which zero is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
