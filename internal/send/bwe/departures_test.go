package bwe

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/send/bwe/bwetest"
)

// Whether each packet is counted as it leaves, or all of them when something is heard, makes no
// difference, whoever asks.
func TestWhenPacketsAreCounted(t *testing.T) {
	ask := map[string]func(e *Estimator, now time.Time){
		"state":    func(e *Estimator, now time.Time) { e.State(now) },
		"bitrate":  func(e *Estimator, now time.Time) { e.Bitrate(now) },
		"answer":   func(e *Estimator, now time.Time) { e.Answer(now) },
		"plain":    func(e *Estimator, now time.Time) { e.SentPlain(now, 2, 300) },
		"report":   func(e *Estimator, now time.Time) { e.Report(now, Report{SSRC: 1, Lost: 9, Highest: 40, Sent: 40}) },
		"estimate": func(e *Estimator, now time.Time) { e.Estimate(now, 3e5) },
		"probe":    func(e *Estimator, now time.Time) { e.StartProbe(now, Probe{ID: 2, Rate: 4e6, Duration: time.Second}) },
		"doze":     func(e *Estimator, now time.Time) { e.Doze() },
	}
	for name, ask := range ask {
		for _, probes := range []bool{false, true} {
			t.Run(fmt.Sprint(name, probes), func(t *testing.T) {
				var states [2][]any
				for k, atOnce := range []bool{false, true} {
					now := time.Unix(1e9, 0)
					e := New(Config{TransportFeedback: true, ReceiverEstimate: true}, now)
					e.Wake(now)
					if probes {
						e.StartProbe(now, Probe{ID: 1, Rate: 3e6, Duration: 200 * ms})
					}
					for n := range 900 {
						if n%7 == 0 {
							now = now.Add(time.Duration(n%5) * 5 * ms)
						}
						e.Sent(uint16(n), now, 900+n%300, Flag(n%11/10)*Padding)
						if atOnce {
							e.countSent()
						}
						if n%50 == 49 { // more than is kept uncounted
							var arrivals []bwetest.Arrival
							for i := n - 49; i < n; i++ {
								arrivals = append(arrivals, bwetest.Arrival{Number: i, At: now.Sub(time.Unix(1e9, 0)) + time.Duration(i-n)*ms/4})
							}
							require.NoError(t, e.Feedback(now, bwetest.Feedback(0, n-49, arrivals)))
						}
						if n%130 == 129 {
							ask(e, now)
							states[k] = append(states[k], e.State(now), e.coarse, e.heard, e.peak, e.sent)
							e.Wake(now)
						}
					}
				}
				require.Equal(t, states[1], states[0])
			})
		}
	}
}

// The cheaper calls return what State does.
func TestStateForLess(t *testing.T) {
	v := newViewer(Config{TransportFeedback: true}, home)
	v.Wake(v.time())
	v.StartProbe(v.time(), Probe{ID: 1, Rate: 3e6, Duration: 200 * ms})
	for range 40 {
		v.run(100*ms, 2e6, 5)
		verdict, probe := v.Answer(v.time())
		bitrate := v.Bitrate(v.time())
		state := v.State(v.time())
		require.Equal(t, state.Verdict, verdict)
		require.Equal(t, state.Probe, probe)
		require.Equal(t, state.Bitrate, bitrate)
	}
}
