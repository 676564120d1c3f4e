package relay

import (
	"errors"
	"fmt"
	"time"

	"github.com/deltacdn/delta/cdn"
)

const (
	// An upstream that sends nothing for silentAfter is left for the standby if that one
	// has more.
	silentAfter = 1500 * time.Millisecond
	// probeFor is how long the standby is tried, and maxProbePause the longest pause
	// between two trials while it is as silent: then it is the publisher who sends
	// nothing.
	probeFor      = 2 * time.Second
	maxProbePause = 8 * time.Second
	// headStart is how much later than the standby the upstream may send again and be
	// kept.
	headStart = 100 * time.Millisecond
)

var errSilent = fmt.Errorf("%w: the upstream sends nothing", cdn.ErrTimeout)

// A watchdog decides when an upstream is left because it is silent. It does no I/O and
// reads no clock.
//
//	[quiet] ── silentAfter ──► [probing] ── it has more ──► [ahead] ── headStart ──► [left]
//	   ▲                           │                           │
//	   └── the upstream sends, or ─┴── the upstream sends ─────┘
//	       the standby has no more
type watchdog struct {
	begun time.Time     // of the fetch
	again time.Time     // the standby is not probed ahead of it
	pause time.Duration // between the next probe and the one after it
	last  time.Time     // when media last came as the probe began
	ahead time.Time     // when the probe found more; zero: it has not
	state watchdogState
}

type watchdogState int

const (
	quiet watchdogState = iota
	probing
	ahead
	left
)

func newWatchdog(now time.Time) watchdog { return watchdog{begun: now, pause: silentAfter} }

// look returns the state at a time, and when to look again at the latest. Its owner
// probes the standby while the state is probing or ahead, and leaves the upstream when
// it is left.
func (w *watchdog) look(now time.Time, s sighting) (watchdogState, time.Time) {
	switch w.state {
	case quiet:
		next := w.judge(now, s)
		return w.state, next
	case probing, ahead:
		switch {
		case s.newest.After(w.last):
			w.stay(now)
		case w.state == probing:
			return w.state, now.Add(headStart)
		case now.Before(w.ahead.Add(headStart)):
			return w.state, w.ahead.Add(headStart)
		default:
			w.state = left
		}
	case left:
	}
	return w.state, now.Add(silentAfter)
}

// judge decides whether a quiet upstream is probed or left.
func (w *watchdog) judge(now time.Time, s sighting) time.Time {
	silent := w.begun.Add(silentAfter)
	if at := s.newest.Add(silentAfter); at.After(silent) {
		silent = at
	}
	gone := s.sender == cdn.SenderAbsent && !s.present.IsZero() // it says that it has no input itself
	goneAt := s.present.Add(silentAfter)                        // in less it would have another, if it could
	switch {
	case now.Before(silent):
		if now.Sub(s.newest) < silentAfter && !now.Before(w.again) {
			w.pause = silentAfter
		}
		return silent
	case gone && !now.Before(goneAt), s.newest.Before(w.begun) && s.sender != cdn.SenderPresent && !now.Before(w.again):
		w.state = left
	case now.Before(w.again):
		if gone && goneAt.Before(w.again) {
			return goneAt
		}
		return w.again
	default:
		w.state, w.last, w.ahead = probing, s.newest, time.Time{}
	}
	return now.Add(headStart)
}

// probed takes the result of a probe: nil if the standby has more. Where it cannot be
// probed, a silent upstream is left unless it says that the publisher is there.
func (w *watchdog) probed(now time.Time, s sighting, err error) {
	switch {
	case w.state != probing:
	case err == nil:
		w.state, w.ahead = ahead, now
	case errors.Is(err, cdn.ErrUnsupported) && s.sender != cdn.SenderPresent:
		w.state = left
	default:
		w.stay(now)
	}
}

// stay goes on with the upstream.
func (w *watchdog) stay(now time.Time) {
	w.state, w.again = quiet, now.Add(w.pause)
	w.pause = min(2*w.pause, maxProbePause)
}
