package send

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
)

// A rung is a layer of a ladder as it comes from another node: late, not at all,
// or with a keyframe from before and all that followed it, faster than live. Its
// payloads tell when the picture was made.
type rung struct {
	layer  *cdn.Layer
	input  *cdn.LayerInput
	offset uint32 // of its timestamps
	delay  time.Duration
	off    bool
	next   int // picture to come
	stop   int // not before this one's time comes what follows
	seq    uint16
	asked  atomic.Bool // for a keyframe
}

func (r *rung) RequestKeyframe() { r.asked.Store(true) }
func (r *rung) Nack([]uint16)    {}

// A ladder is a video of 30 pictures a second in two layers, and one viewer of
// it, in virtual time.
type ladder struct {
	t         *testing.T
	begun     time.Time
	low, high *rung
	silent    bool // no sender reports
	set       *Set
	sender    *Sender
	sent      []sentPacket
	clocks    []rtcp.SenderReport
}

const pictureTime = time.Second / picturesPerSecond

func onLadder(t *testing.T, f func(l *ladder)) {
	synctest.Test(t, func(t *testing.T) {
		host := cdntest.NewNetwork(t, cdntest.NetworkConfig{}).Host("node", cdntest.Path{})
		node, err := cdn.Listen(cdn.Config{Addr: host.IP().String() + ":7000", Net: host.Net()})
		require.NoError(t, err)
		defer func() { require.NoError(t, node.Close()) }()
		l := &ladder{t: t, begun: time.Now(), low: &rung{offset: 1 << 20}, high: &rung{offset: 1 << 31}}
		stream, err := node.NewStream("live")
		require.NoError(t, err)
		in, err := stream.NewInput(cdn.InputConfig{Path: []cdn.NodeID{"origin"}})
		require.NoError(t, err)
		require.NoError(t, in.Start([]cdn.TrackInfo{{
			ID: "video", Kind: cdn.Video, Codec: cdn.Codec{MimeType: "video/VP8", ClockRate: 90000}, Layers: []string{"l", "h"},
		}}))
		track := stream.Tracks()[0]
		for name, r := range map[string]*rung{"l": l.low, "h": l.high} {
			r.input, err = in.Layer(0, name, r)
			require.NoError(t, err)
			r.layer = track.Layer(name)
		}
		l.set = New(Config{Layer: "l"})
		l.sender = l.set.Add(&Line{Track: track, PT: 96, RTX: 97}, l.low.layer, "")
		l.sender.Bind(Output{To: l, SSRC: 1, RTX: 2})
		l.sender.check = time.Now().Add(time.Hour) // only the test switches
		f(l)
	})
}

func (l *ladder) WriteRTP(header, payload []byte) (int, error) {
	l.sent = append(l.sent, sentPacket{readHeader(header), time.Now(), append([]byte(nil), payload...)})
	return len(payload), nil
}

// made is when a picture was.
func (l *ladder) made(picture int) time.Time {
	return l.begun.Add(time.Duration(picture) * pictureTime)
}

// newest is the picture that comes without delay now.
func (l *ladder) newest() int { return int(time.Since(l.begun) / pictureTime) }

// play has the stream go on, in steps of 5 ms. Who has to catch up does so eight
// times as fast as live.
func (l *ladder) play(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		for _, r := range []*rung{l.low, l.high} {
			for n := 0; !r.off && n < 2 && time.Since(l.made(r.next)) >= r.delay && time.Since(l.made(r.stop)) >= 0; n++ {
				r.picture(l, r.asked.Swap(false))
			}
		}
		for _, c := range l.set.Consume(time.Now(), nil) {
			l.clocks = append(l.clocks, *c.(*rtcp.SenderReport))
		}
	}
}

func (r *rung) picture(l *ladder, key bool) {
	r.seq++
	payload := []byte{0x10, 1, 0, 0, byte(r.next), byte(r.next >> 8)}
	if key {
		payload[1] = 0
	}
	now, ts := time.Now(), r.offset+uint32(r.next*90000/picturesPerSecond)
	r.input.Write(now, &rtp.Packet{
		Header:  rtp.Header{Version: 2, SequenceNumber: r.seq, Timestamp: ts, Marker: true},
		Payload: payload,
	}, nil)
	if r.next++; !l.silent {
		ticks := uint32(now.Add(-r.delay).Sub(l.begun).Seconds() * 90000)
		r.input.SenderReport(now, l.begun.Add(time.Duration(ticks)*time.Second/90000), r.offset+ticks)
	}
}

// resume has the layer come again, from a keyframe that was so many pictures ago.
func (l *ladder) resume(r *rung, ago int) {
	r.off, r.next = false, max(r.next, l.newest()-ago)
	r.asked.Store(true)
}

func (l *ladder) switchTo(r *rung) {
	l.set.change()
	defer l.set.mu.Unlock()
	l.sender.switchTo(r.layer)
}

func (l *ladder) pause(d time.Duration) {
	l.set.change()
	defer l.set.mu.Unlock()
	l.sender.pause(time.Now(), time.Now().Add(d), time.Now().Add(d))
}

// drift is how far a packet's timestamp is behind what the first one's says,
// by the publisher's clock.
func (l *ladder) drift(first, p sentPacket) time.Duration {
	return time.Duration(numbered(p)-numbered(first))*pictureTime - time.Duration(int32(p.Timestamp-first.Timestamp))*time.Second/90000
}

// requireInTime: timestamps never go back, and all but what was caught up with
// go with the publisher's clock, as does the last sender report.
func (l *ladder) requireInTime(first sentPacket) {
	l.t.Helper()
	for i, p := range l.sent[1:] {
		require.Equal(l.t, l.sent[i].SequenceNumber+1, p.SequenceNumber)
		require.Greater(l.t, int32(p.Timestamp-l.sent[i].Timestamp), int32(0), "packet %d", i+1)
	}
	last := l.sent[len(l.sent)-1]
	require.Less(l.t, last.at.Sub(l.made(numbered(last))), 100*time.Millisecond, "it is live")
	require.InDelta(l.t, 0, l.drift(first, last).Seconds(), 0.001)
	if l.silent {
		return
	}
	clock := l.clocks[len(l.clocks)-1]
	at := ntpTime(clock.NTPTime).Add(time.Duration(int32(last.Timestamp-clock.RTPTime)) * time.Second / 90000)
	require.InDelta(l.t, 0, l.made(numbered(last)).Sub(at).Seconds(), 0.001, "sound and picture stay together")
}

// begin begins to serve the viewer; what it is sent then is in time.
func (l *ladder) begin() (first sentPacket) {
	l.low.asked.Store(true)
	l.high.asked.Store(true)
	l.play(200 * time.Millisecond)
	l.set.Start()
	l.play(3 * time.Second)
	return l.sent[len(l.sent)-1]
}

// Layers that come unequally late are the same instant of the publisher's: what
// one that is behind costs is made up for at once, however often it is gone over
// to.
func TestSwitchesLeaveNoDrift(t *testing.T) {
	onLadder(t, func(l *ladder) {
		l.high.delay = 90 * time.Millisecond
		first := l.begin()
		for i := range 20 {
			l.switchTo([]*rung{l.high, l.low}[i%2])
			l.play(700 * time.Millisecond)
			require.Equal(t, []*rung{l.high, l.low}[i%2].layer, l.sender.layer)
			l.requireInTime(first)
		}
	})
}

// A viewer whose layer does not come any more goes over to one that begins with
// a keyframe from before. It sees that as if it were live, and is when it has
// caught up, though what it gets stops for a while in between.
func TestSwitchToALayerThatCatchesUp(t *testing.T) {
	for _, stops := range []bool{false, true} {
		onLadder(t, func(l *ladder) {
			l.high.off = true
			first := l.begin()
			for range 3 {
				l.low.off = true
				l.play(1200 * time.Millisecond)
				count := len(l.sent)
				l.switchTo(l.high)
				l.resume(l.high, 36)
				l.play(50 * time.Millisecond)
				if stops {
					l.high.stop = l.newest() + 45
				}
				l.play(5 * time.Second)
				require.Equal(t, l.high.layer, l.sender.layer)
				begun := l.sent[count]
				require.InDelta(t, 0, (begun.at.Sub(l.sent[count-1].at) - time.Duration(begun.Timestamp-l.sent[count-1].Timestamp)*time.Second/90000).Seconds(), 0.1, "it looks live")
				require.Nil(t, l.sender.haste)
				l.requireInTime(first)
				l.resume(l.low, 0)
				l.switchTo(l.low)
				l.play(time.Second)
				l.requireInTime(first)
			}
		})
	}
}

// What nothing is known of but that it catches up, since no sender report has
// come, leaves no delay either, though it comes in parts.
func TestBurstsFromUpstream(t *testing.T) {
	onLadder(t, func(l *ladder) {
		l.silent = true
		l.low.asked.Store(true)
		l.begun = l.begun.Add(-6 * time.Second) // of which this node knows nothing yet
		l.set.Start()
		for _, until := range []int{40, 90, 140} {
			for l.low.next < until {
				l.low.picture(l, l.low.asked.Swap(false))
				time.Sleep(pictureTime / 8)
				l.set.Consume(time.Now(), nil)
			}
			time.Sleep(300 * time.Millisecond)
			l.set.Consume(time.Now(), nil)
		}
		l.play(5 * time.Second)
		first, last := l.sent[0], l.sent[len(l.sent)-1]
		late := last.at.Sub(first.at) - time.Duration(int32(last.Timestamp-first.Timestamp))*time.Second/90000
		require.InDelta(t, 0, late.Seconds(), 0.1)
	})
}

// A viewer that was behind by more than a second, through a stall and a pause, is
// where it belongs again when it goes over to a layer that is live.
func TestSwitchFromFarBehind(t *testing.T) {
	onLadder(t, func(l *ladder) {
		first := l.begin()
		l.low.off = true
		l.play(3 * time.Second)
		l.resume(l.low, 60)
		l.play(20 * time.Millisecond)
		l.low.off = true
		l.pause(0)
		l.play(2 * time.Second)
		l.switchTo(l.high)
		l.play(3 * time.Second)
		require.Equal(t, l.high.layer, l.sender.layer)
		l.requireInTime(first)
	})
}

// Whatever happens, in whatever order, a viewer's timestamps go with the
// publisher's clock when it is over.
func TestNothingLeavesDrift(t *testing.T) {
	for seed := range uint64(100) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			onLadder(t, func(l *ladder) {
				r := rand.New(rand.NewPCG(seed, 0))
				first := l.begin()
				rungs := []*rung{l.low, l.high}
				for range 30 {
					some := rungs[r.IntN(2)]
					switch r.IntN(6) {
					case 0, 1:
						l.switchTo(some)
					case 2:
						l.pause(time.Duration(r.IntN(2000)) * time.Millisecond)
					case 3:
						some.off = true
					case 4:
						l.resume(some, r.IntN(60))
					case 5:
						some.stop = l.newest() + r.IntN(30)
					}
					l.play(time.Duration(r.IntN(1000)) * time.Millisecond)
				}
				l.resume(l.low, 0)
				l.resume(l.high, 0)
				l.switchTo(l.low)
				l.play(12 * time.Second)
				l.requireInTime(first)
			})
		})
	}
}

// Nor does a viewer whose layer does not come any more see again what it saw: one
// that catches up is gone over to once it has come so far.
func TestASwitchShowsNothingOlder(t *testing.T) {
	onLadder(t, func(l *ladder) {
		l.high.off = true
		l.begin()
		l.low.off = true
		l.play(1200 * time.Millisecond)
		count, last := len(l.sent), numbered(l.sent[len(l.sent)-1])
		l.switchTo(l.high)
		l.resume(l.high, 120)
		l.play(5 * time.Second)
		require.Equal(t, l.high.layer, l.sender.layer)
		require.Greater(t, len(l.sent), count+100)
		for _, p := range l.sent[count:] {
			require.GreaterOrEqual(t, numbered(p), last-int(fresh/pictureTime))
		}
	})
}
