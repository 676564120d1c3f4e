// Package slow detects that a viewer's path is too narrow for what it is sent, and says
// what to do about it. UDP gives no back-pressure, so a sender knows only what the viewer
// reports: the fraction lost in its receiver reports (RFC 3550 section 6.4.1), its
// bandwidth estimate (REMB, draft-alvestrand-rmcat-remb), and the packets that it asks for
// again (generic NACK, RFC 4585 section 6.2.1).
//
// It is a circuit breaker in the sense of RFC 8083 and RFC 8834 section 7.1, with smaller
// steps. A [Detector] takes a layer away, or the video for a while, and a [Breaker] ends
// the session. Only reported loss pauses video or ends a session. NACKs alone may mean no
// more than that packets were reordered, and an estimate alone may be low because of
// jitter: they cost at most a layer.
package slow

import "time"

// A Verdict is what to do with a viewer.
type Verdict int

// The verdicts.
const (
	Keep Verdict = iota // go on
	Down                // send less: a lower layer or, if none is lower, no video until the next keyframe
	Up                  // a better layer may be tried again
)

func (v Verdict) String() string {
	switch v {
	case Keep:
		return "keep"
	case Down:
		return "down"
	case Up:
		return "up"
	}
	return "unknown"
}

// Config tunes a [Detector] and a [Breaker].
type Config struct {
	// LossThreshold is the fraction lost from which a report says that the
	// path is too narrow, and not merely lossy. If zero, 0.15.
	LossThreshold float64
	// Window is how long a sign has to last. A burst of losses is shorter. If zero,
	// 1500 ms.
	Window time.Duration
	// Patience is how many seconds of overload a [Breaker] counts before it trips.
	// If zero, 30 s.
	Patience time.Duration
	// HoldOff is the least time from Down to Up. It doubles each time, up to
	// MaxHoldOff. If zero, 2 s.
	HoldOff time.Duration
	// MaxHoldOff bounds it. If zero, 32 s.
	MaxHoldOff time.Duration
}

func (c Config) withDefaults() Config {
	if c.LossThreshold <= 0 {
		c.LossThreshold = 0.15
	}
	if c.Window <= 0 {
		c.Window = 1500 * time.Millisecond
	}
	if c.Patience <= 0 {
		c.Patience = 30 * time.Second
	}
	if c.HoldOff <= 0 {
		c.HoldOff = 2 * time.Second
	}
	if c.MaxHoldOff <= 0 {
		c.MaxHoldOff = 32 * time.Second
	}
	c.MaxHoldOff = max(c.MaxHoldOff, c.HoldOff)
	return c
}

// settling is how long after Down feedback is still about the time before it.
const settling = time.Second

// A Detector watches the video of one viewer. It is not safe for concurrent
// use and does not allocate.
type Detector struct {
	config Config // static after New

	loss     loss
	nacks    nacks
	estimate estimate

	response response
}

// New returns a detector that has seen nothing and says Keep.
func New(c Config) *Detector {
	c = c.withDefaults()
	return &Detector{config: c, response: response{config: c, lowest: true, hold: c.HoldOff}}
}

// Report notes the fraction lost, 0 to 1, of one report block about the video. While no
// video is sent, the report says nothing.
func (d *Detector) Report(now time.Time, fractionLost float64) {
	if d.response.isSettling(now) || d.nacks.rate(now) == 0 {
		return
	}
	d.loss.report(now, fractionLost, d.config.LossThreshold)
}

// Estimate notes the bandwidth that the viewer has estimated.
func (d *Detector) Estimate(now time.Time, bitsPerSecond float64) {
	d.estimate.update(now, bitsPerSecond, d.nacks.rate(now))
}

// Sent notes that bytes of video were sent for the first time.
func (d *Detector) Sent(now time.Time, bytes int) {
	if d.loss.reported.IsZero() {
		d.loss.reported = now
	}
	d.nacks.sent(now, bytes)
}

// Nacked notes that the viewer asked for so many packets again.
func (d *Detector) Nacked(now time.Time, packets int) { d.nacks.nacked(now, packets) }

// Lowest notes whether the viewer is sent the lowest layer, so that Down would pause its
// video. Until Lowest is called, it is.
func (d *Detector) Lowest(lowest bool) { d.response.lowest = lowest }

// Verdict returns what to do now. The caller does so: the next verdict is about the time
// after. Call it a few times a second.
func (d *Detector) Verdict(now time.Time) Verdict {
	d.nacks.judge(now)
	if d.response.isSettling(now) {
		return Keep
	}
	v := d.response.to(now, d.sign(now))
	if v == Down {
		d.loss, d.estimate = loss{reported: d.loss.reported}, estimate{} // to be low it has to fall again
		d.nacks.forget()
	}
	return v
}

// A sign is how bad the path looks.
type sign int

const (
	fine     sign = iota
	doubt         // not good enough for more
	narrow        // reason enough to send a lower layer, but not to pause video
	overload      // reason enough for either
)

// sign weighs what the viewer has reported. Only reported loss is a reason to pause video.
// NACKs count if reports agree, since a viewer also asks for packets that were merely
// reordered. An estimate starts low, takes half a minute to rise (8 % a second), and is
// lowered by jitter, so it is never more than narrow.
func (d *Detector) sign(now time.Time) sign {
	high, some, little := d.loss.high.lasts(now), d.loss.some.lasts(now), d.loss.any.lasts(now)
	nackHigh, nackSome := d.nacks.high.lasts(now), d.nacks.some.lasts(now)
	low := d.estimate.low.lasts(now)
	confirmed := high >= agreeing || d.loss.unreported(now)
	switch {
	case high >= d.config.Window, nackHigh >= d.config.Window && confirmed:
		return overload
	case low > 0 && some >= agreeing, low >= lowWithLoss && little > 0,
		low >= lowAfterFall && d.estimate.fell(), low >= lowAlone:
		return narrow
	case some > 0, nackSome > 0, low > 0:
		return doubt
	}
	return fine
}

const (
	agreeing     = time.Second     // of reported loss, to believe a low estimate, or NACKs
	lowWithLoss  = 3 * time.Second // of a low estimate, if any loss was reported
	lowAfterFall = 2 * time.Second // of an estimate that was higher and fell
	// Of an estimate that does not rise, though nothing is lost: then a queue is growing.
	// An estimate that is still finding the bandwidth would have risen by half.
	lowAlone = 6 * time.Second
)
