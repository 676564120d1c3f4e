package codec

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// descriptorKey begins and ends a frame, the keyframe 0x0172 of template 1, and
// brings its structure.
const descriptorKey = "c1 0172 80 081485214e"

func TestReadDescriptor(t *testing.T) {
	for name, tc := range map[string]struct {
		hex  string
		want Descriptor
		ok   bool
	}{
		"keyframe":              {descriptorKey, Descriptor{FrameStart: true, FrameEnd: true, Template: 1, FrameNumber: 0x172, Structure: true}, true},
		"first of many packets": {"80 ffff", Descriptor{FrameStart: true, FrameNumber: 0xffff}, true},
		"last of many packets":  {"7f 0001", Descriptor{FrameEnd: true, Template: 63, FrameNumber: 1}, true},
		"middle":                {"02 0001", Descriptor{Template: 2, FrameNumber: 1}, true},
		"custom, no structure":  {"c2 0001 7f", Descriptor{FrameStart: true, FrameEnd: true, Template: 2, FrameNumber: 1}, true},
		"cut off":               {"c1 01", Descriptor{}, false},
		"empty":                 {"", Descriptor{}, false},
	} {
		got, ok := ReadDescriptor(payload(t, tc.hex))
		assert.Equal(t, tc.want, got, name)
		assert.Equal(t, tc.ok, ok, name)
	}
}

func TestShiftFrameNumber(t *testing.T) {
	ext := payload(t, descriptorKey)
	before := slices.Clone(ext)
	ShiftFrameNumber(ext, 0xffff)
	assert.Equal(t, payload(t, "c1 0171 80 081485214e"), ext)
	ShiftFrameNumber(ext, 0xfe8f)
	assert.Equal(t, payload(t, "c1 0000 80 081485214e"), ext, "it wraps")
	ShiftFrameNumber(ext, 0x172)
	assert.Equal(t, before, ext)

	short := []byte{0xc1, 0x01}
	ShiftFrameNumber(short, 1)
	assert.Equal(t, []byte{0xc1, 0x01}, short)
}

func FuzzDescriptor(f *testing.F) {
	f.Add(payload(f, descriptorKey), uint16(1))
	f.Add(payload(f, "80 ffff"), uint16(0x8000))
	f.Add(payload(f, "c1 01"), uint16(7))
	f.Fuzz(func(t *testing.T, ext []byte, by uint16) {
		before := slices.Clone(ext)
		want, ok := ReadDescriptor(ext)
		require.Equal(t, len(ext) >= 3, ok)
		ShiftFrameNumber(ext, by)
		got, _ := ReadDescriptor(ext)
		if ok {
			want.FrameNumber += by
		}
		assert.Equal(t, want, got, "only the number has changed")
		ShiftFrameNumber(ext, -by)
		assert.Equal(t, before, ext)
	})
}
