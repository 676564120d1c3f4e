package send_test

import (
	"encoding/binary"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/internal/send"
)

// slowWriter takes its time for each packet, as a processor does.
type slowWriter struct {
	cost    time.Duration
	stall   time.Duration // once
	seqs    []uint16
	latency []time.Duration
	at      []time.Time
}

func (w *slowWriter) WriteRTP(header, payload []byte) (int, error) {
	time.Sleep(w.cost + w.stall)
	w.stall = 0
	now := time.Now()
	w.seqs = append(w.seqs, binary.BigEndian.Uint16(header[2:]))
	w.at = append(w.at, now)
	w.latency = append(w.latency, now.Sub(time.Unix(0, int64(binary.BigEndian.Uint64(payload[8:])))))
	return len(payload), nil
}

// encoder is the way back to the publisher.
type encoder struct {
	asked atomic.Bool // for a keyframe
	times atomic.Int32
}

func (e *encoder) RequestKeyframe() { e.asked.Store(true); e.times.Add(1) }
func (e *encoder) Nack([]uint16)    {}

// crowd is viewers of one video of 100 packets a second, whom one goroutine
// serves in turn, as a worker does. It can send a packet a millisecond.
type crowd struct {
	stream  *cdn.Stream
	input   *cdn.LayerInput
	encoder encoder
	every   uint16 // so many packets there is a keyframe
	obeys   bool   // the publisher makes one when asked
	keys    int    // made so far
	viewers []*slowWriter
	sets    []*send.Set
	turn    int
	seq     uint16
}

func inCrowd(t *testing.T, n int, f func(t *testing.T, c *crowd)) {
	synctest.Test(t, func(t *testing.T) {
		host := cdntest.NewNetwork(t, cdntest.NetworkConfig{}).Host("node", cdntest.Path{})
		node, err := cdn.Listen(cdn.Config{Addr: host.IP().String() + ":7000", Net: host.Net()})
		require.NoError(t, err)
		defer func() { require.NoError(t, node.Close()) }()
		c := &crowd{every: 100}
		c.stream, err = node.NewStream("live")
		require.NoError(t, err)
		in, err := c.stream.NewInput(cdn.InputConfig{})
		require.NoError(t, err)
		require.NoError(t, in.Start([]cdn.TrackInfo{{
			ID: "video", Kind: cdn.Video, Codec: cdn.Codec{MimeType: "video/VP8", ClockRate: 90000}, Layers: []string{""},
		}}))
		c.input, err = in.Layer(0, "", &c.encoder)
		require.NoError(t, err)
		c.play(100 * time.Millisecond)
		for range n {
			c.join()
		}
		c.play(time.Second) // they catch up with what was there
		c.reset()
		f(t, c)
	})
}

func (c *crowd) join() {
	track := c.stream.Tracks()[0]
	w := &slowWriter{cost: time.Millisecond}
	set := send.New(send.Config{})
	set.Add(&send.Line{Track: track, PT: 96}, track.Layers()[0], "").Bind(send.Output{To: w, SSRC: 1})
	set.Start()
	c.viewers, c.sets = append(c.viewers, w), append(c.sets, set)
}

func (c *crowd) reset() {
	for _, v := range c.viewers {
		v.seqs, v.at, v.latency = nil, nil, nil
	}
}

func (c *crowd) shed() (times uint64) {
	for _, s := range c.sets {
		times += s.Stats().Shed
	}
	return times
}

// play publishes and serves for a time.
func (c *crowd) play(d time.Duration) {
	var wg sync.WaitGroup
	defer wg.Wait()
	end := time.Now().Add(d)
	wg.Go(func() { c.publish(end) })
	for time.Now().Before(end) {
		before := time.Now()
		c.turn++
		for i := range c.sets {
			c.sets[(i+c.turn)%len(c.sets)].Consume(time.Now(), nil)
		}
		if time.Now().Equal(before) { // nothing to do
			time.Sleep(time.Millisecond)
		}
	}
}

// publish makes a keyframe a second, if not told otherwise.
func (c *crowd) publish(end time.Time) {
	for ; time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		asked := c.encoder.asked.Swap(false)
		c.write(c.seq%c.every == 0 || c.obeys && asked)
	}
}

// write publishes a frame of one packet.
func (c *crowd) write(key bool) {
	payload := make([]byte, 16)
	payload[0] = 0x10
	if key {
		c.keys++
	} else {
		payload[1] = 1
	}
	binary.BigEndian.PutUint64(payload[8:], uint64(time.Now().UnixNano()))
	c.input.Write(time.Now(), &rtp.Packet{
		Header:  rtp.Header{Version: 2, SequenceNumber: c.seq, Timestamp: uint32(c.seq) * 900, Marker: true},
		Payload: payload,
	}, nil)
	c.seq++
}

// With twice the viewers that it can serve, a node gives all of them a part of
// the video in time, and none of them old video.
func TestTwiceTheViewersThatFit(t *testing.T) {
	inCrowd(t, 20, func(t *testing.T, c *crowd) {
		const length = 30 * time.Second
		c.play(length)
		var latency []time.Duration
		for i, v := range c.viewers {
			require.True(t, slices.IsSorted(v.seqs))
			require.Greater(t, len(v.seqs), 100, "viewer %d is not left out", i)
			for k := 1; k < len(v.at); k++ {
				require.Less(t, v.at[k].Sub(v.at[k-1]), 3*time.Second, "viewer %d is not forgotten", i)
			}
			require.NotZero(t, c.sets[i].Stats().Shed)
			latency = append(latency, v.latency...)
		}
		slices.Sort(latency)
		t.Logf("p50 %v, p99 %v, %d packets", latency[len(latency)/2], latency[len(latency)*99/100], len(latency))
		require.LessOrEqual(t, latency[len(latency)*99/100], 250*time.Millisecond)
		require.Greater(t, len(latency), int(length/time.Millisecond)*2/3, "the processor is put to use")
	})
}

// When there are no more viewers than fit, all get everything from the next
// keyframe on.
func TestRecoversAtOnce(t *testing.T) {
	inCrowd(t, 20, func(t *testing.T, c *crowd) {
		c.play(10 * time.Second)
		require.NotZero(t, c.shed())
		c.sets, c.viewers = c.sets[:8], c.viewers[:8]
		c.play(2 * time.Second) // the time for which they are shed, and then until a keyframe
		c.reset()
		before := c.shed()
		c.play(5 * time.Second)
		for _, v := range c.viewers {
			require.InDelta(t, 500, len(v.seqs), 1)
			require.LessOrEqual(t, slices.Max(v.latency), 20*time.Millisecond)
		}
		require.Equal(t, before, c.shed())
	})
}

// However many viewers there are, nobody is sent old video, and all get some.
func TestManyTimesTheViewersThatFit(t *testing.T) {
	for _, viewers := range []int{40, 100} {
		inCrowd(t, viewers, func(t *testing.T, c *crowd) {
			c.play(10 * time.Second) // those who came all at once have been sorted out
			c.reset()
			c.play(30 * time.Second)
			var latency []time.Duration
			for i, v := range c.viewers {
				require.NotEmpty(t, v.seqs, "viewer %d is not left out", i)
				latency = append(latency, v.latency...)
			}
			slices.Sort(latency)
			t.Logf("%d viewers: p50 %v, p99 %v, %d packets", viewers, latency[len(latency)/2], latency[len(latency)*99/100], len(latency))
			require.LessOrEqual(t, latency[len(latency)/2], 100*time.Millisecond)
			require.LessOrEqual(t, latency[len(latency)*99/100], time.Second)
			require.Greater(t, len(latency), 20_000, "the processor is put to use")
		})
	}
}

// A hiccup of the machine costs nobody anything.
func TestOneStallIsNoOverload(t *testing.T) {
	for _, stall := range []time.Duration{80, 150, 165, 200} {
		inCrowd(t, 5, func(t *testing.T, c *crowd) {
			c.viewers[2].stall = stall * time.Millisecond
			c.play(3 * time.Second)
			require.Zero(t, c.shed(), "a stall of %d ms", stall)
			for _, v := range c.viewers {
				require.InDelta(t, 300, len(v.seqs), 1)
			}
		})
	}
}

// Late now and late again later is not late twice in a row: a turn with nothing
// to send is one in time.
func TestIdleTurnsAreInTime(t *testing.T) {
	inCrowd(t, 1, func(t *testing.T, c *crowd) {
		c.write(false)
		time.Sleep(45 * time.Millisecond)
		c.sets[0].Consume(time.Now(), nil)
		time.Sleep(20 * time.Millisecond)
		c.sets[0].Consume(time.Now(), nil) // as for sound
		c.write(false)
		time.Sleep(82 * time.Millisecond)
		c.sets[0].Consume(time.Now(), nil)
		require.Zero(t, c.shed())
	})
}

// An overloaded node does not make the publisher, who serves others too, send
// one keyframe after the other.
func TestOverloadAsksForFewKeyframes(t *testing.T) {
	for _, viewers := range []int{12, 20} {
		inCrowd(t, viewers, func(t *testing.T, c *crowd) {
			c.every, c.obeys = 1000, true // one in ten seconds
			c.play(10 * time.Second)
			c.keys = 0
			c.encoder.times.Store(0)
			c.play(30 * time.Second)
			t.Logf("%d viewers: %d keyframes, %d asked for", viewers, c.keys, c.encoder.times.Load())
			require.NotZero(t, c.shed())
			require.LessOrEqual(t, c.keys, 24, "of %d viewers", viewers)
			// A viewer asks after 3 s, and the keyframe comes within the node's window.
			// If it is found too late, that happens once more.
			const twice = 2 * (3*time.Second + 500*time.Millisecond + 160*time.Millisecond)
			for i, v := range c.viewers {
				for k := 1; k < len(v.at); k++ {
					require.Less(t, v.at[k].Sub(v.at[k-1]), twice, "viewer %d is not forgotten", i)
				}
			}
		})
	}
}

// A viewer that was shed asks again if the keyframe that it had asked for is
// found too late, and the publisher makes none by itself.
func TestAKeyframeFoundTooLate(t *testing.T) {
	inCrowd(t, 1, func(t *testing.T, c *crowd) {
		c.every, c.obeys = 60_000, true
		c.play(time.Second)
		c.write(false)
		time.Sleep(1200 * time.Millisecond)
		c.sets[0].Consume(time.Now(), nil)
		require.NotZero(t, c.shed())
		require.False(t, c.encoder.asked.Load())
		for !c.encoder.asked.Load() {
			c.sets[0].Consume(time.Now(), nil)
			time.Sleep(10 * time.Millisecond)
		}
		c.encoder.asked.Store(false)
		c.write(true)
		time.Sleep(200 * time.Millisecond)
		c.reset()
		c.play(time.Second)
		require.Empty(t, c.viewers[0].seqs)
		c.play(3 * time.Second)
		require.NotEmpty(t, c.viewers[0].seqs)
		require.Less(t, c.viewers[0].latency[0], 20*time.Millisecond)
	})
}
