package slow

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const ms = time.Millisecond

var epoch = time.Unix(1000, 0)

// A path is a token-bucket bottleneck with a queue, random loss and jitter, which
// lets packets overtake one another, and a viewer behind it that reports as a
// browser does: a receiver report a second, of the numbers expected and received
// (RFC 3550 appendix A.3); a delay-based estimate twice a second that starts at
// 300 kbit/s, rises by 8 % a second and falls to 85 % of what arrives as the queue
// grows, or as jitter makes it look so; and NACKs for each number that it misses,
// whether that was lost or only overtaken, once a round trip.
type path struct {
	rate   float64 // bits a second; zero: unlimited
	queue  float64 // bytes that wait at most
	loss   float64 // at random
	rtt    time.Duration
	jitter time.Duration // added at random to each packet by itself
	remb   bool
	joined bool // the estimate has found its way up before

	rng      *rand.Rand
	waiting  float64
	before   float64 // waiting at the last estimate
	estimate float64
	next     int // number of the next packet
	flying   []flight
	asked    []flight // numbers missed, and when they are asked for

	highest, expected  int // numbers, now and at the last report
	got                int // packets since the last report
	arrived            float64
	reports, estimates time.Time
}

// A flight is a packet on its way, or missed.
type flight struct {
	number int
	at     time.Time
	tries  int // to have it repaired
}

const size = 1200

// step moves the path by 10 ms in which so many bits a second are sent.
func (p *path) step(now time.Time, d *Detector, bits float64) {
	p.waiting = max(0, p.waiting-p.rate/8/100)
	packets := bits / 8 / 100 / size
	n := int(packets)
	if p.rng.Float64() < packets-float64(n) {
		n++
	}
	for range n {
		d.Sent(now, size)
		p.send(now)
	}
	p.arrive(now)
	p.ask(now, d)
	p.report(now, d)
}

func (p *path) send(now time.Time) {
	p.next++
	if p.rng.Float64() < p.loss || (p.rate > 0 && p.waiting+size > p.queue) {
		return
	}
	at := now.Add(p.rtt / 2)
	if p.rate > 0 {
		p.waiting += size
		at = at.Add(time.Duration(p.waiting * 8 / p.rate * float64(time.Second)))
	}
	if p.jitter > 0 {
		at = at.Add(time.Duration(p.rng.Int64N(int64(p.jitter))))
	}
	p.flying = append(p.flying, flight{number: p.next, at: at})
}

func (p *path) arrive(now time.Time) {
	var came []flight
	p.flying = slices.DeleteFunc(p.flying, func(f flight) bool {
		if f.at.After(now) {
			return false
		}
		came = append(came, f)
		return true
	})
	slices.SortFunc(came, func(a, b flight) int { return a.at.Compare(b.at) })
	for _, f := range came {
		p.got++
		p.arrived += size
		p.asked = slices.DeleteFunc(p.asked, func(m flight) bool { return m.number == f.number })
		for missed := p.highest + 1; missed < f.number; missed++ {
			p.asked = append(p.asked, flight{number: missed, at: f.at})
		}
		p.highest = max(p.highest, f.number)
	}
}

// ask asks for what is missing, as libwebrtc does: at once, and again after each
// round trip, ten times at most. Repairs are lost as other packets are.
func (p *path) ask(now time.Time, d *Detector) {
	n := 0
	p.asked = slices.DeleteFunc(p.asked, func(m flight) bool {
		full := p.rate > 0 && p.waiting+size > p.queue
		return m.tries == 10 || m.tries > 0 && !m.at.After(now) && !full && p.rng.Float64() >= p.loss
	})
	for i, m := range p.asked {
		if !m.at.After(now) {
			n++
			p.asked[i] = flight{m.number, now.Add(max(p.rtt, 20*ms)), m.tries + 1}
		}
	}
	if n > 0 {
		d.Nacked(now, n)
	}
}

func (p *path) report(now time.Time, d *Detector) {
	if expected := p.highest - p.expected; now.Sub(p.reports) >= time.Second && expected > 0 {
		d.Report(now, max(float64(expected-p.got)/float64(expected), 0))
		p.got, p.expected, p.reports = 0, p.highest, now
	}
	if p.remb && now.Sub(p.estimates) >= 500*ms {
		received := p.arrived * 8 / .5
		if p.rate > 0 {
			received = min(received, p.rate)
		}
		fooled := p.rng.Float64() < float64(p.jitter)/float64(200*ms)
		switch {
		case p.waiting > p.before+size, p.waiting > .8*p.queue && p.rate > 0, fooled:
			p.estimate = min(p.estimate, .85*received)
		case p.estimate < 1.5*received+10e3:
			p.estimate *= 1.04
		}
		p.before, p.arrived, p.estimates = p.waiting, 0, now
		d.Estimate(now, p.estimate)
	}
}

// A viewing is a viewer of layers, served as the verdicts say.
type viewing struct {
	layers  []float64 // bits a second, the best first
	layer   int
	paused  time.Time // until; stands for the next keyframe
	path    path
	d       *Detector
	now     time.Time
	history []moment
}

type moment struct {
	at time.Duration
	v  Verdict
}

func newViewing(p path, layers ...float64) *viewing {
	p.rng, p.reports, p.estimates, p.estimate = rand.New(rand.NewPCG(7, 7)), epoch, epoch, 300e3
	if p.joined {
		p.estimate = 1.5 * layers[0]
	}
	return &viewing{layers: layers, path: p, d: New(Config{}), now: epoch}
}

// watch goes on for so long.
func (v *viewing) watch(d time.Duration) {
	for end := v.now.Add(d); v.now.Before(end); v.now = v.now.Add(10 * ms) {
		bits := v.layers[v.layer]
		if v.now.Before(v.paused) {
			bits = 0
		}
		v.path.step(v.now, v.d, bits)
		v.d.Lowest(v.layer == len(v.layers)-1)
		verdict := v.d.Verdict(v.now)
		switch verdict {
		case Keep:
			continue
		case Down:
			if v.layer++; v.layer == len(v.layers) {
				v.layer--
				v.paused = v.now.Add(2 * time.Second)
			}
		case Up:
			v.layer = max(v.layer-1, 0)
		}
		v.history = append(v.history, moment{v.now.Sub(epoch), verdict})
	}
}

func (v *viewing) count(verdict Verdict) (n int) {
	for _, m := range v.history {
		if m.v == verdict {
			n++
		}
	}
	return n
}

func TestViewersThatAreNotSlow(t *testing.T) {
	for _, c := range []struct {
		name string
		path path
		rate float64
	}{
		{"a clean path", path{remb: true}, 2.5e6},
		{"5 % random loss", path{loss: .05}, 2.5e6},
		{"5 % random loss and an estimate that starts low", path{loss: .05, remb: true}, 2.5e6},
		{"5 % random loss of a thin layer", path{loss: .05, remb: true}, 200e3},
		{"5 % random loss and an estimate that is high", path{loss: .05, remb: true, joined: true}, 2.5e6},
		{"a bottleneck that is wide enough", path{rate: 3.5e6, queue: 60e3, remb: true}, 2.5e6},
		{"50 ms of jitter, with reordering", path{jitter: 50 * ms, rtt: 40 * ms, remb: true}, 2.5e6},
		{"50 ms of jitter, after a good start", path{jitter: 50 * ms, rtt: 40 * ms, remb: true, joined: true}, 2.5e6},
		{"200 ms of jitter", path{jitter: 200 * ms, rtt: 40 * ms, remb: true, joined: true}, 2.5e6},
		{"50 ms of jitter and 2 % loss", path{jitter: 50 * ms, rtt: 40 * ms, loss: .02, remb: true, joined: true}, 2.5e6},
		{"150 ms and 2 % loss", path{rtt: 150 * ms, loss: .02, remb: true, joined: true}, 2.5e6},
		{"300 ms and 2 % loss", path{rtt: 300 * ms, loss: .02, remb: true, joined: true}, 2.5e6},
		{"10 % random loss", path{rtt: 50 * ms, loss: .1, remb: true, joined: true}, 2.5e6},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := newViewing(c.path, c.rate)
			v.watch(3 * time.Minute)
			require.Empty(t, v.history, "%+v", v.d)
		})
	}
}

func TestViewerBehindANarrowPath(t *testing.T) {
	for _, c := range []struct {
		name   string
		path   path
		within time.Duration
	}{
		{"shallow queue, no estimate", path{rate: 1e6, queue: 20e3}, 3200 * ms},
		{"shallow queue", path{rate: 1e6, queue: 20e3, remb: true}, 3200 * ms},
		{"deep queue of 2 s, no estimate", path{rate: 1e6, queue: 250e3}, 5 * time.Second},
		{"deep queue of 2 s", path{rate: 1e6, queue: 250e3, remb: true}, 4500 * ms},
		{"bottomless queue, at the start", path{rate: 1e6, queue: 1e9, remb: true}, 8 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := newViewing(c.path, 2.5e6, 600e3)
			v.watch(30 * time.Second)
			require.NotEmpty(t, v.history)
			t.Logf("%v", v.history)
			require.Equal(t, Down, v.history[0].v)
			require.LessOrEqual(t, v.history[0].at, c.within)
		})
	}
}

// The path narrows while all is well: loss or bufferbloat, it is seen in 3 s.
func TestPathThatNarrows(t *testing.T) {
	for name, queue := range map[string]float64{"loss": 20e3, "bufferbloat": 1e9} {
		t.Run(name, func(t *testing.T) {
			v := newViewing(path{remb: true, joined: true}, 2.5e6, 600e3)
			v.watch(20 * time.Second)
			require.Empty(t, v.history)
			v.path.rate, v.path.queue = 1e6, queue
			v.watch(3200 * ms)
			require.Len(t, v.history, 1)
			require.Equal(t, Down, v.history[0].v)
		})
	}
}

// A viewer that has room for the lower layer only gets it nearly all the time:
// the better one is tried ever more rarely.
func TestBacksOff(t *testing.T) {
	v := newViewing(path{rate: 1e6, queue: 20e3, remb: true}, 2.5e6, 600e3)
	v.watch(3 * time.Minute)
	t.Logf("%v", v.history)
	require.GreaterOrEqual(t, v.count(Up), 4)
	require.LessOrEqual(t, v.count(Up), 9)
	for i, m := range v.history {
		require.Equal(t, []Verdict{Down, Up}[i%2], m.v)
	}
	for i := len(v.history) - 2; i >= len(v.history)-5; i-- {
		if v.history[i].v == Down {
			require.GreaterOrEqual(t, v.history[i+1].at-v.history[i].at, 32*time.Second)
		}
	}
}

// Once the path is wide again, so is the picture.
func TestRecovers(t *testing.T) {
	v := newViewing(path{rate: 1e6, queue: 20e3}, 2.5e6, 600e3)
	for v.layer == 0 {
		v.watch(10 * ms)
		require.Less(t, v.now, epoch.Add(4*time.Second))
	}
	v.path.rate = 0
	v.watch(40 * time.Second)
	require.Equal(t, 0, v.layer)
	require.Equal(t, 1, v.count(Down))
	require.Equal(t, 2*time.Second, v.d.response.hold, "all is forgiven")
}
