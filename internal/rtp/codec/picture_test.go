package codec

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPicturesFor(t *testing.T) {
	for mime, want := range map[string]bool{
		"video/VP8": true, "VIDEO/vp9": true, "video/H264": false, "video/AV1": false, "audio/opus": false, "": false,
	} {
		assert.Equal(t, want, PicturesFor(mime) != nil, mime)
	}
}

// wantNoPicture: the payload has no identifiers, and is left alone.
func wantNoPicture(t *testing.T, pictures *Pictures, p []byte) {
	t.Helper()
	got, ok := pictures.Read(p)
	assert.False(t, ok)
	assert.Equal(t, Picture{ID: -1, TL0: -1, KeyIdx: -1}, got)
	before := slices.Clone(p)
	pictures.Shift(p, Picture{ID: 1, TL0: 1, KeyIdx: 1})
	assert.Equal(t, before, p)
}

func TestReadAndShift(t *testing.T) {
	one := Picture{ID: 1, TL0: 1, KeyIdx: 1}
	for name, tc := range map[string]struct {
		mime, hex string
		want      Picture
		by        Picture
		shifted   string
	}{
		"VP8, all":               {"video/VP8", "90f0 8123 05 63 10", Picture{0x123, true, 5, 3}, one, "90f0 8124 06 64 10"},
		"VP8, all wrap":          {"video/VP8", "90f0 ffff ff ff 10", Picture{0x7fff, true, 255, 31}, one, "90f0 8000 00 e0 10"},
		"VP8, all wrap back":     {"video/VP8", "90f0 8000 00 e0 10", Picture{0, true, 0, 0}, Picture{ID: -1, TL0: -1, KeyIdx: -1}, "90f0 ffff ff ff 10"},
		"VP8, 7 bits wrap":       {"video/VP8", "9080 7f 10", Picture{127, false, -1, -1}, one, "9080 00 10"},
		"VP8, 7 bits wrap back":  {"video/VP8", "9080 00 10", Picture{0, false, -1, -1}, Picture{ID: -300}, "9080 54 10"},
		"VP8, carry":             {"video/VP8", "9080 80ff 10", Picture{255, true, -1, -1}, one, "9080 8100 10"},
		"VP8, TL0PICIDX only":    {"video/VP8", "9060 ff 40 10", Picture{-1, false, 255, -1}, one, "9060 00 40 10"},
		"VP8, KEYIDX only":       {"video/VP8", "9010 1f 10", Picture{-1, false, -1, 31}, one, "9010 00 10"},
		"VP8, far":               {"video/VP8", "90f0 8001 01 01 10", Picture{1, true, 1, 1}, Picture{ID: 32767, TL0: 255, KeyIdx: -31}, "90f0 8000 00 02 10"},
		"VP9, non-flexible":      {"video/VP9", "a8 ffff 00 ff 82", Picture{0x7fff, true, 255, -1}, one, "a8 8000 00 00 82"},
		"VP9, flexible":          {"video/VP9", "b8 8123 e0 82", Picture{0x123, true, -1, -1}, one, "b8 8124 e0 82"},
		"VP9, 7 bits":            {"video/VP9", "88 7f 82", Picture{127, false, -1, -1}, one, "88 00 82"},
		"VP9, no picture ID":     {"video/VP9", "28 e1 05 82", Picture{-1, false, 5, -1}, one, "28 e1 06 82"},
		"VP9, no layers":         {"video/VP9", "c8 8123 86", Picture{0x123, true, -1, -1}, one, "c8 8124 86"},
		"VP9, in a later packet": {"video/VP9", "e0 8123 03 05 86", Picture{0x123, true, 5, -1}, one, "e0 8124 03 06 86"},
	} {
		t.Run(name, func(t *testing.T) {
			pictures, p := PicturesFor(tc.mime), payload(t, tc.hex)
			got, ok := pictures.Read(p)
			require.True(t, ok)
			assert.Equal(t, tc.want, got)
			pictures.Shift(p, tc.by)
			assert.Equal(t, payload(t, tc.shifted), p)
		})
	}
}

func TestNoPicture(t *testing.T) {
	for mime, all := range map[string][]string{
		"video/VP8": {"", "10", "10 1002", "9020 40 10", "90", "9080", "9080 81", "90c0 8123", "90f0 8123 05"},
		"video/VP9": {"", "08", "08 8249", "38 00 82", "88", "88 81", "a8 8123", "a8 8123 00"},
	} {
		for _, hex := range all {
			wantNoPicture(t, PicturesFor(mime), payload(t, hex))
		}
	}
}

func TestBetween(t *testing.T) {
	for name, tc := range map[string]struct{ prev, next, want Picture }{
		"all": {
			Picture{ID: 100, Wide: true, TL0: 7, KeyIdx: 30},
			Picture{ID: 20000, Wide: true, TL0: 200, KeyIdx: 2},
			Picture{ID: -19899, TL0: -192, KeyIdx: 29},
		},
		"already so": {Picture{ID: 9, TL0: 9, KeyIdx: 9}, Picture{ID: 10, TL0: 10, KeyIdx: 10}, Picture{}},
		"new ones":   {Picture{ID: 5, TL0: -1, KeyIdx: -1}, Picture{ID: 5, TL0: 5, KeyIdx: 5}, Picture{ID: 1}},
		"lost ones":  {Picture{ID: 5, TL0: 5, KeyIdx: 5}, Picture{ID: -1, TL0: 5, KeyIdx: -1}, Picture{TL0: 1}},
		"none":       {Picture{ID: -1, TL0: -1, KeyIdx: -1}, Picture{ID: -1, TL0: -1, KeyIdx: -1}, Picture{}},
	} {
		assert.Equal(t, tc.want, Between(tc.prev, tc.next), name)
	}
}

// TestBetweenFollows shifts every first identifier behind every last one, over
// the places where they wrap.
func TestBetweenFollows(t *testing.T) {
	pictures := PicturesFor("video/VP8")
	edges := []byte{0, 1, 0x1e, 0x1f, 0x7e, 0x7f, 0x80, 0xfe, 0xff}
	for _, a := range edges {
		for _, b := range edges {
			last := []byte{0x90, 0xf0, 0x80 | a, a, a, a, 0x10}
			next := []byte{0x90, 0xf0, 0x80 | b, b, b, b, 0x10}
			prev, _ := pictures.Read(last)
			first, _ := pictures.Read(next)
			pictures.Shift(next, Between(prev, first))
			got, ok := pictures.Read(next)
			require.True(t, ok)
			assert.Equal(t, Picture{
				ID: (prev.ID + 1) % (1 << 15), Wide: true, TL0: (prev.TL0 + 1) % (1 << 8), KeyIdx: (prev.KeyIdx + 1) % (1 << 5),
			}, got, "%x after %x", b, a)
			assert.Equal(t, b&0xe0, next[5]&0xe0, "TID and Y")
		}
	}
}

// TestBetweenWidths: a source with 7 bits continues one with 15, and the
// reverse, as far as the width goes.
func TestBetweenWidths(t *testing.T) {
	pictures := PicturesFor("video/VP8")
	narrow, wide := payload(t, "9080 05 10"), payload(t, "9080 812c 10")
	n, _ := pictures.Read(narrow)
	w, _ := pictures.Read(wide)
	pictures.Shift(narrow, Between(w, n))
	assert.Equal(t, payload(t, "9080 2d 10"), narrow, "301 of 300, modulo 128")
	pictures.Shift(wide, Between(n, w))
	assert.Equal(t, payload(t, "9080 8006 10"), wide)
}

// FuzzShift: a shift adds to identifiers, can be undone, and leaves all else.
func FuzzShift(f *testing.F) {
	for _, tc := range append(vp8Payloads(), vp9Payloads()...) {
		f.Add(payload(f, tc.hex), int32(-300), int16(255), int16(-31))
	}
	f.Fuzz(func(t *testing.T, p []byte, id int32, tl0, key int16) {
		by, back := Picture{ID: id, TL0: tl0, KeyIdx: key}, Picture{ID: -id, TL0: -tl0, KeyIdx: -key}
		for _, mime := range []string{"video/VP8", "video/VP9"} {
			look, pictures, before := For(mime), PicturesFor(mime), slices.Clone(p)
			info := look(p)
			want, ok := pictures.Read(p)
			pictures.Shift(p, by)
			got, still := pictures.Read(p)
			require.Equal(t, ok, still)
			assert.Equal(t, shifted(want, by), got)
			assert.Equal(t, info, look(p))
			pictures.Shift(p, back)
			assert.Equal(t, before, p)
		}
	})
}

// shifted adds by to p, modulo the widths.
func shifted(p, by Picture) Picture {
	add := func(v, by, bits int64) int64 {
		if v < 0 {
			return v
		}
		return (v + by) & (1<<bits - 1)
	}
	width := int64(7)
	if p.Wide {
		width = 15
	}
	p.ID = int32(add(int64(p.ID), int64(by.ID), width))
	p.TL0 = int16(add(int64(p.TL0), int64(by.TL0), 8))
	p.KeyIdx = int16(add(int64(p.KeyIdx), int64(by.KeyIdx), 5))
	return p
}
