package payload

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/pion/rtp/codecs"
	"github.com/stretchr/testify/require"
)

// filler returns n bytes without start codes or runs of zeros.
func filler(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i%251) | 1
	}
	return b
}

func annexB(nals ...[]byte) (all []byte) {
	for _, n := range nals {
		all = append(append(all, 0, 0, 0, 1), n...)
	}
	return all
}

// frames are samples of each codec: what comes out is what went in.
func frames() map[string][]byte {
	sps := []byte{0x67, 0x42, 0xc0, 0x1e, 0xd9, 0x01, 0x41, 0x8f}
	pps := []byte{0x68, 0xcb, 0x83, 0xcb}
	vps := []byte("\x40\x01\x0c\x01\xff\xff\x01\x60\x03\x90\x03\x03\x3f\x95\x98\x09")
	// A keyframe of profile 0, 320x180 (VP9 section 6.2).
	vp9 := append([]byte{0x82, 0x49, 0x83, 0x42, 0x00, 0x13, 0xf0, 0x0b, 0x30}, filler(3000)...)
	obu := append([]byte{0x32, 0xb8, 0x17}, filler(3000)...) // OBU_FRAME with a size
	return map[string][]byte{
		"video/VP8":  append([]byte{0x10, 0, 0, 0x9d, 0x01, 0x2a}, filler(3000)...),
		"video/VP9":  vp9,
		"video/AV1":  append(bytes.Clone(temporalDelimiter), obu...),
		"video/H264": annexB(sps, pps, append([]byte{0x65, 0x88}, filler(3000)...)),
		"video/H265": annexB(vps[:4:4], append([]byte{0x26, 0x01, 0x88}, filler(3000)...)),
		"audio/opus": filler(100),
		"audio/PCMU": filler(160),
	}
}

func TestWhatIsSplitCanBeJoined(t *testing.T) {
	for mime, frame := range frames() {
		t.Run(mime, func(t *testing.T) {
			p, ok := NewPacketizer(mime)
			require.True(t, ok)
			j, ok := NewJoiner(mime)
			require.True(t, ok)
			for range 3 {
				payloads, err := p.Split(frame, 1188)
				require.NoError(t, err)
				if len(frame) > 1188 {
					require.Greater(t, len(payloads), 2)
				}
				for _, one := range payloads {
					require.LessOrEqual(t, len(one), 1188)
				}
				again, err := j.Join(payloads)
				require.NoError(t, err)
				require.Equal(t, frame, again)
			}
		})
	}
}

func TestASplitFrameIsOnlyRead(t *testing.T) {
	for mime, frame := range frames() {
		before := bytes.Clone(frame)
		p, _ := NewPacketizer(mime)
		payloads, err := p.Split(frame, 500)
		require.NoError(t, err)
		for _, one := range payloads {
			clear(one)
		}
		require.Equal(t, before, frame, mime)
	}
}

func TestWhatCannotBeSplit(t *testing.T) {
	_, ok := NewPacketizer("video/theora")
	require.False(t, ok)
	_, ok = NewJoiner("video/theora")
	require.False(t, ok)
	opus, _ := NewPacketizer("AUDIO/OPUS")
	_, err := opus.Split(filler(1300), 1188)
	require.ErrorIs(t, err, ErrMalformed, "there are no fragments of sound")
	vp9, _ := NewPacketizer("video/VP9")
	_, err = vp9.Split([]byte{0}, 1188)
	require.ErrorIs(t, err, ErrMalformed)
	for name, tc := range map[string]struct {
		mime  string
		frame []byte
	}{
		"lengths ahead of NAL units":       {"video/H264", append([]byte{0, 0, 0, 5, 0x67, 0x42, 0xc0, 0x1e, 0xd9, 0, 0, 0x0b, 0xb8, 0x65}, filler(2999)...)},
		"lengths ahead of NAL units, H265": {"video/H265", append([]byte{0, 0, 0x0b, 0xb8, 0x26, 0x01}, filler(2998)...)},
		"a NAL unit alone":                 {"video/H264", append([]byte{0x65, 0x88}, filler(100)...)},
		"nothing but zeros":                {"video/H264", make([]byte, 10)},
		"half a start code":                {"video/H264", []byte{0, 1, 0x65, 0x88}},
		"an OBU that is cut off":           {"video/AV1", frames()["video/AV1"][:1000]},
		"an OBU that is cut off early":     {"video/AV1", []byte{0x32, 0xb8}},
		"no OBU":                           {"video/AV1", []byte{0x80, 0x01}},
	} {
		p, _ := NewPacketizer(tc.mime)
		_, err := p.Split(tc.frame, 1188)
		require.ErrorIs(t, err, ErrMalformed, name)
	}
}

// Access units and temporal units of any shape come out as they went in, without what RTP
// leaves out: delimiters and filler.
func TestUnitsOfAnyShape(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // not a secret
		for mime, generate := range map[string]func(*rand.Rand) (frame, want []byte){
			"video/H264": func(r *rand.Rand) (frame, want []byte) { return randomUnit(r, h264Kinds, h264Header) },
			"video/H265": func(r *rand.Rand) (frame, want []byte) { return randomUnit(r, h265Kinds, h265Header) },
			"video/AV1":  randomOBUs,
		} {
			p, _ := NewPacketizer(mime)
			j, _ := NewJoiner(mime)
			for range 3 {
				frame, want := generate(r)
				size := 100 + r.IntN(1100)
				payloads, err := p.Split(frame, size)
				require.NoError(t, err, "%s %d", mime, seed)
				got, err := j.Join(payloads)
				require.NoError(t, err, "%s %d", mime, seed)
				require.Equal(t, want, got, "%s %d", mime, seed)
			}
		}
	}
}

// The kinds of NAL unit in an access unit, in order: some may be there several times, or not.
type nalKind struct {
	kind     byte
	most     int
	omitted  bool // by RTP
	required bool
}

var (
	h264Kinds = []nalKind{{9, 1, true, false}, {7, 2, false, false}, {8, 4, false, false}, {6, 2, false, false}, {5, 4, false, true}, {12, 1, true, false}}
	h265Kinds = []nalKind{{35, 1, true, false}, {32, 1, false, false}, {33, 1, false, false}, {34, 4, false, false}, {39, 2, false, false}, {19, 4, false, true}, {38, 1, true, false}}
)

func h264Header(kind byte) []byte { return []byte{0x60 | kind} }

func h265Header(kind byte) []byte { return []byte{kind << 1, 1} }

func randomUnit(r *rand.Rand, kinds []nalKind, header func(kind byte) []byte) (frame, want []byte) {
	for _, k := range kinds {
		n := r.IntN(k.most + 1)
		if k.required {
			n = max(n, 1)
		}
		for i := range n {
			size := []int{2 + r.IntN(40), 2 + r.IntN(1200), 2 + r.IntN(5000)}[r.IntN(3)]
			// The first byte behind the header holds the set's own number where there are several.
			nal := append(append(header(k.kind), byte(0x80>>i)|1), filler(size)...)
			start := []byte{0, 0, 0, 1}[r.IntN(2):]
			if len(frame) == 0 {
				start = []byte{0, 0, 0, 1}
			}
			frame = append(append(frame, start...), nal...)
			if !k.omitted {
				want = append(append(want, 0, 0, 0, 1), nal...)
			}
		}
	}
	return frame, want
}

func randomOBUs(r *rand.Rand) (frame, want []byte) {
	want = bytes.Clone(temporalDelimiter)
	if r.IntN(2) == 0 {
		frame = bytes.Clone(temporalDelimiter)
	}
	extension := r.IntN(2) == 0
	for i := range 1 + r.IntN(8) {
		kind := []byte{1, 5, 6, 3, 4}[r.IntN(5)]
		if i == 0 {
			kind = 6
		}
		n := []int{1 + r.IntN(10), 120 + r.IntN(20), r.IntN(1200), r.IntN(20000)}[r.IntN(4)]
		header := []byte{kind<<3 | 2}
		if extension && kind != 1 {
			header = []byte{kind<<3 | 4 | 2, byte(r.IntN(2))<<5 | byte(r.IntN(2))<<3}
		}
		size := binary.AppendUvarint(nil, uint64(n)) // which is the same
		obu := slices.Concat(header, size, filler(n))
		frame, want = append(frame, obu...), append(want, obu...)
	}
	return frame, want
}

// What reads files and RTSP returns parameter sets by themselves. They go out with the next
// picture, and once.
func TestParameterSetsOfTheirOwn(t *testing.T) {
	sps, pps, idr := []byte{0x67, 0x42, 0xc0, 0x1e, 0xd9}, []byte{0x68, 0xcb, 0x83}, append([]byte{0x65, 0x88}, filler(2000)...)
	p, _ := NewPacketizer("video/H264")
	j, _ := NewJoiner("video/H264")
	for range 2 {
		for _, set := range [][]byte{sps, pps} {
			payloads, err := p.Split(annexB(set), 1188)
			require.NoError(t, err)
			require.Empty(t, payloads)
		}
		for _, want := range [][]byte{annexB(sps, pps, idr), annexB(idr)} {
			payloads, err := p.Split(annexB(idr), 1188)
			require.NoError(t, err)
			got, err := j.Join(payloads)
			require.NoError(t, err)
			require.Equal(t, want, got)
		}
	}
	var err error
	for range 100 { // for ever, without a picture
		if _, err = p.Split(annexB(append([]byte{0x67}, filler(1000)...)), 1188); err != nil {
			break
		}
	}
	require.ErrorIs(t, err, ErrMalformed)
	payloads, err := p.Split(annexB(idr), 1188)
	require.NoError(t, err)
	require.Len(t, payloads, 2, "what was too much is forgotten")
}

// What ends a sequence, and what no decoder knows, does not cost the frame that it comes with.
func TestFramesWithWhatIsNoPicture(t *testing.T) {
	idr := append([]byte{0x65, 0x88}, filler(100)...)
	irap := append([]byte{0x26, 0x01, 0x88}, filler(100)...)
	for name, tc := range map[string]struct {
		mime     string
		payloads [][]byte
		want     []byte
	}{
		"end of sequence, H.264":  {"video/H264", [][]byte{idr, {0x0a}}, annexB(idr, []byte{0x0a})},
		"unknown types, H.264":    {"video/H264", [][]byte{{0x00, 1}, {0x1e, 1}, idr, {0x1f, 1}}, annexB(idr)},
		"end of sequence, H.265":  {"video/H265", [][]byte{irap, {0x48, 0x01}}, annexB(irap, []byte{0x48, 0x01})},
		"end of bitstream, H.265": {"video/H265", [][]byte{irap, {0x4a, 0x01}}, annexB(irap, []byte{0x4a, 0x01})},
	} {
		j, _ := NewJoiner(tc.mime)
		got, err := j.Join(tc.payloads)
		require.NoError(t, err, name)
		require.Equal(t, tc.want, got, name)
	}
	for _, bad := range [][]byte{{0x26, 0x01}, {0x26}} {
		j, _ := NewJoiner("video/H265")
		_, err := j.Join([][]byte{irap, bad})
		require.ErrorIs(t, err, ErrMalformed)
	}
}

// A frame of VP9 that shows another one again is no keyframe.
func TestShownAgain(t *testing.T) {
	for _, frame := range [][]byte{{0x8b}, {0xb6, 0x00}} {
		p, _ := NewPacketizer("video/VP9")
		payloads, err := p.Split(frame, 1188)
		require.NoError(t, err)
		require.Len(t, payloads, 1)
		var d codecs.VP9Packet
		got, err := d.Unmarshal(payloads[0])
		require.NoError(t, err)
		require.Equal(t, frame, got)
		require.True(t, d.P && d.B && d.E && d.I && !d.V)
	}
}

func TestPictureIDsOfVP8Wrap(t *testing.T) {
	v := &vp8{picture: 0x7fff}
	last := v.Payload(1188, []byte{1})[0]
	first := v.Payload(1188, []byte{1})[0]
	require.Equal(t, []byte{0xff, 0xff}, last[2:4])
	require.Equal(t, []byte{0x80, 0x00}, first[2:4])
}

// What comes from a network may be anything.
func FuzzJoin(f *testing.F) {
	mimes := []string{"video/VP8", "video/VP9", "video/AV1", "video/H264", "video/H265", "audio/opus"}
	for i, mime := range mimes {
		p, _ := NewPacketizer(mime)
		payloads, err := p.Split(frames()[mime], 1188)
		require.NoError(f, err)
		f.Add(uint8(i), payloads[0], payloads[len(payloads)-1])
	}
	f.Fuzz(func(t *testing.T, i uint8, a, b []byte) {
		j, ok := NewJoiner(mimes[int(i)%len(mimes)])
		require.True(t, ok)
		before := append(bytes.Clone(a), b...)
		frame, err := j.Join([][]byte{a, b})
		if err == nil {
			require.NotEmpty(t, frame)
		} else {
			require.ErrorIs(t, err, ErrMalformed)
		}
		require.Equal(t, before, append(bytes.Clone(a), b...), "payloads are only read")
	})
}
