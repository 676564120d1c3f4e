package send

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/send/sendtest"
)

// A crowd is viewers of one video of 100 packets a second, whom one goroutine serves in
// turn, as a worker does. It can send a packet a millisecond. There is a keyframe a second.
type crowd struct {
	*sendtest.World
	layer   *sendtest.Layer
	viewers []*viewer
	turn    int
	late    int // how often a viewer was served late
}

func inCrowd(t *testing.T, n int, f func(t *testing.T, c *crowd)) {
	sendtest.Run(t, sendtest.Config{Track: sendtest.VP8(), FrameTime: 10 * ms}, func(w *sendtest.World) {
		c := &crowd{World: w, layer: w.Layers[0]}
		c.layer.KeyEvery, c.layer.Silent = 100, true
		c.play(100 * ms)
		for range n {
			v := &viewer{World: w, Receiver: &sendtest.Receiver{Cost: ms}, layer: c.layer}
			v.add(Config{OnBehind: OnBehind{Late: func() { c.late++ }}})
			v.set.Start()
			c.viewers = append(c.viewers, v)
		}
		c.play(time.Second) // they catch up with what was there
		c.reset()
		f(w.T, c)
	})
}

func (c *crowd) reset() {
	for _, v := range c.viewers {
		v.Packets = nil
	}
}

func (c *crowd) shed() (times uint64) {
	for _, v := range c.viewers {
		times += v.set.Stats().Shed
	}
	return times
}

// play publishes and serves for a time.
func (c *crowd) play(d time.Duration) {
	c.layer.Skip()
	var wg sync.WaitGroup
	defer wg.Wait()
	end := time.Now().Add(d)
	wg.Go(func() { c.Play(d) })
	for time.Now().Before(end) {
		before := time.Now()
		c.turn++
		for i := range c.viewers {
			c.viewers[(i+c.turn)%len(c.viewers)].serve()
		}
		if time.Now().Equal(before) { // nothing to do
			time.Sleep(ms)
		}
	}
}

// seqs returns the numbers of the packets that a viewer was sent.
func (v *viewer) seqs() (all []uint16) {
	for _, p := range v.Packets {
		all = append(all, p.SequenceNumber)
	}
	return all
}

// latencies returns how old the packets were that a viewer was sent.
func (c *crowd) latencies(v *viewer) (all []time.Duration) {
	for _, p := range v.Packets {
		all = append(all, c.Age(p))
	}
	return all
}

// With twice the viewers that it can serve, a node sends each of them a part of the video in
// time, and none of them old video.
func TestTwiceTheViewersThatFit(t *testing.T) {
	inCrowd(t, 20, func(t *testing.T, c *crowd) {
		const length = 30 * time.Second
		c.play(length)
		var latency []time.Duration
		for i, v := range c.viewers {
			require.True(t, slices.IsSorted(v.seqs()))
			require.Greater(t, len(v.seqs()), 100, "viewer %d is not left out", i)
			for k := 1; k < len(v.Packets); k++ {
				require.Less(t, v.Packets[k].At.Sub(v.Packets[k-1].At), 3*time.Second, "viewer %d is not forgotten", i)
			}
			require.NotZero(t, c.viewers[i].set.Stats().Shed)
			latency = append(latency, c.latencies(v)...)
		}
		slices.Sort(latency)
		t.Logf("p50 %v, p99 %v, %d packets", latency[len(latency)/2], latency[len(latency)*99/100], len(latency))
		require.LessOrEqual(t, latency[len(latency)*99/100], 250*ms)
		require.Greater(t, len(latency), int(length/ms)*2/3, "the processor is put to use")
	})
}

// When there are no more viewers than the node can serve, all get everything from the next
// keyframe on.
func TestRecoversAtOnce(t *testing.T) {
	inCrowd(t, 20, func(t *testing.T, c *crowd) {
		c.play(10 * time.Second)
		require.NotZero(t, c.shed())
		c.viewers = c.viewers[:8]
		c.play(2 * time.Second) // the time for which they are shed, and then until a keyframe
		c.reset()
		before := c.shed()
		c.play(5 * time.Second)
		for _, v := range c.viewers {
			require.InDelta(t, 500, len(v.seqs()), 1)
			require.LessOrEqual(t, slices.Max(c.latencies(v)), 20*ms)
		}
		require.Equal(t, before, c.shed())
	})
}

// However many viewers there are, none is sent old video, and all are sent some.
func TestManyTimesTheViewersThatFit(t *testing.T) {
	for _, viewers := range []int{40, 100} {
		inCrowd(t, viewers, func(t *testing.T, c *crowd) {
			c.play(10 * time.Second) // all came at once
			c.reset()
			c.play(30 * time.Second)
			var latency []time.Duration
			for i, v := range c.viewers {
				require.NotEmpty(t, v.seqs(), "viewer %d is not left out", i)
				latency = append(latency, c.latencies(v)...)
			}
			slices.Sort(latency)
			t.Logf("%d viewers: p50 %v, p99 %v, %d packets", viewers, latency[len(latency)/2], latency[len(latency)*99/100], len(latency))
			require.LessOrEqual(t, latency[len(latency)/2], 100*ms)
			require.LessOrEqual(t, latency[len(latency)*99/100], time.Second)
			require.Greater(t, len(latency), 20_000, "the processor is put to use")
		})
	}
}

// One stall of the machine costs no viewer anything.
func TestOneStallIsNoOverload(t *testing.T) {
	for _, stall := range []time.Duration{80, 150, 165, 200} {
		inCrowd(t, 5, func(t *testing.T, c *crowd) {
			c.viewers[2].Stall = stall * ms
			c.play(3 * time.Second)
			require.Zero(t, c.shed(), "a stall of %d ms", stall)
			for _, v := range c.viewers {
				require.InDelta(t, 300, len(v.seqs()), 1)
			}
		})
	}
}

// Late is called for viewers that are served late, ahead of the first loss.
func TestLatenessIsToldFirst(t *testing.T) {
	for viewers, late := range map[int]bool{5: false, 10: true} {
		inCrowd(t, viewers, func(t *testing.T, c *crowd) {
			c.play(2 * time.Second)
			shed := c.shed()
			c.late = 0
			for range 20 { // frames of five packets, all of which may leave in 50 ms
				for range 5 {
					c.layer.Frame(false)
				}
				for _, v := range c.viewers {
					v.serve()
				}
				time.Sleep(100 * ms)
			}
			require.Equal(t, shed, c.shed())
			require.Equal(t, late, c.late > 0, "%d viewers: late %d times", viewers, c.late)
		})
	}
}

// Late now and late again later is not late twice in a row: a turn with nothing
// to send is one in time.
func TestIdleTurnsAreInTime(t *testing.T) {
	inCrowd(t, 1, func(t *testing.T, c *crowd) {
		c.layer.Frame(false)
		time.Sleep(45 * ms)
		c.viewers[0].serve()
		time.Sleep(20 * ms)
		c.viewers[0].serve() // as for sound
		c.layer.Frame(false)
		time.Sleep(82 * ms)
		c.viewers[0].serve()
		require.Zero(t, c.shed())
	})
}

// An overloaded node does not make the publisher, which serves others too, send one keyframe
// after the other.
func TestOverloadAsksForFewKeyframes(t *testing.T) {
	for _, viewers := range []int{12, 20} {
		inCrowd(t, viewers, func(t *testing.T, c *crowd) {
			c.layer.KeyEvery, c.layer.Obeys = 1000, true // one in ten seconds
			c.play(10 * time.Second)
			c.layer.Keyframes = 0
			c.layer.Asked.Store(0)
			c.play(30 * time.Second)
			t.Logf("%d viewers: %d keyframes, %d asked for", viewers, c.layer.Keyframes, c.layer.Asked.Load())
			require.NotZero(t, c.shed())
			require.LessOrEqual(t, c.layer.Keyframes, 24, "of %d viewers", viewers)
			// A viewer asks after 3 s, and the keyframe comes within the node's window.
			// If it is found too late, that happens once more.
			const twice = 2 * (3*time.Second + 500*ms + 160*ms)
			for i, v := range c.viewers {
				for k := 1; k < len(v.Packets); k++ {
					require.Less(t, v.Packets[k].At.Sub(v.Packets[k-1].At), twice, "viewer %d is not forgotten", i)
				}
			}
		})
	}
}

// A viewer that was shed asks again if the keyframe that it had asked for is
// found too late, and the publisher makes none by itself.
func TestAKeyframeFoundTooLate(t *testing.T) {
	inCrowd(t, 1, func(t *testing.T, c *crowd) {
		c.layer.KeyEvery, c.layer.Obeys = 60_000, true
		c.play(time.Second)
		asked := c.layer.Asked.Load()
		c.layer.Frame(false)
		time.Sleep(1200 * ms)
		c.viewers[0].serve()
		require.NotZero(t, c.shed())
		require.Equal(t, asked, c.layer.Asked.Load())
		for c.layer.Asked.Load() == asked {
			c.viewers[0].serve()
			time.Sleep(10 * ms)
		}
		c.layer.Skip()
		c.layer.Frame(true)
		time.Sleep(200 * ms)
		c.reset()
		c.play(time.Second)
		require.Empty(t, c.viewers[0].seqs())
		c.play(3 * time.Second)
		require.NotEmpty(t, c.viewers[0].seqs())
		require.Less(t, c.latencies(c.viewers[0])[0], 20*ms)
	})
}
