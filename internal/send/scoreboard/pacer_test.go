package scoreboard

import (
	"time"

	"github.com/deltacdn/delta/internal/send/allot"
	"github.com/deltacdn/delta/internal/send/bwe"
)

// The rules of package send's pacer. Its tests say what they are for.
const (
	burst         = 10 // packets that leave at once at most
	burstTime     = 40 * time.Millisecond
	partBurst     = 20 * time.Millisecond
	groupTime     = 10 * time.Millisecond
	groupEarly    = 2 * time.Millisecond
	mostAhead     = time.Second
	large         = 1250 // bytes of a large packet
	drainFactor   = 1.5
	partShare     = 0.72
	partSlack     = 1.1
	drains        = time.Second
	leastPartRate = 50e3
)

// A pacer says when video may leave. Sound does not wait, but counts. Repairs count while video
// waits; padding and sender reports do not.
type pacer struct {
	rate  float64       // bits a second
	most  int           // packets that leave at once
	until time.Duration // when the path has taken all that was sent
	burst int           // packets that have left since it was idle
	waits bool          // video waits, and is looked at when it may leave
	fell  time.Duration // when the last step down was taken
}

func (p *pacer) takes(bytes int) time.Duration {
	return time.Duration(float64(bytes*8) / p.rate * float64(time.Second))
}

// opens returns when a packet of video may leave: now, or later.
func (p *pacer) opens(now time.Duration) time.Duration {
	switch {
	case p.until <= now && !p.waits:
		p.until, p.burst = now, 0
		return now
	case p.burst < p.most && !p.waits, p.until-now <= groupEarly, p.until+p.takes(large)-now <= groupTime:
		return now
	}
	return p.until - groupEarly
}

// sent notes a packet.
func (p *pacer) sent(now time.Duration, s packet) {
	switch {
	case s.stream == repair && s.origin >= 0 && p.waits:
		p.until = max(p.until, min(p.until+p.takes(s.size), now+groupTime))
	case s.stream == audio, s.stream == video:
		if p.until < now && !p.waits {
			p.until, p.burst = now, 0
		}
		p.until = min(p.until+p.takes(s.size), now+mostAhead)
		if s.stream == video {
			p.burst++
		}
	}
}

// onItsWay returns how many bytes of what was sent the path has yet to take.
func (p *pacer) onItsWay(now time.Duration) int {
	return int(p.rate / 8 * max(0, p.until-now).Seconds())
}

// repace sets the rate at which video leaves.
func (s *sender) repace() {
	state := s.estimator.State(s.clock())
	if s.rung.Mode == allot.Full {
		sent := float64(soundsRate) + s.source.encoders[max(s.rung.Layer, s.playing)].rate // payload
		s.pacer.rate = max(state.Bitrate, drainFactor*sent)
		s.pacer.most = atOnce(s.pacer.rate, burstTime, 2)
		return
	}
	rate := max(partShare*state.Bitrate, leastPartRate)
	switch {
	case state.Verdict == bwe.Overuse && s.now-s.pacer.fell < drains:
	case s.rung.Mode == allot.Partial:
		rate = max(partSlack*s.rung.Cost, leastPartRate)
	default:
		rate = max(rate, s.rung.Cost)
	}
	s.pacer.rate, s.pacer.most = rate, 1
	if s.probe.Rate == 0 {
		s.pacer.most = atOnce(rate, partBurst, 1)
	}
}

func atOnce(rate float64, takes time.Duration, least int) int {
	return min(max(int(rate*takes.Seconds()/(8*large)), least), burst)
}
