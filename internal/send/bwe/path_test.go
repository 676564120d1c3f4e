package bwe

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/deltacdn/delta/internal/netem"
	"github.com/deltacdn/delta/internal/send/bwe/bwetest"
)

var epoch = time.Unix(1_000_000_000, 0)

const packetSize = 1200

// A viewer is an estimator whose packets travel over a simulated path. It holds the
// packets that have not arrived yet.
type viewer struct {
	*Estimator
	link  *netem.Link
	now   time.Duration
	seq   int           // of the next packet, extended
	clock time.Duration // by which the viewer's is ahead
	back  time.Duration

	deaf     bool // feedback is lost
	mute     Flag // packets with it are not reported
	flags    Flag
	arrivals []bwetest.Arrival // on their way or not yet reported
	reported int               // the first that no message was about
	messages []told
	reports  time.Duration // when the last message was written
	over     time.Duration // when the verdict was first Overuse
}

type told struct {
	at time.Duration
	p  []byte
}

func newViewer(c Config, p netem.Path) *viewer {
	c.TransportFeedback = true
	v := &viewer{Estimator: New(c, epoch), link: netem.NewLink(p, rand.New(rand.NewPCG(1, 2))), back: p.Delay}
	v.Wake(epoch)
	return v
}

func (v *viewer) time() time.Time { return epoch.Add(v.now) }

func (v *viewer) state() State { return v.State(v.time()) }

// run sends packets at a rate, a burst at a time, and reports them.
func (v *viewer) run(d time.Duration, rate float64, burst int) {
	interval := time.Duration(float64(burst*packetSize*8) / rate * float64(time.Second))
	for end := v.now + d; v.now < end; {
		for range burst {
			v.send()
		}
		for next := min(v.now+interval, end); v.now < next; {
			v.now = min(next, v.now+ms)
			v.report()
		}
	}
}

func (v *viewer) send() {
	v.Sent(uint16(v.seq), v.time(), packetSize, v.flags)
	at, fate := v.link.Carry(v.time(), packetSize-netem.Overhead)
	if muted := v.mute != 0 && v.flags == v.mute; fate == netem.Passed && !muted {
		v.arrivals = append(v.arrivals, bwetest.Arrival{Number: v.seq, At: at.Sub(epoch)})
	}
	v.seq++
}

// report writes a message every 50 ms, and delivers those that have arrived.
func (v *viewer) report() {
	if v.now-v.reports >= 50*ms {
		v.reports = v.now
		var here []bwetest.Arrival
		v.arrivals = slices.DeleteFunc(v.arrivals, func(a bwetest.Arrival) bool {
			if a.At > v.now {
				return false
			}
			here = append(here, bwetest.Arrival{Number: a.Number, At: a.At + v.clock})
			return true
		})
		if len(here) > 0 {
			slices.SortFunc(here, func(a, b bwetest.Arrival) int { return a.Number - b.Number })
			first := min(v.reported, here[0].Number)
			if !v.deaf {
				v.messages = append(v.messages, told{v.now + v.back, bwetest.Feedback(0, first, here)})
			}
			v.reported = max(v.reported, here[len(here)-1].Number+1)
		}
	}
	for len(v.messages) > 0 && v.messages[0].at <= v.now {
		if err := v.Feedback(v.time(), v.messages[0].p); err != nil {
			panic(err)
		}
		v.messages = v.messages[1:]
		if v.over == 0 && v.state().Verdict == Overuse {
			v.over = v.now
		}
	}
}
