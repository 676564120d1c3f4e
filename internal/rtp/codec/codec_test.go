package codec

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What a payload can be.
var (
	nothing  = Info{}
	start    = Info{FrameStart: true}
	keyframe = Info{FrameStart: true, Keyframe: true}
	claimed  = Info{FrameStart: true, Keyframe: true, Unproved: true}
	vps      = Info{FrameStart: true, Parameters: VideoSet}
	sps      = Info{FrameStart: true, Parameters: SequenceSet}
	pps      = Info{Parameters: PictureSet}
)

// with is an Info with more in it.
func with(info Info, sets Sets, mixed bool) Info {
	info.Parameters, info.Mixed = sets, mixed
	return info
}

// payload reads hexadecimal; spaces part the fields.
func payload(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	require.NoError(t, err)
	return b
}

// inspection is a payload and what is to be found in it.
type inspection struct {
	name, hex string
	want      Info
}

func testInspector(t *testing.T, mime string, all []inspection) {
	t.Helper()
	look := For(mime)
	require.NotNil(t, look)
	for _, tc := range append(all, inspection{"empty", "", nothing}) {
		assert.Equal(t, tc.want, look(payload(t, tc.hex)), tc.name)
	}
	assert.Equal(t, nothing, look(nil))
}

// seed adds the payloads of a table.
func seed(f *testing.F, all []inspection) {
	f.Helper()
	for _, tc := range all {
		f.Add(payload(f, tc.hex))
	}
}

func TestFor(t *testing.T) {
	for _, mime := range []string{"video/VP8", "video/vp9", "VIDEO/H264", "video/H265", "video/AV1"} {
		assert.NotNil(t, For(mime), mime)
	}
	for _, mime := range []string{"", "audio/opus", "video/rtx", "video/H266", "VP8"} {
		assert.Nil(t, For(mime), mime)
	}
}

// budget is one payload per codec, with all that a sender puts into it.
func budget(t testing.TB) map[string][]byte {
	return map[string][]byte{
		"video/VP8":  payload(t, vp8Chrome),
		"video/VP9":  payload(t, vp9Chrome),
		"video/H264": payload(t, h264Sets),
		"video/H265": payload(t, h265Sets),
		"video/AV1":  payload(t, av1Key),
	}
}

// TestNothingIsAllocated holds the package's promise for what is called for
// each packet.
func TestNothingIsAllocated(t *testing.T) {
	for mime, p := range budget(t) {
		look, pictures := For(mime), PicturesFor(mime)
		require.True(t, look(p).FrameStart, mime)
		assert.Zero(t, testing.AllocsPerRun(100, func() { look(p) }), mime)
		if pictures == nil {
			continue
		}
		assert.Zero(t, testing.AllocsPerRun(100, func() {
			last, _ := pictures.Read(p)
			pictures.Shift(p, Between(last, last))
		}), mime)
	}
	ext := payload(t, descriptorKey)
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		d, _ := ReadDescriptor(ext)
		ShiftFrameNumber(ext, d.FrameNumber)
	}))
}

func BenchmarkInspect(b *testing.B) {
	for mime, p := range budget(b) {
		b.Run(strings.TrimPrefix(mime, "video/"), func(b *testing.B) {
			look := For(mime)
			b.ReportAllocs()
			for b.Loop() {
				look(p)
			}
		})
	}
}

func BenchmarkShift(b *testing.B) {
	for _, mime := range []string{"video/VP8", "video/VP9"} {
		b.Run(strings.TrimPrefix(mime, "video/"), func(b *testing.B) {
			p, pictures := budget(b)[mime], PicturesFor(mime)
			b.ReportAllocs()
			for b.Loop() {
				pictures.Shift(p, Picture{ID: 1, TL0: 1, KeyIdx: 1})
				pictures.Read(p)
			}
		})
	}
}

func BenchmarkDescriptor(b *testing.B) {
	ext := payload(b, descriptorKey)
	b.ReportAllocs()
	for b.Loop() {
		ReadDescriptor(ext)
	}
}

// FuzzParameterSets: what is taken out of a payload has its parameter sets and
// nothing else, and no frame.
func FuzzParameterSets(f *testing.F) {
	for mime, all := range map[string][]inspection{
		"video/H264": h264Payloads(), "video/H265": h265Payloads(), "video/AV1": av1Payloads(),
	} {
		for _, one := range all {
			f.Add(mime, payload(f, one.hex))
		}
	}
	f.Fuzz(func(t *testing.T, mime string, p []byte) {
		look := For(mime)
		if look == nil {
			return
		}
		info := look(p)
		sets := ParameterSets(mime, p, info)
		if sets == nil {
			return
		}
		got := look(sets)
		assert.Equal(t, info.Parameters, got.Parameters)
		assert.False(t, got.Mixed || got.Keyframe)
		assert.LessOrEqual(t, len(sets), len(p))
	})
}
