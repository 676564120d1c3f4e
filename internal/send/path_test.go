package send

import (
	"encoding/binary"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/sdp"
	"github.com/deltacdn/delta/internal/send/bwe"
	"github.com/deltacdn/delta/internal/send/bwe/bwetest"
	"github.com/deltacdn/delta/internal/send/sendtest"
)

const (
	numberID = 5 // of the header extensions, as negotiated
	timeID   = 6
	mostRate = 20e6
)

// An observed is a viewer of video and sound whose path is observed.
type observed struct {
	*viewer
	sound   *Sender
	heard   *cdn.LayerInput // of the sound
	seq     uint16
	reports struct {
		sync.Mutex
		left []rtcp.Packet // by pion's goroutine, of the packets that arrive
	}
	lost func(number uint16) bool
}

// withObserved calls f with a viewer that has joined. It numbers its sound if numbered.
func withObserved(t *testing.T, numbered bool, f func(o *observed)) {
	t.Helper()
	withViewer(t, sendtest.Config{Track: sendtest.VP8()}, func(v *viewer) {
		o := &observed{viewer: v, lost: func(uint16) bool { return false }}
		v.set = New(Config{})
		v.set.path = &path{estimator: bwe.New(bwe.Config{TransportFeedback: true, ReceiverEstimate: true, Cap: mostRate}, time.Now())}
		v.sender = v.set.Add(&Line{Track: v.Track, PT: 96, RTX: 97}, v.layer.Layer, "")
		v.sender.Bind(Output{To: v, SSRC: 1, RTX: 2, Extensions: map[string]uint8{sdp.URITransportCC: numberID, sdp.URIAbsSendTime: timeID}})

		stream, err := v.Stream.Node().NewStream("sound")
		require.NoError(t, err)
		defer stream.End(nil)
		in, err := stream.NewInput(cdn.InputConfig{})
		require.NoError(t, err)
		require.NoError(t, in.Start([]cdn.TrackInfo{sendtest.Opus()}))
		o.heard, err = in.Layer(0, "", v.layer)
		require.NoError(t, err)
		track := stream.Tracks()[0]
		o.sound = v.set.Add(&Line{Track: track, PT: 111}, track.Layers()[0], "")
		out := Output{To: v, SSRC: 3, Extensions: map[string]uint8{}}
		if numbered {
			out.Extensions[sdp.URITransportCC] = numberID
		}
		o.sound.Bind(out)
		v.start()
		v.Serve = func() {
			o.speak()
			v.serve()
		}
		defer v.set.Close()
		f(o)
	})
}

// speak publishes a packet of sound.
func (o *observed) speak() {
	o.seq++
	o.heard.Write(time.Now(), &rtp.Packet{
		Header:  rtp.Header{Version: 2, SequenceNumber: o.seq, Timestamp: uint32(o.seq) * 1600},
		Payload: make([]byte, 100),
	}, nil)
}

// wake has the packets numbered.
func (o *observed) wake() {
	o.change(func(*Sender) {
		o.set.path.estimator.Wake(time.Now())
		o.set.wide.on = true
	})
}

func (o *observed) doze() {
	o.change(func(*Sender) {
		o.set.path.estimator.Doze()
		o.set.wide.on = false
	})
}

func (o *observed) state() (s bwe.State) {
	o.change(func(*Sender) { s = o.set.path.estimator.State(time.Now()) })
	return s
}

// number returns the transport-wide sequence number of a packet.
func number(p sendtest.Packet) (n uint16, ok bool) {
	data := p.GetExtension(numberID)
	if data == nil {
		return 0, false
	}
	return binary.BigEndian.Uint16(data), len(data) == 2
}

// Transport-wide sequence numbers are one sequence over video, sound and repairs, and go
// on where they were after a time without.
func TestNumbersAreContiguous(t *testing.T) {
	withObserved(t, true, func(o *observed) {
		require.True(t, o.set.numbered())
		o.wake()
		o.set.wide.last = math.MaxUint16 - 20 // they wrap
		next := o.set.wide.last + 1
		check := func() {
			seen := map[uint32]int{}
			for _, p := range o.Packets {
				n, ok := number(p)
				require.True(t, ok)
				require.Equal(t, next, n)
				require.Nil(t, p.GetExtension(timeID), "the one or the other")
				seen[p.SSRC]++
				next++
			}
			require.Len(t, seen, 3, "video, repairs and sound")
			o.Packets = nil
		}
		for range 10 {
			o.Play(200*ms, 0)
			o.says(nack(o.sender.lastNumber()-3, 1))
		}
		check()
		o.doze()
		o.Play(time.Second)
		o.Packets = nil
		o.wake()
		o.Play(200 * ms)
		o.says(nack(o.sender.lastNumber()-3, 1))
		check()
	})
}

func (s *Sender) lastNumber() uint16 { return uint16(s.numbers.Highest()) }

// While the estimator dozes, packets say when they were sent: repairs, too. Sound that did
// not negotiate it does not.
func TestSendTimes(t *testing.T) {
	withObserved(t, true, func(o *observed) {
		o.Play(70*time.Second, 0) // 6 bits are 64 s
		o.says(nack(o.sender.lastNumber()-3, 1))
		seen := map[uint32]int{}
		for _, p := range o.Packets {
			seen[p.SSRC]++
			require.Nil(t, p.GetExtension(numberID))
			data := p.GetExtension(timeID)
			if p.SSRC == 3 {
				require.Nil(t, data)
				continue
			}
			require.Len(t, data, 3)
			seconds := float64(uint32(data[0])<<16|uint32(data[1])<<8|uint32(data[2])) / (1 << 18)
			at := math.Mod(float64(p.At.UnixNano())/1e9, 64)
			require.InDelta(t, at, seconds, 1./(1<<17))
		}
		require.Len(t, seen, 3)
	})
}

// The estimator hears of every packet once, whether it has a number or not, with all
// headers.
func TestPathHearsOfAllThatIsSent(t *testing.T) {
	withObserved(t, false, func(o *observed) {
		sent := func(d time.Duration) (rate float64) {
			o.Packets = nil
			o.Play(d)
			o.says(&rtcp.ReceiverReport{SSRC: 9}) // which has all told that was sent
			for _, p := range o.Packets {
				rate += float64(8*(p.Header.MarshalSize()+len(p.Payload)+sendtest.Tag+lowerHeaders)) / d.Seconds()
			}
			return rate
		}
		sent(time.Second)
		asleep := sent(500 * ms)
		require.InEpsilon(t, asleep, o.state().Sent, 0.07)
		o.wake()
		sent(time.Second)
		awake := sent(500 * ms)
		require.InEpsilon(t, awake, o.state().Sent, 0.07)
		require.InEpsilon(t, asleep, awake, 0.1)
		for _, snd := range o.set.senders {
			require.Equal(t, flow{snd.reports.packets + snd.reports.repairs, snd.reports.wire}, snd.reports.told)
		}
	})
}

// A receiver's own estimate is for the payload of video alone, as Chromium's: one that is
// as much as that is not less than what is sent, and one that is less is.
func TestReceiversEstimateCoversVideoAlone(t *testing.T) {
	withObserved(t, true, func(o *observed) {
		const payload = 1000
		o.Serve = func() {
			o.speak()
			o.layer.Packet(true, append([]byte{0x10, 1}, make([]byte, payload-4)...)...)
			o.serve()
		}
		frames := 1 / o.FrameTime.Seconds()
		run := func(share float64) {
			for range 15 {
				o.Play(200*ms, 0)
				o.says(&rtcp.ReceiverReport{SSRC: 9}, &rtcp.ReceiverEstimatedMaximumBitrate{SenderSSRC: 9, Bitrate: float32(share * 8 * payload * frames), SSRCs: []uint32{1}})
			}
		}
		run(1)
		s := o.state()
		require.Equal(t, bwe.ReceiverEstimate, s.Source)
		require.InEpsilon(t, s.Sent, s.Bitrate, 0.07, "with sound and headers")
		require.False(t, s.Trouble)
		run(0.7)
		s = o.state()
		require.InEpsilon(t, 0.7*s.Sent, s.Bitrate, 0.1)
		require.True(t, s.Trouble)
	})
}

// A receiver's first report tells of all that was sent until then: half of it lost is believed at
// once.
func TestFirstReportOfLoss(t *testing.T) {
	withObserved(t, true, func(o *observed) {
		o.Play(2*time.Second, 0)
		o.says(&rtcp.ReceiverReport{SSRC: 9, Reports: []rtcp.ReceptionReport{{SSRC: 1, FractionLost: 128, LastSequenceNumber: 70_000}}})
		s := o.state()
		require.Equal(t, bwe.Overuse, s.Verdict)
		require.InDelta(t, 0.5, s.Loss, 0.01)
	})
}

// What has a number is never sent twice under one RTP sequence number: without RTX its
// repair would have another header.
func TestNoRepairsWithoutRTXOfStampedPackets(t *testing.T) {
	for _, numbered := range []bool{true, false} {
		withObserved(t, numbered, func(o *observed) {
			for _, wake := range []bool{false, true} {
				if wake {
					o.wake()
				}
				o.Play(500*ms, 0)
				o.Packets = nil
				o.says(&rtcp.TransportLayerNack{SenderSSRC: 9, MediaSSRC: 3, Nacks: []rtcp.NackPair{{PacketID: o.sound.lastNumber() - 5, LostPackets: 1}}})
				if numbered {
					require.Empty(t, o.Packets)
				} else {
					require.NotEmpty(t, o.Packets, "its repair has the same header")
				}
			}
		})
	}
}

// A stamp is never passed on from a publisher, whose stream says that it has some.
func TestStampsAreOurs(t *testing.T) {
	track := sendtest.VP8()
	track.Extensions = []string{sdp.URITransportCC, sdp.URIAbsSendTime, "urn:example:travels"}
	withViewer(t, sendtest.Config{Track: track}, func(v *viewer) {
		v.set = New(Config{})
		v.sender = v.set.Add(&Line{Track: v.Track, PT: 96, RTX: 97}, v.layer.Layer, "")
		v.sender.Bind(Output{To: v, SSRC: 1, RTX: 2, Extensions: map[string]uint8{
			sdp.URITransportCC: numberID, sdp.URIAbsSendTime: timeID, "urn:example:travels": 7,
		}})
		v.sender.fill(&cdn.Packet{Extensions: []byte{1, 2, 0xff, 0xff, 2, 3, 0xff, 0xff, 0xff, 3, 1, 9}}, &source{}, 1, 2, false)
		h := sendtest.ReadHeader(v.sender.wire.header)
		require.Equal(t, []uint8{7}, h.GetExtensionIDs())
		require.Equal(t, []byte{9}, h.GetExtension(7))
	})
}

// report has pion's receiver see each packet that arrives, and the viewer send what that
// reports.
func (o *observed) report(t *testing.T) (stop func()) {
	factory, err := twcc.NewSenderInterceptor()
	require.NoError(t, err)
	receiver, err := factory.NewInterceptor("")
	require.NoError(t, err)
	receiver.BindRTCPWriter(interceptor.RTCPWriterFunc(func(packets []rtcp.Packet, _ interceptor.Attributes) (int, error) {
		o.reports.Lock()
		defer o.reports.Unlock()
		o.reports.left = append(o.reports.left, packets...)
		return 0, nil
	}))
	var raw []byte
	from := interceptor.RTPReaderFunc(func(b []byte, a interceptor.Attributes) (int, interceptor.Attributes, error) {
		return copy(b, raw), a, nil
	})
	readers := map[uint32]interceptor.RTPReader{}
	for _, ssrc := range []uint32{1, 2, 3} {
		info := &interceptor.StreamInfo{SSRC: ssrc, RTPHeaderExtensions: []interceptor.RTPHeaderExtension{{URI: sdp.URITransportCC, ID: numberID}}}
		readers[ssrc] = receiver.BindRemoteStream(info, from)
	}
	serve, buffer := o.Serve, make([]byte, 1500)
	o.Serve = func() {
		serve()
		for _, p := range o.Packets {
			n, ok := number(p)
			if !ok || o.lost(n) {
				continue
			}
			raw, err = (&rtp.Packet{Header: p.Header, Payload: p.Payload}).Marshal()
			require.NoError(t, err)
			_, _, err = readers[p.SSRC].Read(buffer, nil)
			require.NoError(t, err)
		}
		o.Packets = nil
		o.reports.Lock()
		defer o.reports.Unlock()
		if len(o.reports.left) > 0 {
			o.says(o.reports.left...)
			o.reports.left = nil
		}
	}
	return func() { require.NoError(t, receiver.Close()) }
}

// What pion's receiver reports is understood. Sound that has no numbers is not lost.
func TestArrivalsByPion(t *testing.T) {
	for _, numbered := range []bool{true, false} {
		withObserved(t, numbered, func(o *observed) {
			stop := o.report(t)
			defer stop()
			o.wake()
			o.Play(5*time.Second, 0)
			s := o.state()
			require.Equal(t, bwe.TransportFeedback, s.Source)
			require.Zero(t, s.Loss)
			require.False(t, s.Trouble)
			require.InEpsilon(t, s.Sent, s.Acknowledged, 0.15)
			require.Less(t, s.RoundTrip, 250*ms)

			o.lost = func(number uint16) bool { return number%10 == 0 }
			o.Play(5 * time.Second)
			require.InDelta(t, 0.1, o.state().Loss, 0.04)

			o.doze()
			o.Play(2 * time.Second)
			require.NotEqual(t, bwe.TransportFeedback, o.state().Source)
		})
	}
}

// Acknowledgements of what was not sent, and of what was sent long ago, change nothing;
// nor does what cannot be read.
func TestForgedArrivals(t *testing.T) {
	withObserved(t, true, func(o *observed) {
		stop := o.report(t)
		defer stop()
		o.wake()
		o.Play(5*time.Second, 0)
		before := o.state()
		for i := range 200 {
			var all []bwetest.Arrival
			for k := range 1000 {
				all = append(all, bwetest.Arrival{Number: int(o.set.wide.last) + 1 + k, At: time.Duration(i) * ms})
			}
			o.set.HandleRTCP(time.Now(), bwetest.Feedback(uint8(i), int(o.set.wide.last)+1, all))
			old := bwetest.Feedback(0, int(o.set.wide.last)-30, []bwetest.Arrival{{Number: int(o.set.wide.last) - 30}})
			o.set.HandleRTCP(time.Now(), old)
			o.set.HandleRTCP(time.Now(), append(old[:len(old)-4], 1, 2, 3, byte(i)))
		}
		require.Equal(t, before, o.state())
	})
}

// Feedback that comes while media is sent waits, in memory of its own.
func TestArrivalsWaitForConsume(t *testing.T) {
	withObserved(t, true, func(o *observed) {
		o.wake()
		o.Play(time.Second, 0)
		require.Zero(t, o.state().RoundTrip)
		last := int(o.set.wide.last)
		message := bwetest.Feedback(0, last-10, []bwetest.Arrival{{Number: last - 10, At: ms}, {Number: last, At: 50 * ms}})
		o.set.mu.Lock()
		o.set.inbox.open()
		o.set.mu.Unlock()
		require.Zero(t, o.set.HandleRTCP(time.Now(), message))
		clear(message) // the reader's buffer is used again
		require.LessOrEqual(t, len(message)+messageLen, o.set.inbox.bytes)
		o.set.mu.Lock()
		o.set.drainInbox(time.Now())
		o.set.mu.Unlock()
		require.Positive(t, o.state().RoundTrip)
	})
}

func TestAbsSendTime(t *testing.T) {
	for at, want := range map[time.Time]uint32{
		time.Unix(0, 0):               0,
		time.Unix(1, 0):               1 << 18,
		time.Unix(63, 500e6):          63<<18 | 1<<17,
		time.Unix(64, 0):              0,
		time.Unix(128+5, 999_999_999): 5<<18 | (1<<18 - 1),
		time.Unix(-1, 0):              63 << 18,
	} {
		require.Equal(t, want, absSendTime(at), "%v", at)
	}
}

// FuzzHandleRTCP: whatever a viewer says, the estimate stays within its bounds.
func FuzzHandleRTCP(f *testing.F) {
	f.Add(bwetest.Feedback(0, 1, []bwetest.Arrival{{Number: 1, At: ms}, {Number: 9, At: 20 * ms}}))
	remb, err := rtcp.Marshal([]rtcp.Packet{
		&rtcp.ReceiverReport{Reports: []rtcp.ReceptionReport{{SSRC: 1, FractionLost: 200, LastSequenceNumber: 80_000}}},
		&rtcp.ReceiverEstimatedMaximumBitrate{Bitrate: 1e12, SSRCs: []uint32{1}}, nack(70_000&0xffff, 0xffff),
	})
	require.NoError(f, err)
	f.Add(remb)
	f.Fuzz(func(t *testing.T, compound []byte) {
		now := time.Unix(1000, 0)
		s := New(Config{})
		s.path = &path{estimator: bwe.New(bwe.Config{TransportFeedback: true, ReceiverEstimate: true, Cap: mostRate}, now)}
		s.path.estimator.Wake(now)
		snd := &Sender{set: s, video: true, wire: wire{out: Output{SSRC: 1, RTX: 2, number: numberID}}}
		s.senders = append(s.senders, snd)
		for i := range 100 {
			now = now.Add(10 * ms)
			s.path.sent(now, uint16(i), 1000, bwe.Media)
			if i%10 == 9 {
				s.HandleRTCP(now, compound)
			}
		}
		state := s.path.estimator.State(now)
		require.True(t, state.Bitrate > 0 && state.Bitrate <= mostRate, "%v", state.Bitrate)
		require.True(t, state.Loss >= 0 && state.Loss <= 1)
	})
}
