package send

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/internal/netem"
	"github.com/deltacdn/delta/internal/send/allot"
	"github.com/deltacdn/delta/internal/send/bwe"
	"github.com/deltacdn/delta/internal/send/sendtest"
)

// largePayload is the payload of a large packet.
const largePayload = 1180

// A departure is a packet that was sent on a path.
type departure struct {
	rtp.Header
	at, arrives time.Time
	bytes       int
	fate        netem.Fate
}

// A narrowViewer is a receiver of sound and video behind a path. A worker of its node
// serves it.
type narrowViewer struct {
	*testing.T
	stream       *cdn.Stream
	video, sound *narrowTrack
	set          *Set
	link         *netem.Link
	sent         []departure
	begun        time.Time
	near         bool
	detach       func()
}

// A narrowTrack publishes one layer.
type narrowTrack struct {
	viewer *narrowViewer
	track  *cdn.Track
	input  *cdn.LayerInput
	seq    uint16
	asked  int
}

func (n *narrowTrack) RequestKeyframe() { n.asked++ }
func (n *narrowTrack) Nack([]uint16)    {}

// publish publishes a frame of so many packets now.
func (n *narrowTrack) publish(packets int, payload ...byte) {
	now := time.Now()
	ts := uint32(now.Sub(n.viewer.begun).Seconds() * float64(n.track.Info().Codec.ClockRate))
	var batch cdn.Arrivals
	for i := range packets {
		n.seq++
		p := payload
		if n == n.viewer.video {
			p = append([]byte{0, 1, 0, 0}, make([]byte, largePayload-4)...)
			if i == 0 {
				copy(p, payload)
			}
		}
		batch.Write(n.input, now, &rtp.Packet{
			Header: rtp.Header{Version: 2, Marker: i == packets-1, SequenceNumber: n.seq, Timestamp: ts}, Payload: p,
		}, nil)
	}
	batch.Flush()
}

var (
	keyframe = []byte{0x10, 0, 0, 0, 0x9d, 0x01, 0x2a, 0, 1, 180, 0}
	delta    = []byte{0x10, 1, 0, 0}
)

// The path that a keyframe of 120 packets overflows.
var narrowPath = netem.Path{Rate: 5_000_000, Queue: time.Second, QueueBytes: 20 * (rtpHeader + largePayload + sendtest.Tag + lowerHeaders)}

// withNarrowViewer calls f with a viewer that has not joined.
func withNarrowViewer(t *testing.T, path netem.Path, f func(v *narrowViewer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		host := cdntest.NewNetwork(t, cdntest.NetworkConfig{}).Host("node", cdntest.Path{})
		node, err := cdn.Listen(cdn.Config{Addr: host.IP().String() + ":7000", Net: host.Net()})
		require.NoError(t, err)
		defer func() { require.NoError(t, node.Close()) }()
		v := &narrowViewer{T: t, begun: time.Now(), link: netem.NewLink(path, rand.New(rand.NewPCG(1, 1))), detach: func() {}}
		v.stream, err = node.NewStream("live")
		require.NoError(t, err)
		in, err := v.stream.NewInput(cdn.InputConfig{})
		require.NoError(t, err)
		require.NoError(t, in.Start([]cdn.TrackInfo{sendtest.VP8(), sendtest.Opus()}))
		v.video, v.sound = &narrowTrack{viewer: v}, &narrowTrack{viewer: v}
		for i, n := range []*narrowTrack{v.video, v.sound} {
			n.track = v.stream.Tracks()[i]
			n.input, err = in.Layer(i, "", n)
			require.NoError(t, err)
		}
		f(v)
		v.detach()
	})
}

// join has the viewer join.
func (v *narrowViewer) join(c Config) {
	if c.StartRate == 0 {
		c.StartRate = DefaultStartRate
	}
	if c.Policy == nil {
		c.Policy = func() allot.Policy { return &always{} }
	}
	v.set = New(c)
	for i, n := range []*narrowTrack{v.video, v.sound} {
		s := v.set.Add(&Line{Track: n.track, PT: 96 + uint8(2*i), RTX: 97 + uint8(2*i)}, n.track.Layers()[0], "")
		s.Bind(Output{To: v, SSRC: 1 + uint32(i), RTX: 11 + uint32(i)})
	}
	if v.near {
		v.set.SetNear()
	}
	v.set.Start()
	v.detach = v.stream.Attach(v)
	synctest.Wait()
}

// Consume implements cdn.Consumer.
func (v *narrowViewer) Consume() { v.set.Consume(time.Now(), nil) }

// ServeBy implements service.Timed.
func (v *narrowViewer) ServeBy(serveAt func(time.Time)) { v.set.ServeBy(serveAt) }

// WriteRTP implements RTPWriter.
func (v *narrowViewer) WriteRTP(header, payload []byte) (int, error) {
	d := departure{Header: sendtest.ReadHeader(header), at: time.Now(), bytes: len(header) + len(payload) + sendtest.Tag}
	d.arrives, d.fate = v.link.Carry(d.at, d.bytes)
	v.sent = append(v.sent, d)
	return d.bytes, nil
}

// play publishes sound, and video of nine packets a frame, for a time. The frames of the
// numbers given are keyframes of so many packets.
func (v *narrowViewer) play(d time.Duration, keyframes map[int]int) {
	end := time.Now().Add(d)
	frame, sound := 0, time.Now().Add(3*ms)
	begun := time.Now()
	for {
		next := begun.Add(time.Duration(frame) * sendtest.FrameTime)
		if sound.Before(next) {
			next = sound
		}
		if !next.Before(end.Add(-ms)) {
			time.Sleep(time.Until(end))
			synctest.Wait()
			return
		}
		time.Sleep(time.Until(next))
		if next.Equal(sound) {
			sound = sound.Add(20 * ms)
			v.sound.publish(1, make([]byte, 120)...)
			continue
		}
		if n := keyframes[frame]; n > 0 {
			v.video.publish(n, keyframe...)
		} else {
			v.video.publish(9, delta...)
		}
		frame++
	}
}

// of returns what was sent of a track.
func (v *narrowViewer) of(n *narrowTrack) (all []departure) {
	ssrc := uint32(1)
	if n == v.sound {
		ssrc = 2
	}
	for _, d := range v.sent {
		if d.SSRC == ssrc {
			all = append(all, d)
		}
	}
	return all
}

// lost returns how many packets the path has dropped.
func (v *narrowViewer) lost() (n int) {
	for _, d := range v.sent {
		if d.fate != netem.Passed {
			n++
		}
	}
	return n
}

// gap returns the longest time between the arrivals of two packets.
func gap(all []departure) (longest time.Duration) {
	for i, d := range all[1:] {
		longest = max(longest, d.arrives.Sub(all[i].arrives))
	}
	return longest
}

// requireGroups: of what was sent at one time, sound aside, the first burst has ten packets,
// and no other has more than the path carries in 10 ms, or one.
func (v *narrowViewer) requireGroups(rate float64) {
	v.Helper()
	var groups []int
	var last time.Time
	for _, d := range v.of(v.video) {
		if len(groups) == 0 || !d.at.Equal(last) {
			groups = append(groups, 0)
		}
		last = d.at
		groups[len(groups)-1]++
	}
	most := int(rate / 8 * groupTime.Seconds() / (largePayload + 40))
	require.Equal(v, 10, groups[0])
	require.LessOrEqual(v, slices.Max(groups[1:]), max(most, 1), groups)
}

// A keyframe of 120 packets into a path with room for twenty: nothing is lost, sound is not
// held up, and the node is not taken to be behind. Without pacing, most of it is lost.
func TestKeyframeIntoANarrowPath(t *testing.T) {
	for _, paced := range []bool{true, false} {
		t.Run(fmt.Sprint("paced ", paced), func(t *testing.T) {
			withNarrowViewer(t, narrowPath, func(v *narrowViewer) {
				c := Config{OnBehind: OnBehind{Late: func() { t.Error("the node is not late") }, Shed: func() { t.Error("nothing is left out") }}}
				if !paced {
					c.StartRate = -1
				}
				v.join(c)
				v.play(500*ms, map[int]int{0: 120})
				if !paced {
					require.Greater(t, v.lost(), 80)
					return
				}
				require.Zero(t, v.lost())
				require.LessOrEqual(t, gap(v.of(v.sound)), 40*ms)
				v.sent = v.sent[:121]
				v.requireGroups(5e6)
			})
		})
	}
}

// What waited is made up for, and then everything leaves when it comes.
func TestNoDelayRemainsFromAKeyframe(t *testing.T) {
	withNarrowViewer(t, narrowPath, func(v *narrowViewer) {
		v.join(Config{})
		v.play(2*time.Second, map[int]int{0: 120})
		require.Zero(t, v.lost())
		require.Zero(t, v.set.Stats().Shed)
		require.Equal(t, int(v.video.seq), len(v.of(v.video)), "all of it was sent")
		v.sent = nil
		v.play(time.Second, nil)
		for i, d := range v.of(v.video) {
			require.Equal(t, v.of(v.video)[i/9*9].at, d.at, "a frame leaves at once")
		}
		require.Equal(t, 30*9, len(v.of(v.video)))
		require.LessOrEqual(t, gap(v.of(v.video)), 40*ms)
	})
}

// Sound leaves when it comes, whatever waits.
func TestSoundIsNeverHeldBack(t *testing.T) {
	withNarrowViewer(t, netem.Path{}, func(v *narrowViewer) {
		v.join(Config{})
		begun := time.Now()
		v.play(3*time.Second, map[int]int{0: 120, 30: 400, 60: 200})
		for i, d := range v.of(v.sound) {
			require.Equal(t, begun.Add(3*ms+time.Duration(i)*20*ms), d.at)
		}
		require.Equal(t, 150, len(v.of(v.sound)))
	})
}

// Bursts of ten packets do not wait, or, on a narrow path, those that it takes in 40 ms.
func TestSmallBurstsDoNotWait(t *testing.T) {
	for rate, atOnce := range map[float64]int{100_000: 2, 1_000_000: 4, 2_500_000: 10, 100_000_000: 10} {
		t.Run(fmt.Sprint(rate), func(t *testing.T) {
			withNarrowViewer(t, netem.Path{}, func(v *narrowViewer) {
				v.join(Config{StartRate: rate})
				sent := func() int {
					synctest.Wait()
					v.set.mu.Lock()
					defer v.set.mu.Unlock()
					return len(v.sent)
				}
				for i := range 20 {
					v.video.publish(10, []byte{0x10, byte(min(i, 1)), 0, 0}...)
					require.Equal(t, 10*i+atOnce, sent())
					time.Sleep(3 * time.Second)
					require.Equal(t, 10*(i+1), sent())
				}
			})
		})
	}
}

// A burst leaves at the rate that the viewer's estimate says, or, if that is not enough for
// what is sent, at one that is.
func TestRateOfABurst(t *testing.T) {
	for name, c := range map[string]struct {
		config   Config
		estimate float64
		want     float64 // Mbit/s
	}{
		"at first":           {want: 5},
		"configured":         {config: Config{StartRate: 20e6}, want: 20},
		"estimated":          {estimate: 12e6, want: 12},
		"below what is sent": {estimate: 100e3, want: drainFactor * 2.6},
	} {
		t.Run(name, func(t *testing.T) {
			withNarrowViewer(t, netem.Path{}, func(v *narrowViewer) {
				v.join(c.config)
				v.play(4*time.Second, map[int]int{0: 9})
				if c.estimate > 0 {
					v.set.change()
					v.set.path.estimator = bwe.New(bwe.Config{Start: c.estimate}, time.Now())
					v.set.mu.Unlock()
				}
				v.play(100*ms, nil)
				v.sent = nil
				begun := time.Now()
				v.video.publish(500, delta...)
				time.Sleep(3 * time.Second)
				synctest.Wait()
				all := v.of(v.video)
				require.Len(t, all, 500)
				bits := 0
				for _, d := range all[10:] {
					bits += 8 * (d.bytes + lowerHeaders)
				}
				rate := float64(bits) / all[499].at.Sub(begun).Seconds()
				require.InEpsilon(t, c.want, rate/1e6, 0.1)
			})
		})
	}
}

// Catching up is bound by the pacer: nothing is lost in the path, what comes looks live, and
// the viewer is live in the end.
func TestCatchingUpOnANarrowPath(t *testing.T) {
	for _, age := range []time.Duration{400 * ms, 1900 * ms, 4 * time.Second} {
		t.Run(age.String(), func(t *testing.T) {
			path := narrowPath
			path.Rate = 6_000_000
			withNarrowViewer(t, path, func(v *narrowViewer) {
				v.play(5*time.Second, nil) // the bitrate is known
				v.play(age, map[int]int{0: 60})
				v.join(Config{})
				joined := time.Now()
				v.play(3*age+2*time.Second, nil)
				require.Zero(t, v.lost())
				require.Zero(t, v.set.Stats().Shed)
				all := v.of(v.video)
				require.LessOrEqual(t, gap(v.of(v.sound)), 40*ms)
				for i, d := range all {
					if d.Marker {
						late := d.at.Sub(all[59].at) - ticks(d.Timestamp-all[0].Timestamp)
						require.InDelta(t, 0, late.Seconds(), 0.2, "packet %d, %v after it joined", i, d.at.Sub(joined))
					}
				}
				v.sent = nil
				v.play(time.Second, nil)
				require.Equal(t, 30*9, len(v.of(v.video)))
				require.Equal(t, live, v.set.senders[1].mode)
				require.LessOrEqual(t, gap(v.of(v.video)), 40*ms, "all is sent when it comes")
			})
		})
	}
}

// A viewer that goes over to another layer is sent its keyframe in groups.
func TestSwitchOnANarrowPath(t *testing.T) {
	sendtest.Run(t, sendtest.Config{Track: sendtest.VP8("l", "h")}, func(w *sendtest.World) {
		v := &viewer{World: w, Receiver: &sendtest.Receiver{}, layer: w.Layers[0]}
		w.Serve, w.Tick = v.serve, ms
		w.Play(time.Second, 0)
		v.join(Config{Layer: "l", StartRate: DefaultStartRate})
		w.Play(3 * time.Second)
		v.switchTo(w.Layers[1])
		v.Packets = nil
		high := w.Layers[1]
		high.Off = true
		time.Sleep(5 * ms)
		high.Packet(false, append([]byte{0x10, 0, 0, 0}, make([]byte, largePayload)...)...)
		for i := range 99 {
			high.Packet(i == 98, append([]byte{0, 1, 0, 0}, make([]byte, largePayload)...)...)
		}
		high.Next++
		v.serve()
		require.Equal(w, "h", v.sender.feed.layer.Name())
		require.Len(w, v.Packets, 10)
		w.Play(100 * ms)
		require.InDelta(w, 10+100*5_000/8/(largePayload+48), len(v.Packets), 6)
		w.Play(time.Second)
		require.Len(w, v.Packets, 100)
		require.Zero(w, v.set.Stats().Shed)
		v.requireNoGap()
	})
}

// A keyframe that is sent alone leaves at less than the estimate whatever the configuration,
// so that sound does not wait behind it. What is sent afterwards is not held back.
func TestKeyframesAloneLeaveSlowly(t *testing.T) {
	withNarrowViewer(t, netem.Path{Rate: 1_000_000, Queue: 300 * ms}, func(v *narrowViewer) {
		s := &script{next: allot.Choice{Rung: 99, Reason: allot.Start}}
		v.join(Config{StartRate: -1, Policy: func() allot.Policy { return s }})
		v.play(2*time.Second, map[int]int{0: 9})
		require.Zero(t, v.set.pace.perByte)
		v.set.change()
		v.set.path.estimator = bwe.New(bwe.Config{Start: 900e3}, time.Now())
		s.next = allot.Choice{Rung: 1, Reason: allot.Congestion}
		v.set.mu.Unlock()
		v.play(time.Second, nil)
		v.sent = nil
		v.play(2*time.Second, map[int]int{10: 40})
		video := v.of(v.video)
		require.Equal(t, 40, len(video), "%+v %+v", v.set.adaptation.ladder, v.set.adaptation.sent)
		require.Zero(t, v.lost())
		bits := 0
		for _, d := range video {
			bits += 8 * (d.bytes + lowerHeaders)
		}
		took := video[39].at.Sub(video[0].at).Seconds()
		require.InDelta(t, float64(bits)/(partShare*900e3), took, 0.1*took)
		require.Less(t, gap(v.of(v.sound)), 20*ms+partBurst)

		v.set.change()
		s.next = allot.Choice{Rung: 99, Reason: allot.Room}
		v.set.mu.Unlock()
		v.sent = nil
		v.play(time.Second, map[int]int{10: 40})
		require.Zero(t, v.set.pace.perByte)
		bursts := map[time.Time]int{}
		for _, d := range v.of(v.video) {
			bursts[d.at]++
		}
		require.GreaterOrEqual(t, slices.Max(slices.Collect(maps.Values(bursts))), 40)
	})
}

// Nothing is sent to a viewer that has left while some of a burst waits.
func TestLeavingWhilePacketsWait(t *testing.T) {
	withNarrowViewer(t, netem.Path{}, func(v *narrowViewer) {
		v.join(Config{})
		v.video.publish(120, keyframe...)
		time.Sleep(50 * ms)
		v.detach()
		v.set.Close()
		n := len(v.sent)
		require.Greater(t, n, 10)
		require.Less(t, n, 60)
		time.Sleep(time.Second)
		require.Len(t, v.sent, n)
	})
}

// Neither nodes nor viewers by TCP are paced.
func TestWhoIsNotPaced(t *testing.T) {
	for name, c := range map[string]struct {
		config Config
		room   func() bool
	}{
		"node": {config: Config{Node: true}},
		"TCP":  {room: func() bool { return true }},
	} {
		t.Run(name, func(t *testing.T) {
			withViewer(t, sendtest.Config{Track: sendtest.VP8()}, func(v *viewer) {
				c.config.StartRate = DefaultStartRate
				v.add(c.config)
				v.set.Start()
				v.layer.Packet(false, append([]byte{0x10, 0, 0, 0}, make([]byte, largePayload)...)...)
				for i := range 119 {
					v.layer.Packet(i == 118, append([]byte{0, 1, 0, 0}, make([]byte, largePayload)...)...)
				}
				if c.room != nil {
					v.set.ConsumeWhile(c.room, time.Now(), nil)
				} else {
					v.set.Consume(time.Now(), nil)
				}
				require.Len(t, v.Packets, 120)
			})
		})
	}
}

// A node that serves a viewer late does not send it less than the path carries: the viewers
// of a busy node would fall behind, though it could serve them.
func TestLateGroupsMakeUpForIt(t *testing.T) {
	for _, every := range []time.Duration{10 * ms, 30 * ms, 60 * ms} {
		var p pacer
		begun := time.Unix(1000, 0)
		p.setRate(begun, 5e6, burstPackets)
		bytes := 0
		for at := time.Duration(0); at < 10*time.Second; at += every {
			now := begun.Add(at)
			for p.open(now) {
				p.sent(now, pacedPacket-lowerHeaders, false)
				bytes += pacedPacket
			}
			p.waits = true // there is more
		}
		require.InEpsilon(t, 5e6, float64(8*bytes)/10, 0.03, every)
	}
}

// A path that is slower than one packet in ten milliseconds is sent one at a time.
func TestVerySlowPath(t *testing.T) {
	var p pacer
	now := time.Unix(1000, 0)
	p.setRate(now, 200_000, burstPackets) // 50 ms a packet
	for range burstPackets {
		require.True(t, p.open(now))
		p.sent(now, pacedPacket-lowerHeaders, false)
	}
	for range 20 {
		require.False(t, p.open(now))
		p.waits = true
		now = p.dueAt()
		require.True(t, p.open(now))
		p.sent(now, pacedPacket-lowerHeaders, false)
	}
	require.InDelta(t, 1.5, now.Sub(time.Unix(1000, 0)).Seconds(), 0.1)
}

// However busy the node is, pacing has no viewer lose what it would have been sent.
func TestPacingShedsNothing(t *testing.T) {
	for _, cost := range []time.Duration{20 * time.Microsecond, 150 * time.Microsecond, 300 * time.Microsecond, 450 * time.Microsecond} {
		t.Run(cost.String(), func(t *testing.T) {
			unpaced, sentUnpaced := busyNode(t, cost, -1)
			paced, sent := busyNode(t, cost, DefaultStartRate)
			t.Logf("shed %d times, %d packets sent; without pacing %d times, %d packets", paced, sent, unpaced, sentUnpaced)
			require.GreaterOrEqual(t, sent, sentUnpaced)
			if cost < 400*time.Microsecond { // otherwise the node is overloaded, and has to
				require.LessOrEqual(t, paced, unpaced)
			}
			if unpaced == 0 {
				require.Equal(t, 10*(299*9+5*120), sent, "all of it is sent")
			}
		})
	}
}

// busyNode has one worker send video of 2.6 Mbit/s, with large keyframes, to ten viewers for
// ten seconds, at so much time a packet. It returns how often something was left out, and how
// many packets were sent.
func busyNode(t *testing.T, cost time.Duration, rate float64) (shed uint64, sent int) {
	sendtest.Run(t, sendtest.Config{Track: sendtest.VP8()}, func(w *sendtest.World) {
		l := w.Layers[0]
		frame := func(packets int, first ...byte) {
			for i := range packets {
				l.Packet(i == packets-1, append(slices.Clone(first), make([]byte, largePayload)...)...)
				first = []byte{0, 1, 0, 0}
			}
			l.Next++
		}
		var viewers []*viewer
		for range 10 {
			v := &viewer{World: w, Receiver: &sendtest.Receiver{Cost: cost}, layer: l}
			v.add(Config{StartRate: rate})
			v.set.Start()
			viewers = append(viewers, v)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := range 299 + 5 {
				if i%61 == 0 {
					frame(120, keyframe...)
				} else {
					frame(9, delta...)
				}
				time.Sleep(sendtest.FrameTime)
			}
		}()
		for turn, end := 0, time.Now().Add(12*time.Second); time.Now().Before(end); turn++ {
			before := time.Now()
			for i := range viewers {
				viewers[(i+turn)%len(viewers)].serve()
			}
			if time.Now().Equal(before) { // nothing to do
				time.Sleep(ms)
			}
		}
		<-done
		for _, v := range viewers {
			shed += v.set.Stats().Shed
			sent += len(v.Packets)
		}
	})
	return shed, sent
}
