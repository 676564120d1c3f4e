// Package slow notices that a viewer cannot take what it is sent, from what its
// receiver reports (RFC 3550 section 6.4), its REMB and its NACKs say, and
// decides what it loses: layers, then video until a keyframe, then its session.
// UDP gives no back-pressure, so this is all there is.
package slow

import "time"

// Config tunes a [Detector].
type Config struct {
	// Loss is the share of packets lost from which on a report is bad. Random
	// loss of a few percent is repaired and no reason. If zero, 0.15.
	Loss float64
	// Reports is how many bad reports in a row it takes. One burst makes one.
	// If zero, 2.
	Reports int
	// Hold is how long after a measure the next one waits, to see the effect;
	// it doubles with each measure in a row, up to MaxHold. If zero, 2 s and
	// 32 s.
	Hold, MaxHold time.Duration
	// Patience is how long measures may follow one another before the session
	// is given up. If zero, 30 s.
	Patience time.Duration
}

func (c Config) withDefaults() Config {
	if c.Loss <= 0 {
		c.Loss = 0.15
	}
	if c.Reports <= 0 {
		c.Reports = 2
	}
	if c.Hold <= 0 {
		c.Hold = 2 * time.Second
	}
	if c.MaxHold <= 0 {
		c.MaxHold = 32 * time.Second
	}
	if c.Patience <= 0 {
		c.Patience = 30 * time.Second
	}
	return c
}

// A Verdict is what to do about a viewer.
type Verdict int

// The verdicts.
const (
	Keep  Verdict = iota // nothing
	Down                 // send less: a lower layer, or no video for [Detector.Hold]
	Up                   // a better layer may be tried
	Leave                // end the session
)

// What an estimate and NACKs have to say to make a report bad that is not so
// by its loss alone.
const (
	slightLoss    = 0.02
	estimateShare = 0.85 // of what is sent
	nackShare     = 0.5  // of the packets sent
	goodLoss      = 0.05 // below it a report is good
)

// A Detector watches one viewer's video. It is not safe for concurrent use.
type Detector struct {
	config Config

	rate     rate
	estimate float64 // bits a second, 0: none
	nacked   int     // since the last report

	bad     int       // bad reports in a row
	good    time.Time // since when reports are good; zero: they are not
	held    time.Time // no measure before this
	hold    time.Duration
	since   time.Time // of the first of the measures in a row; zero: none
	lowered bool      // less is sent than could be
	verdict Verdict   // not told yet
}

// New returns a detector that has seen nothing.
func New(c Config) *Detector { return &Detector{config: c.withDefaults()} }

// Sent notes a packet of video.
func (d *Detector) Sent(now time.Time, bytes int) { d.rate.add(now, bytes) }

// Estimate notes the viewer's REMB.
func (d *Detector) Estimate(_ time.Time, bitsPerSecond float64) { d.estimate = bitsPerSecond }

// Nacked notes that the viewer asked for packets again.
func (d *Detector) Nacked(_ time.Time, packets int) { d.nacked += packets }

// Hold returns how long the present measure is to last.
func (d *Detector) Hold() time.Duration { return d.hold }

// Report notes a receiver report: the share of packets lost since the one
// before.
func (d *Detector) Report(now time.Time, lost float64) {
	bits, packets := d.rate.since(now)
	choked := d.estimate > 0 && d.estimate < estimateShare*bits
	asking := packets > 0 && float64(d.nacked) > nackShare*float64(packets)
	d.nacked = 0
	switch {
	case packets == 0:
		return // nothing was sent that it could tell of
	case lost >= d.config.Loss || lost >= slightLoss && choked && asking:
		d.bad++
		d.good = time.Time{}
	default:
		d.bad = 0
		if d.good.IsZero() && lost < goodLoss {
			d.good = now
		}
	}
	d.judge(now)
}

func (d *Detector) judge(now time.Time) {
	switch {
	case now.Before(d.held):
	case d.bad >= d.config.Reports:
		d.lower(now)
	case d.good.IsZero() || !d.lowered && d.since.IsZero():
	case now.Sub(d.good) >= d.hold:
		d.recover()
	}
}

// lower takes a measure, or gives up.
func (d *Detector) lower(now time.Time) {
	if d.since.IsZero() {
		d.since = now
	}
	if now.Sub(d.since) >= d.config.Patience {
		d.verdict = Leave
		return
	}
	d.hold = min(max(2*d.hold, d.config.Hold), d.config.MaxHold)
	d.held = now.Add(d.config.Hold)
	d.verdict, d.lowered, d.bad = Down, true, 0
}

// recover has more tried, after a good while; and once that went well, forgets.
func (d *Detector) recover() {
	d.good = time.Time{}
	if d.lowered {
		d.verdict, d.lowered = Up, false
		return
	}
	d.since, d.hold = time.Time{}, 0
}

// Verdict returns what to do now. Each measure is told once.
func (d *Detector) Verdict(time.Time) Verdict {
	v := d.verdict
	if v != Leave {
		d.verdict = Keep
	}
	return v
}

// rate counts what is sent between two reports.
type rate struct {
	begun   time.Time
	bytes   int
	packets int
}

func (r *rate) add(now time.Time, bytes int) {
	if r.begun.IsZero() {
		r.begun = now
	}
	r.bytes += bytes
	r.packets++
}

// since returns the rate since it was last asked for.
func (r *rate) since(now time.Time) (bitsPerSecond float64, packets int) {
	packets = r.packets
	if d := now.Sub(r.begun); packets > 0 && d > 0 {
		bitsPerSecond = float64(r.bytes) * 8 / d.Seconds()
	}
	*r = rate{begun: now}
	return bitsPerSecond, packets
}
