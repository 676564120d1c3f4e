package uplink

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/netem"
)

const ms = time.Millisecond

// A world looks at layers once a second.
type world struct {
	Detector
	now     time.Time
	changes []string
}

func newWorld() *world {
	w := &world{now: time.Unix(1_800_000_000, 0)}
	w.Look(w.now, nil)
	return w
}

// pass lets seconds pass, in each of which the same comes.
func (w *world) pass(seconds int, layers ...Layer) {
	for range seconds {
		w.now = w.now.Add(time.Second)
		if w.Look(w.now, layers) {
			w.changes = append(w.changes, map[bool]string{true: "narrow", false: "recovered"}[w.State().Narrow])
		}
	}
}

func one(bits int) Layer {
	packets := bits/10_000 + 1
	return Layer{Bytes: bits / 8, Expected: packets, Received: packets}
}

func named(name string, bits int) Layer {
	l := one(bits)
	l.Name = name
	return l
}

func sound() Layer { return Layer{Track: 1, Bytes: 5000, Expected: 50, Received: 50} }

func with(l Layer, f func(*Layer)) Layer {
	f(&l)
	return l
}

func TestAGoodPath(t *testing.T) {
	w := newWorld()
	w.pass(60, one(2_000_000), sound())
	require.Empty(t, w.changes)
	require.Equal(t, 2_040_000.0, w.State().Bitrate)
	require.True(t, w.State().Since.IsZero())
}

func TestLoss(t *testing.T) {
	lossy := with(one(2_000_000), func(l *Layer) { l.Received -= 40; l.Bytes -= 40 * 1250 })
	w := newWorld()
	w.pass(20, one(2_000_000), sound())
	w.pass(1, lossy, sound())
	w.pass(5, one(2_000_000), sound())
	worse := lossy
	worse.Received -= lossy.Expected / 4
	w.pass(1, worse, sound())
	w.pass(5, one(2_000_000), sound())
	require.Empty(t, w.changes, "one bad second, and one that is worse")
	w.pass(1, Layer{}, Layer{Track: 1})
	w.pass(1, lossy, sound())
	w.pass(1, Layer{}, Layer{Track: 1})
	w.pass(1, lossy, sound())
	require.Empty(t, w.changes, "silence is between them")
	w.pass(1, lossy, sound())
	require.Equal(t, []string{"narrow"}, w.changes)
	require.InDelta(t, 0.16, w.State().Loss, 0.01)
	require.Equal(t, 2_040_000.0, w.State().Before)
	require.Equal(t, w.now, w.State().Since)
	w.pass(30, lossy, sound())
	require.Len(t, w.changes, 1, "it is told once")
	w.pass(9, one(2_000_000), sound())
	require.Len(t, w.changes, 1)
	w.pass(4, one(2_000_000), sound())
	require.Equal(t, []string{"narrow", "recovered"}, w.changes)
	require.Zero(t, w.State().Before)
}

func TestRandomLossIsNoNarrowPath(t *testing.T) {
	w := newWorld()
	w.pass(60, with(one(2_000_000), func(l *Layer) { l.Received -= 12 }), sound())
	require.Empty(t, w.changes)
}

// A sender that has adapted sends less: the path is as narrow as it was.
func TestASenderThatAdapts(t *testing.T) {
	queued := func(bits int) Layer { return with(one(bits), func(l *Layer) { l.Queue = 200 * ms }) }
	w := newWorld()
	w.pass(20, one(2_000_000))
	w.pass(2, queued(1_000_000))
	require.Equal(t, []string{"narrow"}, w.changes)
	w.pass(50, one(800_000))
	require.Len(t, w.changes, 1)
	w.pass(20, one(800_000))
	require.Len(t, w.changes, 2, "in the end it may have less to send")

	w = newWorld()
	w.pass(20, one(2_000_000))
	w.pass(2, queued(1_000_000))
	w.pass(20, one(800_000))
	w.pass(1, one(1_800_000))
	require.Equal(t, []string{"narrow", "recovered"}, w.changes)
}

// A queue in the path is in the way of everything. What holds up video alone is its
// encoder.
func TestWhatHoldsUpOneLayerIsNoQueue(t *testing.T) {
	late := with(one(2_000_000), func(l *Layer) { l.Queue = time.Second })
	unknown := with(sound(), func(l *Layer) { l.Queue = -1 })
	w := newWorld()
	w.pass(30, late, sound())
	require.Empty(t, w.changes)
	w.pass(2, late, unknown)
	require.Equal(t, []string{"narrow"}, w.changes)
	require.Equal(t, time.Second, w.State().Queue)
}

func TestLayersThatStop(t *testing.T) {
	low, mid, high := named("l", 200_000), named("m", 700_000), named("h", 2_500_000)
	none := func(l Layer) Layer { return Layer{Name: l.Name} }
	w := newWorld()
	w.pass(19, low, mid, high, sound())
	w.pass(1, low, mid, named("h", 50_000), sound()) // it stops meanwhile
	w.pass(1, low, mid, none(high), sound())
	require.Empty(t, w.changes)
	w.pass(1, low, mid, none(high), sound())
	require.Equal(t, []string{"narrow"}, w.changes)
	require.Equal(t, []string{"h"}, w.State().Missing)
	require.Equal(t, 3_440_000.0, w.State().Before)
	w.pass(5, low, none(mid), none(high), sound())
	require.Equal(t, []string{"m", "h"}, w.State().Missing)
	w.pass(9, low, mid, high, sound())
	w.pass(3, low, mid, high, sound())
	require.Equal(t, []string{"narrow", "recovered"}, w.changes)
	require.Empty(t, w.State().Missing)
}

func TestLayersThatMayStop(t *testing.T) {
	low, high := named("l", 200_000), named("h", 2_500_000)
	for name, layers := range map[string][]Layer{
		"said goodbye": {low, {Name: "h", Ended: true}, sound()},
		"the lower":    {{Name: "l"}, high, sound()},
		"all of them":  {{Name: "l"}, {Name: "h"}, sound()},
		"everything":   {{Name: "l"}, {Name: "h"}, {Track: 1}},
	} {
		w := newWorld()
		w.pass(20, low, high, sound())
		w.pass(20, layers...)
		require.Empty(t, w.changes, name)
	}
}

// A layer that was never sent says nothing of the path: the publisher may not send it at
// all, as a browser does whose camera is small.
func TestALayerThatIsNeverSent(t *testing.T) {
	low := named("l", 200_000)
	w := newWorld()
	w.pass(120, low, Layer{Name: "h"}, sound())
	require.Empty(t, w.changes)
	require.Empty(t, w.State().Missing)
	w.pass(3, low, named("h", 1_000_000), sound())
	w.pass(3, low, Layer{Name: "h"}, sound())
	require.Equal(t, []string{"narrow"}, w.changes, "it has been sent since")
}

// A publisher that resumes begins with the low layers, however long it has paused, and
// whether its sound went on or not.
func TestAPauseThatIsResumed(t *testing.T) {
	low, high := named("l", 200_000), named("h", 2_500_000)
	for name, other := range map[string]Layer{"sound goes on": sound(), "all is silent": {Track: 1}} {
		for _, seconds := range []int{1, 2, 3, 60} {
			w := newWorld()
			w.pass(20, low, high, sound())
			w.pass(seconds, Layer{Name: "l"}, Layer{Name: "h"}, other)
			w.pass(9, low, Layer{Name: "h"}, sound())
			require.Empty(t, w.changes, "%s, %d s", name, seconds)
			require.Empty(t, w.State().Missing, "%s, %d s", name, seconds)
			w.pass(5, low, high, sound())
			w.pass(3, low, Layer{Name: "h"}, sound())
			require.Equal(t, []string{"narrow"}, w.changes, "%s, %d s: it has come again", name, seconds)
		}
	}
}

// Layers of another track that go on say nothing of one that stops.
func TestTracksAreJudgedByThemselves(t *testing.T) {
	camera := []Layer{named("l", 200_000), named("h", 2_500_000)}
	screen := with(named("l", 100_000), func(l *Layer) { l.Track = 2 })
	w := newWorld()
	w.pass(20, camera[0], camera[1], screen)
	w.pass(20, Layer{Name: "l"}, Layer{Name: "h"}, screen)
	require.Empty(t, w.changes)
}

// A course has the packets of an RTP stream go over a path.
type course struct {
	Delay
	link *netem.Link
	now  time.Time
	at   uint32 // ticks of 90 kHz
	most time.Duration
	none bool // too few in one of the seconds
}

func newCourse(p netem.Path) *course {
	return &course{link: netem.NewLink(p, rand.New(rand.NewPCG(1, 2))), now: time.Unix(1_800_000_000, 0), at: 1<<32 - 90_000}
}

// run sends bits a second, a frame at a time, and notes the largest queue.
func (c *course) run(seconds, bits int) {
	const fps = 30
	c.most, c.none = 0, false
	for range seconds {
		for range fps {
			for range max(1, bits/fps/8/1000) {
				if at, fate := c.link.Carry(c.now, 1000); fate == netem.Passed {
					c.Packet(at, c.at, 90_000)
				}
			}
			c.now = c.now.Add(time.Second / fps)
			c.at += 90_000 / fps
		}
		queue := c.Queue()
		c.none = c.none || queue < 0
		c.most = max(c.most, queue)
	}
}

func TestAQueueIsSeen(t *testing.T) {
	c := newCourse(netem.Path{Delay: 50 * ms, Rate: 3_000_000, Queue: 300 * ms, Jitter: 30 * ms})
	c.run(30, 2_000_000)
	require.Less(t, c.most, 30*ms)
	c.link.SetPath(netem.Path{Delay: 50 * ms, Rate: 1_500_000, Queue: 300 * ms, Jitter: 30 * ms})
	c.run(3, 2_000_000)
	require.Greater(t, c.most, 200*ms)
	c.link.SetPath(netem.Path{Delay: 50 * ms, Rate: 3_000_000, Queue: 300 * ms, Jitter: 30 * ms})
	c.run(2, 2_000_000)
	c.run(30, 2_000_000)
	require.Less(t, c.most, 30*ms)
}

// A path that has become longer is no queue for ever, a clock that jumps is none at all,
// and one that runs slow is none either.
func TestClocks(t *testing.T) {
	c := newCourse(netem.Path{Delay: 50 * ms})
	c.run(30, 1_000_000)
	c.link.SetPath(netem.Path{Delay: 200 * ms})
	c.run(70, 1_000_000)
	require.Equal(t, 150*ms, c.most.Round(ms))
	c.run(30, 1_000_000)
	require.Zero(t, c.most.Round(ms))
	c.at += 1 << 30
	c.run(30, 1_000_000)
	require.Less(t, c.most, 2*ms)
	for range 600 {
		c.now = c.now.Add(500 * time.Microsecond) // a second of 500 ppm
		c.run(1, 300_000)
		require.Less(t, c.most, 40*ms)
	}
	c.run(10, 1)
	require.False(t, c.none)
	c.now = c.now.Add(time.Second)
	require.Negative(t, c.Queue(), "no packet has come")
}
