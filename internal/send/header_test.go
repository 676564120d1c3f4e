package send

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/send/sendtest"
)

func TestPlayoutDelayBytes(t *testing.T) {
	for want, d := range map[[3]byte]PlayoutDelay{
		{0, 0, 0}:          {},
		{0, 0x10, 2}:       {Min: 10 * time.Millisecond, Max: 20 * time.Millisecond},
		{0xff, 0xff, 0xff}: {Min: time.Hour, Max: time.Hour},
		{0, 0x0f, 0xff}:    {Min: -time.Second, Max: 40950 * time.Millisecond},
	} {
		require.Equal(t, want, d.bytes())
	}
}

// The form is the short one, but where the receiver takes one that is too long for
// it or has ids that are too high; and all of them arrive.
func TestHeaderExtensionForms(t *testing.T) {
	long := make([]byte, 40)
	for i := range long {
		long[i] = byte(i)
	}
	for name, c := range map[string]struct {
		block   []byte
		ids     [2]uint8
		profile uint16
	}{
		"short":          {[]byte{1, 1, 9, 2, 3, 1, 2, 3}, [2]uint8{5, 7}, oneByteProfile},
		"long":           {append([]byte{1, 1, 9, 2, 40}, long...), [2]uint8{5, 7}, twoByteProfile},
		"long, not read": {append([]byte{1, 1, 9, 2, 40}, long...), [2]uint8{5, 0}, oneByteProfile},
		"high id":        {[]byte{1, 1, 9, 2, 3, 1, 2, 3}, [2]uint8{17, 7}, twoByteProfile},
		"empty":          {[]byte{1, 0, 2, 3, 1, 2, 3}, [2]uint8{5, 7}, oneByteProfile},
		"nothing":        {[]byte{1, 1, 9}, [2]uint8{}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := &Sender{set: &Set{}, wire: wire{pt: 96, wide: c.ids[0] > 14}}
			s.wire.ids[1], s.wire.ids[2], s.wire.out.SSRC = c.ids[0], c.ids[1], 1234
			for range 2 { // the header is used again
				s.fill(&cdn.Packet{Extensions: c.block, Marker: true}, &source{}, 10, 20, false)
				h := sendtest.ReadHeader(s.wire.header)
				require.Equal(t, c.profile, h.ExtensionProfile)
				for block := c.block; len(block) > 0; block = block[2+block[1]:] {
					if id := c.ids[block[0]-1]; id != 0 && block[1] > 0 {
						require.Equal(t, block[2:2+block[1]], h.GetExtension(id))
					}
				}
				require.Equal(t, []uint32{1234, 20}, []uint32{h.SSRC, h.Timestamp})
				require.Equal(t, []uint16{10, 96}, []uint16{h.SequenceNumber, uint16(h.PayloadType)})
				require.True(t, h.Marker)
			}
		})
	}
}

// The first packets of a stream say their mid, whenever they are sent, and no
// others do.
func TestMidOfTheFirstPackets(t *testing.T) {
	s := &Sender{set: &Set{}, wire: wire{pt: 96, out: Output{Mid: "v", mid: 4}}}
	for _, c := range []struct {
		seq   uint64
		again bool
		want  []byte
	}{
		{70_000, false, []byte("v")},
		{70_000 + midPackets - 1, false, []byte("v")},
		{70_000 + midPackets, false, nil},
		{70_000, true, []byte("v")},
		{70_000 + midPackets, true, nil},
	} {
		s.fill(&cdn.Packet{}, &source{}, c.seq, 0, c.again)
		h := sendtest.ReadHeader(s.wire.header)
		require.Equal(t, c.want, h.GetExtension(4), c)
	}
}

func TestPlayoutDelayIsWritten(t *testing.T) {
	s := &Sender{set: &Set{}, wire: wire{
		pt:  96,
		out: Output{delay: 9}, delays: true, delay: PlayoutDelay{Max: 10 * time.Millisecond}.bytes(),
	}}
	s.fill(&cdn.Packet{}, &source{}, 1, 0, false)
	h := sendtest.ReadHeader(s.wire.header)
	require.Equal(t, []byte{0, 0, 1}, h.GetExtension(9))
}

func TestFillDoesNotAllocate(t *testing.T) {
	for name, s := range map[string]*Sender{
		"plain":   {},
		"playout": {wire: wire{out: Output{delay: 5}, delays: true}},
		"rid":     {rid: "high-quality-layer-with-a-long-name-of-more", wire: wire{out: Output{mid: 4, rid: 5, Mid: "0"}}},
		"taken":   {wire: wire{ids: [16]uint8{1: 3}}},
	} {
		t.Run(name, func(t *testing.T) {
			s.set, s.line = &Set{}, &Line{PT: 96}
			p, r := &cdn.Packet{Payload: []byte{1}, Extensions: []byte{1, 2, 8, 9}}, &source{}
			require.Zero(t, testing.AllocsPerRun(100, func() { s.fill(p, r, 1, 2, false) }))
		})
	}
}

// However many header extensions a track has, each goes out under its own id, or
// not at all.
func TestManyHeaderExtensions(t *testing.T) {
	withViewer(t, sendtest.Config{}, func(v *viewer) {
		many := cdn.TrackInfo{ID: "data", Kind: cdn.Audio, Codec: cdn.Codec{MimeType: "audio/opus", ClockRate: 48000}}
		taken := map[string]uint8{}
		for i := range 255 {
			uri := fmt.Sprintf("urn:example:%d", i+1)
			many.Extensions = append(many.Extensions, uri)
			if i%3 != 1 {
				taken[uri] = uint8(i + 1)
			}
		}
		stream, err := v.Stream.Node().NewStream("many")
		require.NoError(t, err)
		defer stream.End(nil)
		in, err := stream.NewInput(cdn.InputConfig{})
		require.NoError(t, err)
		more := many
		more.Extensions = append(slices.Clone(many.Extensions), "urn:example:256")
		require.ErrorIs(t, in.Start([]cdn.TrackInfo{more}), cdn.ErrOverLimit)
		require.NoError(t, in.Start([]cdn.TrackInfo{many}))
		track := stream.Tracks()[0]
		set := New(Config{Node: true})
		defer set.Close()
		snd := set.Add(&Line{Track: track, PT: 96}, track.Layers()[0], "")
		snd.Bind(Output{To: v, SSRC: 1, Extensions: taken})
		for _, id := range []uint8{1, 2, 14, 15, 16, 17, 18, 19, 32, 33, 254, 255} {
			snd.fill(&cdn.Packet{Extensions: []byte{id, 1, id}, Payload: []byte{1}}, &source{}, 1000, 0, false)
			h := sendtest.ReadHeader(snd.wire.header)
			want := taken[fmt.Sprintf("urn:example:%d", id)]
			if want == 0 {
				require.Empty(t, h.GetExtensionIDs(), "%d is not taken", id)
				continue
			}
			require.Equal(t, []uint8{want}, h.GetExtensionIDs())
			require.Equal(t, []byte{id}, h.GetExtension(want))
		}
	})
}

// The frame numbers of a dependency descriptor go on from the newest packet's, though
// the publisher's have gone back.
func TestFrameNumbersGoOnFromTheNewest(t *testing.T) {
	s := &Sender{set: &Set{}, descriptor: 1, wire: wire{ids: [16]uint8{1: 3}}}
	frame := func(seq uint64, r *source, number uint16) uint16 {
		s.fill(&cdn.Packet{Extensions: []byte{1, 3, 0x80, byte(number >> 8), byte(number)}}, r, seq, 0, false)
		h := sendtest.ReadHeader(s.wire.header)
		return binary.BigEndian.Uint16(h.GetExtension(3)[1:])
	}
	low := &source{}
	for i, number := range []uint16{40000, 40001, 7, 8} {
		require.Equal(t, number, frame(uint64(i+1), low, number))
	}
	s.pictureID.pending = true // another layer begins
	require.Equal(t, uint16(9), frame(5, &source{}, 1000))
}

// A stamp by itself is written as it is among other extensions.
func TestAStampAlone(t *testing.T) {
	for name, st := range map[string]stamp{
		"number": {id: 1, n: 2, data: [3]byte{0xab, 0xcd}},
		"time":   {id: 14, n: 3, data: [3]byte{1, 2, 3}},
	} {
		t.Run(name, func(t *testing.T) {
			plain := make([]byte, rtpHeader, 64)
			plain[0] = rtpVersion
			e := extensions{header: slices.Clone(plain)}
			e.add(st.id, st.data[:st.n])
			require.Equal(t, e.close(), st.extend(plain))
		})
	}
}
