package codec

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// descriptorKey begins and ends a frame, the keyframe 0x0172 of template 1, and
// brings a structure.
const descriptorKey = "c1 0172 80 081485214e"

// extended are the fields of an attached structure (AV1 RTP specification,
// appendix A.8.3), for one spatial layer: template 0 is of keyframes, 1 depends on
// the frame ahead of it.
const (
	extended = "1 0 0 0 0" + " 000000 00000" // structure; offset 0, one decode target
	l1t1     = extended +
		" 00 11" + // two templates of one layer
		" 10 10" + // DTIs
		" 0" + " 1 0000 0" + // fdiffs
		" 1" + " 0000 0001" + // chains
		" 0" // no resolutions
)

// descriptor is a descriptor of a template, with fields in bits.
func descriptor(t testing.TB, template byte, fields string) []byte {
	ext := []byte{0xc0 | template, 0x01, 0x72}
	fields = strings.ReplaceAll(fields, " ", "")
	for len(fields) > 0 {
		n := min(8, len(fields))
		b, err := strconv.ParseUint(fields[:n]+strings.Repeat("0", 8-n), 2, 8)
		require.NoError(t, err)
		ext, fields = append(ext, byte(b)), fields[n:]
	}
	return ext
}

func TestReadDescriptor(t *testing.T) {
	for name, tc := range map[string]struct {
		hex  string
		want Descriptor
		ok   bool
	}{
		"first of many packets": {"80 ffff", Descriptor{FrameStart: true, FrameNumber: 0xffff}, true},
		"last of many packets":  {"7f 0001", Descriptor{FrameEnd: true, Template: 63, FrameNumber: 1}, true},
		"middle":                {"02 0001", Descriptor{Template: 2, FrameNumber: 1}, true},
		"custom, no structure":  {"c2 0001 7f", Descriptor{FrameStart: true, FrameEnd: true, Template: 2, FrameNumber: 1}, true},
		"structure cut off":     {"c2 0001 80", Descriptor{FrameStart: true, FrameEnd: true, Template: 2, FrameNumber: 1, Structure: true, Malformed: true}, true},
		"cut off":               {"c1 01", Descriptor{}, false},
		"empty":                 {"", Descriptor{}, false},
	} {
		got, ok := ReadDescriptor(payload(t, tc.hex))
		assert.Equal(t, tc.want, got, name)
		assert.Equal(t, tc.ok, ok, name)
	}
}

// A structure is a hint: whether the frame depends on others is in its template,
// or said apart.
func TestADescriptorTellsWhetherAFrameStandsAlone(t *testing.T) {
	const custom = "1 0 0 1 0" + " 000000 00000" + " 00 11" + " 10 10" + " 0" + " 1 0000 0" + " 1" + " 0000 0001"
	const l2t1 = "1 0 0 0 0" + " 000000 00001" + // two decode targets
		" 10 11" + // a template each of two spatial layers
		" 10 10 00 10" + " 0" + " 0" + " 00" + " 0"
	for name, tc := range map[string]struct {
		template  byte
		fields    string
		alone, ok bool
	}{
		"keyframe":                           {0, l1t1, true, true},
		"inter frame with a structure":       {1, l1t1, false, true},
		"offset of templates":                {5, strings.Replace(l1t1, " 000000", " 000101", 1), true, true},
		"offset that wraps":                  {1, strings.Replace(l1t1, " 000000", " 111111", 1), false, false},
		"offset that wraps, inter frame":     {0, strings.Replace(l1t1, " 000000", " 111111", 1), false, true},
		"no such template":                   {2, l1t1, false, false},
		"custom: none":                       {1, custom + " 0" + " 00", true, true},
		"custom: one":                        {0, custom + " 0" + " 01 0000 00", false, true},
		"custom, with resolutions":           {1, custom + " 1" + strings.Repeat(" 0000111100001111", 2) + " 00", true, true},
		"custom DTIs and targets come first": {1, strings.Replace(custom, "1 0 0 1 0", "1 1 1 1 0", 1) + " 0" + " 1" + " 11" + " 00", true, true},
		"custom, cut off":                    {1, custom[:len(custom)-8], false, false},
		"base layer":                         {0, l2t1, true, true},
		"upper spatial layer":                {1, l2t1, false, true},
		"layers without end":                 {0, "1 0 0 0 0" + " 000000 00000" + strings.Repeat(" 00", 80), false, false},
	} {
		got, ok := ReadDescriptor(descriptor(t, tc.template, tc.fields))
		require.True(t, ok, name)
		assert.True(t, got.Structure, name)
		assert.Equal(t, tc.alone, got.Independent, name)
		assert.Equal(t, !tc.ok, got.Malformed, name)
	}
}

func TestShiftFrameNumber(t *testing.T) {
	ext := payload(t, descriptorKey)
	before := slices.Clone(ext)
	ShiftFrameNumber(ext, 0xffff)
	assert.Equal(t, payload(t, strings.Replace(descriptorKey, "0172", "0171", 1)), ext)
	ShiftFrameNumber(ext, 0xfe8f)
	assert.Equal(t, payload(t, strings.Replace(descriptorKey, "0172", "0000", 1)), ext, "it wraps")
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
