package send

import (
	"fmt"
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

// A show is a video of 30 pictures of two packets a second, and one viewer of
// it, in virtual time.
type show struct {
	t      *testing.T
	stream *cdn.Stream
	input  *cdn.LayerInput
	begun  time.Time
	number int // of the next picture
	seq    uint16
	asked  atomic.Int32 // for a keyframe

	set    *Set
	sender *Sender
	joined time.Time
	sent   []sentPacket
	clocks []rtcp.SenderReport
}

type sentPacket struct {
	rtp.Header
	at      time.Time
	payload []byte
}

const picturesPerSecond = 30

func (s *show) RequestKeyframe() { s.asked.Add(1) }
func (s *show) Nack([]uint16)    {}

func (s *show) WriteRTP(header, payload []byte) (int, error) {
	s.sent = append(s.sent, sentPacket{readHeader(header), time.Now(), append([]byte(nil), payload...)})
	return len(payload), nil
}

func onShow(t *testing.T, ring cdn.RingConfig, f func(s *show)) {
	synctest.Test(t, func(t *testing.T) {
		host := cdntest.NewNetwork(t, cdntest.NetworkConfig{}).Host("node", cdntest.Path{})
		node, err := cdn.Listen(cdn.Config{Addr: host.IP().String() + ":7000", Net: host.Net(), Ring: ring})
		require.NoError(t, err)
		defer func() { require.NoError(t, node.Close()) }()
		s := &show{t: t}
		s.stream, err = node.NewStream("live")
		require.NoError(t, err)
		in, err := s.stream.NewInput(cdn.InputConfig{})
		require.NoError(t, err)
		require.NoError(t, in.Start([]cdn.TrackInfo{{ID: "video", Kind: cdn.Video, Codec: cdn.Codec{MimeType: "video/H264", ClockRate: 90000}}}))
		s.input, err = in.Layer(0, "", s)
		require.NoError(t, err)
		s.begun = time.Now()
		f(s)
	})
}

// packet publishes a packet of the present picture.
func (s *show) packet(marker bool, payload ...byte) {
	s.seq++
	s.input.Write(time.Now(), &rtp.Packet{
		Header:  rtp.Header{Version: 2, SequenceNumber: s.seq, Timestamp: uint32(s.number * 3000), Marker: marker},
		Payload: append(payload, byte(s.number), byte(s.number>>8)),
	}, nil)
}

// picture publishes one, now.
func (s *show) picture(key bool) {
	if key {
		s.packet(false, 0x67, 1) // SPS, so that the IDR picture need not begin the same way
		s.packet(false, 0x65, 0x80)
	} else {
		s.packet(false, 0x41, 0x80)
	}
	s.packet(true, 0x41, 0x10)
	s.input.SenderReport(time.Now(), time.Now(), uint32(s.number*3000))
	s.number++
}

// play publishes and serves for a time; the pictures of these numbers are
// keyframes.
func (s *show) play(d time.Duration, keyframes ...int) {
	for end := time.Now().Add(d); ; {
		next := s.begun.Add(time.Duration(s.number) * time.Second / picturesPerSecond)
		if next.After(end) {
			time.Sleep(time.Until(end))
			return
		}
		time.Sleep(time.Until(next))
		key := false
		for _, k := range keyframes {
			key = key || k == s.number
		}
		s.picture(key)
		s.serve()
	}
}

func (s *show) serve() {
	if s.set == nil {
		return
	}
	for _, r := range s.set.Consume(time.Now(), nil) {
		s.clocks = append(s.clocks, *r.(*rtcp.SenderReport))
	}
}

func (s *show) join(c Config, catchUp bool) {
	track := s.stream.Tracks()[0]
	s.set = New(c)
	s.sender = s.set.Add(&Line{Track: track, PT: 96, RTX: 97}, track.Layers()[0], "")
	s.sender.Bind(Output{To: s, SSRC: 1, RTX: 2})
	if catchUp {
		s.set.CatchUp()
	}
	s.asked.Store(0)
	s.set.Start()
	synctest.Wait()
	s.joined = time.Now()
	s.serve()
}

// behind is how old a packet was when it was sent, truly.
func (s *show) behind(p sentPacket) time.Duration {
	n := len(p.payload)
	made := s.begun.Add(time.Duration(int(p.payload[n-2])|int(p.payload[n-1])<<8) * time.Second / picturesPerSecond)
	return p.at.Sub(made)
}

// late is how much later it came than its timestamp says, by the first packet.
func (s *show) late(p sentPacket) time.Duration {
	first := s.sent[0]
	return p.at.Sub(first.at) - time.Duration(int32(p.Timestamp-first.Timestamp))*time.Second/90000
}

// requireLive: nothing is missing, timestamps never go back and say that all was
// live when it came, and at the end it is, by the sender report too.
func (s *show) requireLive() {
	s.t.Helper()
	for i, p := range s.sent[1:] {
		require.Equal(s.t, s.sent[i].SequenceNumber+1, p.SequenceNumber)
		require.GreaterOrEqual(s.t, int32(p.Timestamp-s.sent[i].Timestamp), int32(0), "packet %d", i)
		require.InDelta(s.t, 0, s.late(p).Seconds(), 0.15, "packet %d", i)
	}
	last := s.sent[len(s.sent)-1]
	require.Zero(s.t, s.behind(last))
	clock := s.clocks[len(s.clocks)-1]
	at := ntpTime(clock.NTPTime).Add(time.Duration(int32(last.Timestamp-clock.RTPTime)) * time.Second / 90000)
	require.InDelta(s.t, 0, last.at.Sub(at).Seconds(), 0.001, "sound and picture stay together")
}

func ntpTime(stamp uint64) time.Time {
	seconds := float64(stamp>>32) + float64(uint32(stamp))/(1<<32) - 2208988800
	return time.Unix(0, int64(seconds*1e9))
}

// liveAfter is how long the viewer took to have what is live.
func (s *show) liveAfter() time.Duration {
	for i := len(s.sent) - 1; i >= 0; i-- {
		if s.behind(s.sent[i]) > 40*time.Millisecond {
			return s.sent[i].at.Sub(s.joined)
		}
	}
	return 0
}

// A viewer of a publisher that answers nobody begins at once, and is live when
// a third of what it missed has passed.
func TestCatchUp(t *testing.T) {
	onShow(t, cdn.RingConfig{}, func(s *show) {
		s.play(6*time.Second, 0)
		s.join(Config{}, false)
		require.Len(t, s.sent, 3, "the keyframe comes at once, and nothing else yet")
		require.Equal(t, s.joined, s.sent[0].at)
		require.NotZero(t, s.asked.Load(), "a keyframe would be welcome")
		s.play(6 * time.Second)
		s.requireLive()
		require.InDelta(t, 2, s.liveAfter().Seconds(), 0.1)
		require.Equal(t, 2*361+1, len(s.sent), "everything came")
		require.Nil(t, s.sender.haste, "and nothing of it is kept")
		for i := 1; i < 300; i++ { // four times the video's own rate, never more
			require.LessOrEqual(t, s.sent[i].at.Add(-34*time.Millisecond).Sub(s.joined), time.Duration(i)*time.Second/240+34*time.Millisecond)
		}
		s.requireRepairs(len(s.sent)-90, len(s.sent))
	})
}

// requireRepairs: what is asked for again comes as it was.
func (s *show) requireRepairs(from, to int) {
	s.t.Helper()
	all := s.sent
	for _, was := range all[from:to] {
		s.sent = nil
		time.Sleep(60 * time.Millisecond)
		s.set.Take(time.Now(), []rtcp.Packet{&rtcp.TransportLayerNack{MediaSSRC: 1, Nacks: []rtcp.NackPair{{PacketID: was.SequenceNumber}}}})
		require.NotEmpty(s.t, s.sent, "number %d", was.SequenceNumber)
		require.Equal(s.t, was.Timestamp, s.sent[0].Timestamp)
		require.Equal(s.t, was.payload, s.sent[0].payload[2:])
	}
	s.sent = all
}

// What was sent in haste is repaired with the timestamp that it had.
func TestRepairsOfWhatWasCaughtUpWith(t *testing.T) {
	onShow(t, cdn.RingConfig{}, func(s *show) {
		s.play(3*time.Second, 0)
		s.join(Config{}, false)
		s.play(500 * time.Millisecond)
		s.requireRepairs(0, 30)
		s.play(2 * time.Second)
		s.requireRepairs(0, 90)
	})
}

// A keyframe that comes meanwhile ends the catching up.
func TestCatchUpLeaps(t *testing.T) {
	onShow(t, cdn.RingConfig{}, func(s *show) {
		s.play(6*time.Second, 0)
		s.join(Config{}, false)
		s.play(2*time.Second, 190)
		s.requireLive()
		require.Less(t, s.liveAfter(), 400*time.Millisecond)
	})
}

// A keyframe that is not old is not asked for: the next one is near.
func TestCatchUpAsksForNothing(t *testing.T) {
	onShow(t, cdn.RingConfig{}, func(s *show) {
		s.play(1900*time.Millisecond, 0)
		s.join(Config{}, false)
		s.play(2*time.Second, 60)
		s.requireLive()
		require.Zero(t, s.asked.Load())
	})
}

func TestStill(t *testing.T) {
	for name, c := range map[string]struct {
		start Start
		ring  cdn.RingConfig
	}{
		"chosen":                {start: Start{Mode: StartStill}},
		"too much followed":     {start: Start{Bytes: 1000}},
		"not all is here":       {ring: cdn.RingConfig{Packets: 256}},
		"it was too long ago":   {ring: cdn.RingConfig{Group: time.Second}},
		"and that does no harm": {ring: cdn.RingConfig{Group: time.Second}, start: Start{Mode: StartStill, Age: time.Minute}},
	} {
		t.Run(name, func(t *testing.T) {
			onShow(t, c.ring, func(s *show) {
				s.play(6*time.Second, 0)
				s.join(Config{Start: c.start}, false)
				require.Len(t, s.sent, 3, "the keyframe, at once")
				require.NotZero(t, s.asked.Load())
				s.requireRepairs(0, 3)
				s.play(4*time.Second, 300)
				require.Equal(t, 3*3+3, len(s.sent)-2*(s.number-301), "three times the picture, and then what is live")
				s.requireLive()
			})
		})
	}
}

// A viewer that does not want anything old, and one for whom there is nothing
// young enough, wait for a keyframe.
func TestAsk(t *testing.T) {
	for name, c := range map[string]Start{"chosen": {Mode: StartAsk}, "too old": {Age: 5 * time.Second}} {
		t.Run(name, func(t *testing.T) {
			onShow(t, cdn.RingConfig{}, func(s *show) {
				s.play(6*time.Second, 0)
				s.join(Config{Start: c}, false)
				s.play(time.Second)
				require.Empty(t, s.sent)
				require.NotZero(t, s.asked.Load())
				s.play(time.Second, s.number)
				s.requireLive()
			})
		})
	}
}

// A keyframe that came without its parameter sets goes out behind them.
func TestParameterSetsComeFirst(t *testing.T) {
	onShow(t, cdn.RingConfig{}, func(s *show) {
		s.packet(false, 0x67, 1)
		s.packet(true, 0x68, 1)
		s.number++
		s.play(6 * time.Second)
		time.Sleep(time.Until(s.begun.Add(time.Duration(s.number) * time.Second / picturesPerSecond)))
		s.packet(false, 0x65, 0x80)
		s.packet(true, 0x65, 0x10)
		s.number++
		s.play(7 * time.Second)
		s.join(Config{}, false)
		var kinds []byte
		for _, p := range s.sent {
			kinds = append(kinds, p.payload[0]&0x1f)
			require.Equal(t, s.sent[0].Timestamp, p.Timestamp)
		}
		require.Equal(t, []byte{7, 8, 5, 5}, kinds)
		s.play(4 * time.Second)
		s.requireLive()
		s.requireRepairs(0, 4)
	})
}

// The first viewer of a node gets what the node itself catches up with: no delay
// remains from that either.
func TestBurstFromUpstream(t *testing.T) {
	onShow(t, cdn.RingConfig{}, func(s *show) {
		s.join(Config{}, false)
		s.begun = s.begun.Add(-5 * time.Second) // of which this node knows nothing yet
		for i := range 5 * picturesPerSecond * 8 / 7 {
			s.picture(i == 0)
			s.serve()
			time.Sleep(time.Second / picturesPerSecond / 8)
		}
		s.play(5 * time.Second)
		require.InDelta(t, 0, s.late(s.sent[len(s.sent)-1]).Seconds(), 0.15)
		s.requireLive()
	})
}

// When time jumps, or stands still, nobody waits for what is not there.
func TestCatchUpWithPauses(t *testing.T) {
	onShow(t, cdn.RingConfig{}, func(s *show) {
		s.play(time.Second, 0)
		s.join(Config{}, false)
		for range 2 { // while it catches up, and when it just has
			s.play(100 * time.Millisecond)
			s.number += 3600 * picturesPerSecond
			s.begun = s.begun.Add(-time.Hour)
			s.play(400 * time.Millisecond)
		}
		require.Equal(t, 2*(s.number-2*3600*picturesPerSecond)+1, len(s.sent), "all that came")
	})
	onShow(t, cdn.RingConfig{}, func(s *show) {
		s.play(3*time.Second, 0)
		time.Sleep(2 * time.Second) // as a screen that nothing happens on
		s.join(Config{}, false)
		require.Len(t, s.sent, 2*91+1, "the picture as it is now")
	})
}

// A viewer who joins while the publisher pauses gets what follows at once when
// that goes on, though more of the publisher's time has passed than of its own:
// nothing is held back for it, nor left out as if the node were behind.
func TestJoiningInAPause(t *testing.T) {
	keyframes := []int{0, 60, 120, 180, 240, 300, 360, 420}
	for _, before := range []int{15, 30, 45, 59, 80} { // pictures
		for _, joins := range []time.Duration{100 * time.Millisecond, time.Second, 3 * time.Second, 6 * time.Second} {
			for _, lasts := range []time.Duration{time.Second, 3 * time.Second, 6 * time.Second} {
				t.Run(fmt.Sprint(before, joins, lasts), func(t *testing.T) {
					onShow(t, cdn.RingConfig{}, func(s *show) {
						s.play(time.Duration(before)*time.Second/picturesPerSecond, keyframes...)
						time.Sleep(joins)
						s.join(Config{}, false)
						time.Sleep(lasts)
						s.number += int((joins + lasts) * picturesPerSecond / time.Second)
						number := s.number
						s.play(1900*time.Millisecond, keyframes...)
						require.Zero(s.t, s.set.Stats().Shed)
						var on []sentPacket // what was published after the pause
						for _, p := range s.sent {
							n := len(p.payload)
							if int(p.payload[n-2])|int(p.payload[n-1])<<8 >= number {
								on = append(on, p)
							}
						}
						require.GreaterOrEqual(s.t, len(on), 2*(s.number-number))
						for i, p := range on {
							require.Zero(s.t, s.behind(p), "packet %d", i)
							require.InDelta(s.t, 0, s.late(p).Seconds(), 0.3, "packet %d", i)
						}
					})
				})
			}
		}
	}
}

// A node that wants to catch up gets everything with the timestamps that it
// has; one that does not say so waits, as those must who go on with a stream.
func TestNodesCatchUp(t *testing.T) {
	onShow(t, cdn.RingConfig{}, func(s *show) {
		s.play(6*time.Second, 0)
		s.join(Config{Node: true}, false)
		s.play(100 * time.Millisecond)
		require.Empty(t, s.sent)
		s.join(Config{Node: true}, true)
		require.Len(t, s.sent, 3)
		s.play(2 * time.Second)
		for _, p := range s.sent {
			n := len(p.payload)
			require.Equal(t, uint32(int(p.payload[n-2])|int(p.payload[n-1])<<8)*3000, p.Timestamp)
		}
		require.InDelta(t, 6./7, s.liveAfter().Seconds(), 0.1)
	})
}

// Who catches up is not late, however old what it gets; but a node that falls
// behind sheds those, too.
func TestSheddingWhileCatchingUp(t *testing.T) {
	onShow(t, cdn.RingConfig{}, func(s *show) {
		s.play(6*time.Second, 0)
		s.join(Config{}, false)
		s.play(time.Second)
		require.Zero(t, s.set.Stats().Shed)
		time.Sleep(1100 * time.Millisecond)
		s.begun = s.begun.Add(1100 * time.Millisecond)
		s.serve()
		require.NotZero(t, s.set.Stats().Shed)
		require.True(t, s.sender.waiting)
		count := len(s.sent)
		s.play(time.Second)
		require.Len(t, s.sent, count, "nothing old, until a keyframe")
		s.play(time.Second, s.number)
		last := s.sent[len(s.sent)-1]
		require.Zero(t, s.behind(last))
		require.InDelta(t, 0, s.late(last).Seconds(), 0.15)
	})
}
