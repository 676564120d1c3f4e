// Package playout decides how long a player should hold pictures back before it shows them. A lost
// packet comes again a round trip later. A browser that only plays does not know the round trip: it
// shows a picture before the repair arrives, or leaves it out.
package playout

import "time"

const (
	// lookEvery is how much time a look covers at least: somewhat less than is between two reports,
	// which come about every second.
	lookEvery = 800 * time.Millisecond
	// lasting is the score from which on losses last: looks with losses less those without. A
	// look with plain losses counts as two.
	lasting = 2
	plain   = 1e-2
	// rare is the part of the packets that may be lost without that being worth a longer wait.
	rare = 2e-3
	// late is the part of the packets that may come too late, by what is lost again and again.
	late = 1e-3
	// noticed is the time until a receiver has noticed a loss, which may take until the next
	// picture comes, and asked, and until the repair is decoded.
	noticed = 80 * time.Millisecond
	// asksEvery and askedAgain are how a receiver asks again: after the round trip or, where it
	// does not know that, after the first, and so much later at most.
	asksEvery  = 100 * time.Millisecond
	askedAgain = 20 * time.Millisecond
	// step is the precision of a delay.
	step = 10 * time.Millisecond
	// lowers is how long less has to be enough until a delay becomes less.
	lowers = 30 * time.Second
)

// A Delay is the playout delay of one player. Its zero value is that of a path without losses.
// It is not safe for concurrent use.
type Delay struct {
	part      float64       // of the packets that had to be sent again, smoothed
	score     int           // looks with losses, less those without
	min       time.Duration // that the player is told
	enough    time.Duration // the most that was wanted since below
	below     time.Time     // since when less is wanted; zero: it is not
	announced bool          // min was not always 0
	looked    time.Time     // when the last look was taken
	packets   uint64        // sent until then
	repairs   uint64        // likewise
}

// Min is how long the player is to hold pictures back at least, a multiple of 10 ms; 0: it may
// show them at once.
func (d *Delay) Min() time.Duration { return d.min }

// Announced reports whether the player was ever told to wait, so that it has to be told of the
// end, too.
func (d *Delay) Announced() bool { return d.announced }

// A View is what a look at a path finds.
type View struct {
	Packets uint64        // sent on it for the first time, ever
	Repairs uint64        // of those that it lost, ever
	Trip    time.Duration // the round trip without queues; 0: it is not known
	Queued  bool          // a queue stands: what is lost then is no property of the path
	Clean   bool          // none has stood since the first packet, as far as it is known
}

// Look takes a look at a path. The delay is most at most. Look reports whether it has changed.
func (d *Delay) Look(now time.Time, v View, most time.Duration) (changed bool) {
	sent, again := v.Packets-d.packets, v.Repairs-d.repairs
	first := d.looked.IsZero() && !v.Clean || v.Packets < d.packets || v.Repairs < d.repairs // of other senders
	if !first && now.Sub(d.looked) < lookEvery || sent == 0 {
		return false
	}
	d.looked, d.packets, d.repairs = now, v.Packets, v.Repairs
	if first || v.Queued {
		return false
	}
	d.note(min(float64(again)/float64(sent), 1))
	return d.tell(now, min(d.wanted(v.Trip), most).Truncate(step))
}

// note takes the part of the packets that had to be sent again since the last look.
func (d *Delay) note(part float64) {
	switch {
	case part >= plain:
		d.score += 2
	case part > 0:
		d.score++
	default:
		d.score = max(d.score-1, 0)
	}
	d.score = min(d.score, 4*lasting)
	if part > d.part {
		d.part += (part - d.part) / 4
	} else {
		d.part += (part - d.part) / 16
	}
}

// wanted returns how long repairs take, so many of them that few packets come later.
func (d *Delay) wanted(trip time.Duration) time.Duration {
	lasts := d.score >= lasting && d.part >= rare || d.score > 0 && d.min > 0
	if !lasts || trip <= 0 {
		return 0
	}
	wanted := trip + noticed
	for lost := d.part * d.part; lost > late && wanted < time.Minute; lost *= d.part {
		wanted += max(trip, asksEvery) + askedAgain
	}
	return wanted
}

// tell decides what the player is told: more at once, and less once that has been enough for
// some time, since each change makes a picture come early or late.
func (d *Delay) tell(now time.Time, wanted time.Duration) (changed bool) {
	switch {
	case wanted > d.min+2*step || wanted > d.min && d.min == 0:
		d.min, d.below, d.announced = wanted, time.Time{}, true
		return true
	case wanted >= d.min-2*step && wanted > 0 || d.min == 0:
		d.below = time.Time{}
		return false
	case d.below.IsZero():
		d.below, d.enough = now, wanted
		return false
	}
	d.enough = max(d.enough, wanted)
	if now.Sub(d.below) < lowers {
		return false
	}
	d.min, d.below = d.enough, time.Time{}
	return true
}
