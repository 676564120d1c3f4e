package cdn

import "time"

// An Opening is what a layer has for those who begin to read it.
type Opening struct {
	// Keyframe is the packets of the newest keyframe, in order of their numbers;
	// none if they are not all here. They are kept until the next keyframe comes.
	Keyframe []*Packet
	// Parameters are the parameter sets (H.264, H.265) that the keyframe needs
	// and came without. They belong ahead of it, with its timestamp.
	Parameters []*Packet
	// Age is how far the keyframe is behind what is newest, and Bytes is how much
	// has come since.
	Age   time.Duration
	Bytes int
	// Silence is how much of Age the publisher, who is there, has sent nothing of
	// the track: so long, what is newest has been what is live. 0: it has not been
	// silent.
	Silence time.Duration
	// Since reads from the keyframe on, and Whole says that all that followed
	// is here.
	Since Cursor
	Whole bool
}

// Opening returns what there is to begin with.
func (l *Layer) Opening(now time.Time) (o Opening) {
	if k := l.ring.Keyframe(); k != nil {
		o.Since, o.Whole = Cursor{l.ring.Cursor(k.Index)}, true
		o.Age = l.age(now, (*Packet)(k))
	}
	o.Silence = l.track.silence(now)
	o.Bytes = l.ring.GOPBytes()
	o.Keyframe = packets(l.ring.Snapshot())
	if len(o.Keyframe) == 0 {
		return o
	}
	first := o.Keyframe[0]
	o.Age = l.age(now, first)
	o.Parameters = l.parametersAhead(first)
	return o
}

// silenceAfter is how long nothing comes of a track until that is no pause between
// two frames.
const silenceAfter = time.Second

// silence is how long a publisher who is there has sent nothing of the track.
func (t *Track) silence(now time.Time) time.Duration {
	var last time.Time
	for _, l := range t.Layers() {
		if p := l.Newest(); p != nil && p.Arrival.After(last) {
			last = p.Arrival
		}
	}
	state, _ := t.stream.Sender()
	if d := now.Sub(last); state == SenderPresent && !last.IsZero() && d > silenceAfter {
		return d
	}
	return 0
}

// age is how long ago p was new. It may have come here late, as the first
// packets of a fetch do.
func (l *Layer) age(now time.Time, p *Packet) time.Duration {
	age := now.Sub(p.Arrival)
	if newest := l.ring.Newest(); newest != nil {
		ticks := max(int64(newest.Timestamp-p.Timestamp), 0)
		media := time.Duration(float64(ticks) / float64(l.track.info.Codec.ClockRate) * float64(time.Second))
		age = max(age, media+now.Sub(newest.Arrival))
	}
	return age
}
