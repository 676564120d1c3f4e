package send

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
)

type outbox struct{ sent []rtp.Packet }

func (o *outbox) WriteRTP(header, payload []byte) (int, error) {
	o.sent = append(o.sent, rtp.Packet{Header: readHeader(header), Payload: slices.Clone(payload)})
	return len(header) + len(payload) + tag, nil
}

// tag is how much longer a packet gets when it is sealed.
const tag = 16

// readHeader reads what it is given, and keeps nothing of it.
func readHeader(raw []byte) (h rtp.Header) {
	if n, err := h.Unmarshal(slices.Clone(raw)); err != nil || n != len(raw) {
		panic(fmt.Sprintf("no header: %x (%v)", raw, err))
	}
	return h
}

type nobody struct{}

func (nobody) RequestKeyframe() {}
func (nobody) Nack([]uint16)    {}

func oneTrack(t *testing.T, layers ...string) (*cdn.Stream, []*cdn.LayerInput) {
	node, err := cdn.Listen(cdn.Config{Addr: "127.0.0.1:0"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, node.Close()) })
	stream, err := node.NewStream("live")
	require.NoError(t, err)
	in, err := stream.NewInput(cdn.InputConfig{})
	require.NoError(t, err)
	require.NoError(t, in.Start([]cdn.TrackInfo{{ID: "video", Kind: cdn.Video, Codec: cdn.Codec{MimeType: "video/VP8", ClockRate: 90000}, Layers: layers}}))
	var ins []*cdn.LayerInput
	for _, l := range layers {
		li, err := in.Layer(0, l, nobody{})
		require.NoError(t, err)
		ins = append(ins, li)
	}
	return stream, ins
}

// write writes a VP8 packet with a 15-bit picture id.
func write(li *cdn.LayerInput, seq uint16, id uint16, key bool) {
	p := []byte{0x90, 0x80, 0x80 | byte(id>>8), byte(id), 1, 0, 0, 9, 9, 9}
	if key {
		p[4] = 0
	}
	li.Write(time.Now(), &rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: seq, Timestamp: uint32(seq) * 3000, Marker: true}, Payload: p}, nil)
}

func id(p []byte) uint16 { return uint16(p[2]&0x7f)<<8 | uint16(p[3]) }

func switchTo(s *Sender, layer string) {
	s.set.change()
	defer s.set.mu.Unlock()
	s.switchTo(s.track.Layer(layer))
}

// What is sent again is what was sent, whatever was switched to since.
func TestRepairsAfterSwitches(t *testing.T) {
	stream, in := oneTrack(t, "h", "l")
	track := stream.Tracks()[0]
	out := &outbox{}
	set := New(Config{Layer: "h"})
	s := set.Add(&Line{Track: track, PT: 96}, track.Layer("h"), "")
	s.Bind(Output{To: out, SSRC: 7})
	set.Start()
	write(in[0], 100, 1000, true)
	write(in[0], 101, 1001, false)
	set.Consume(time.Now(), nil)
	switchTo(s, "l")
	write(in[1], 500, 5000, true)
	write(in[1], 501, 5001, false)
	set.Consume(time.Now(), nil)
	switchTo(s, "h")
	write(in[0], 102, 1002, true)
	set.Consume(time.Now(), nil)
	require.Len(t, out.sent, 5)
	time.Sleep(5 * time.Millisecond) // a packet this young is not repaired
	for _, was := range out.sent {
		out.sent = nil
		set.Take(time.Now(), []rtcp.Packet{&rtcp.TransportLayerNack{MediaSSRC: 7, Nacks: []rtcp.NackPair{{PacketID: was.SequenceNumber}}}})
		require.NotEmpty(t, out.sent)
		require.Equal(t, was.Payload, out.sent[0].Payload, "number %d, picture %d", was.SequenceNumber, id(was.Payload))
		require.Equal(t, was.Header, out.sent[0].Header)
	}
}

// What is asked for again and again costs a quarter of the media at the most, and
// what the beginning has ahead.
func TestRepairsAreBounded(t *testing.T) {
	stream, in := oneTrack(t, "")
	track := stream.Tracks()[0]
	out := &outbox{}
	set := New(Config{})
	s := set.Add(&Line{Track: track, PT: 96, RTX: 97}, track.Layers()[0], "")
	s.Bind(Output{To: out, SSRC: 7, RTX: 8})
	set.Start()
	media, opening, repairs, now := 0, 0, 0, time.Now()
	begun := now
	for frame := range 10_000 {
		now = now.Add(time.Millisecond)
		seq := uint16(frame + 1)
		in[0].Write(now, &rtp.Packet{
			Header:  rtp.Header{Version: 2, SequenceNumber: seq, Timestamp: uint32(frame) * 3000, Marker: true},
			Payload: append([]byte{0x10, 0}, make([]byte, 1198)...),
		}, nil)
		set.Consume(now, nil)
		if frame > 100 && len(out.sent) > 0 {
			set.Take(now.Add(60*time.Millisecond), []rtcp.Packet{
				&rtcp.ReceiverReport{Reports: []rtcp.ReceptionReport{{SSRC: 7, FractionLost: 30}}},
				&rtcp.TransportLayerNack{MediaSSRC: 7, Nacks: []rtcp.NackPair{{PacketID: out.sent[0].SequenceNumber, LostPackets: 0xffff}}},
			})
		}
		for _, p := range out.sent {
			n := p.MarshalSize() + tag
			switch {
			case p.SSRC == 8:
				repairs += n
			case now.Sub(begun) <= time.Second:
				opening += n
			default:
				media += n
			}
		}
		out.sent = out.sent[:0]
	}
	require.Positive(t, repairs)
	require.LessOrEqual(t, repairs, 32*1200+opening+media/4+100)
	require.Greater(t, repairs, media/5, "what may be is used")
}
