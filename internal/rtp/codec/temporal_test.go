package codec

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTemporal(t *testing.T) {
	base := Temporal{}
	for _, tc := range []struct {
		mime, name, hex string
		want            Temporal
	}{
		// RFC 7741 section 4.2
		{"video/VP8", "base layer", "90f0 8124 05 03 11 0200", base},
		{"video/VP8", "base layer with Y", vp8Chrome, base},
		{"video/VP8", "layer 1", "90f0 8124 05 43 11 0200", Temporal{Layer: 1}},
		{"video/VP8", "layer 1 with Y", "90f0 8124 05 63 11 0200", Temporal{Layer: 1, Sync: true}},
		{"video/VP8", "layer 2 with Y, not its first packet", "80f0 8124 05 a3 11 0200", Temporal{Layer: 2, Sync: true}},
		{"video/VP8", "KEYIDX only", "9010 63 11 0200", base},
		{"video/VP8", "no TID", "9080 8001 310500", base},
		{"video/VP8", "cut off ahead of TID", "90f0 8124 05", base},
		// RFC 9628 section 4.2
		{"video/VP9", "base layer", "ac 8124 00 05 8249", base},
		{"video/VP9", "base layer, switching up point", "ac 8124 10 05 8249", Temporal{Switch: true}},
		{"video/VP9", "layer 2", "a4 8124 40 05 8249", Temporal{Layer: 2}},
		{"video/VP9", "layer 1, spatial layer 1, switching up point", "a4 8124 33 05 8249", Temporal{Layer: 1, Switch: true}},
		{"video/VP9", "no layer indices", "8c 8124 8249", base},
		{"video/VP9", "cut off", "a4 8124", base},
		// RFC 6184 section 5.3
		{"video/H264", "reference slice", "41 9a00", base},
		{"video/H264", "disposable slice", "01 9a00", disposable()},
		{"video/H264", "data partition of a disposable picture", "03 9a00", disposable()},
		{"video/H264", "IDR", "65 8884", base},
		{"video/H264", "IDR against the rules", "05 8884", base},
		{"video/H264", "parameter set", "67 42c01f", base},
		{"video/H264", "delimiter", "09 f0", base},
		{"video/H264", "supplemental information", "06 0504", base},
		{"video/H264", "fragment of a reference slice", "5c 8188", base},
		{"video/H264", "fragment of a disposable slice", "1c 81 88", disposable()},
		{"video/H264", "its end", "1c 41 88", disposable()},
		{"video/H264", "aggregate: delimiter and disposable slice", "18 0002 09f0 0003 019a00", disposable()},
		{"video/H264", "aggregate: delimiter alone", "18 0002 09f0", base},
		{"video/H264", "aggregate: parameter set and disposable slice", "78 0002 6742 0003 019a00", base},
		{"video/H264", "aggregate: cut off", "18 0002 09f0 0004 019a00", base},
		{"video/H264", "interleaved", "19 0000 0003 019a00", base},
		{"video/H264", "too short", "01", base},
		// RFC 7798 section 4.2
		{"video/H265", "TRAIL_R of sub-layer 0", "0201 d0", base},
		{"video/H265", "TRAIL_N of sub-layer 0", "0001 d0", disposable()},
		{"video/H265", "TRAIL_R of sub-layer 1", "0202 d0", Temporal{Layer: 2}},
		{"video/H265", "TRAIL_N of sub-layer 1", "0002 d0", Temporal{Layer: 2}},
		{"video/H265", "TSA_N of sub-layer 2", "0403 d0", Temporal{Layer: 3, Sync: true}},
		{"video/H265", "STSA_R of sub-layer 1", "0a02 d0", Temporal{Layer: 2}},
		{"video/H265", "TSA_R of sub-layer 6, the highest", "0607 d0", Temporal{Layer: 7, Sync: true}},
		{"video/H265", "STSA_N of sub-layer 1", "0802 d0", Temporal{Layer: 2}},
		{"video/H265", "reserved type with _N", "1401 d0", disposable()},
		{"video/H265", "TRAIL_N without a sub-layer, against the rules", "0000 d0", base},
		{"video/H265", "IDR", "2601 af", base},
		{"video/H265", "CRA of sub-layer 1, against the rules", "2a02 af", base},
		{"video/H265", "RASL_N", "1001 af", disposable()},
		{"video/H265", "PPS of sub-layer 1", "4402 c1", base},
		{"video/H265", "delimiter of sub-layer 1", "4602 50", Temporal{Layer: 2}},
		{"video/H265", "fragment of TSA_R of sub-layer 1", "6202 83 d0", Temporal{Layer: 2, Sync: true}},
		{"video/H265", "fragment of TRAIL_N of sub-layer 0", "6201 40 d0", disposable()},
		{"video/H265", "aggregate: delimiter and TSA_N", "6002 0003 460250 0003 0402d0", Temporal{Layer: 2, Sync: true}},
		{"video/H265", "aggregate: two sub-layers", "6001 0003 0402d0 0003 0201d0", base},
		{"video/H265", "aggregate: parameter set", "6001 0003 4001c1 0003 0001d0", base},
		{"video/H265", "aggregate: cut off", "6002 0004 0402d0", base},
		{"video/H265", "too short", "0402", base},
	} {
		assert.Equal(t, tc.want, TemporalFor(tc.mime)(payload(t, tc.hex)), "%s: %s", tc.mime, tc.name)
	}
	assert.Nil(t, TemporalFor("video/AV1"), "payloads do not tell")
}

// Structures for one spatial layer with two and three temporal layers, and for two
// spatial layers of two temporal layers each, as libwebrtc makes them.
const (
	l1t2 = "1 0 0 0 0" + " 000000 00001" + // two decode targets
		" 00 01 11" + // templates 0 and 1 of layer 0, 2 of layer 1
		" 1010 1010 0001" + // SS, SS, -D
		" 0 1 0001 0 1 0000 0" + // fdiffs: none, 2, 1
		" 10" + " 0000 0010 0001" + // one chain
		" 1 0000010011111111 0000001011001111" // 1280x720
	l1t3 = "1 0 0 0 0" + " 000101 00010" + // offset 5, three decode targets
		" 00 01 01 00 11" +
		" 101010 101010 000110 000001 000001" + // SSS, SSS, -DS, --D, --D
		" 0 1 0011 0 1 0001 0 1 0000 0 1 0000 0" +
		" 00 0" // no chains, no resolutions
	l2t2 = "1 0 0 0 0" + " 000000 00011" + // four decode targets
		" 00 01 10 01 11" + // S0: two of T0, one of T1; S1: T0, T1
		" 10101010 10101111 00010011 00001010 00000001" + // SSSS, SSRR, -D-R, --SS, ---D
		" 0 1 0001 0 1 0000 0 0 1 0000 0" +
		" 00 0"
)

func TestStructureTellsTemporalLayers(t *testing.T) {
	for name, tc := range map[string]struct {
		fields string
		height int
		want   map[byte]Temporal
	}{
		"L1T2": {l1t2, 720, map[byte]Temporal{0: {Switch: true}, 1: {Switch: true}, 2: {Layer: 1}}},
		"L1T3": {l1t3, 0, map[byte]Temporal{5: {Switch: true}, 6: {Switch: true}, 7: {Layer: 1, Switch: true}, 8: {Layer: 2}, 9: {Layer: 2}}},
		"L2T2": {l2t2, 0, map[byte]Temporal{0: {Switch: true}, 1: {}, 2: {Layer: 1}, 3: {Switch: true}, 4: {Layer: 1}}},
		"L1T1": {l1t1, 0, map[byte]Temporal{0: {}, 1: {}}},
	} {
		s := ReadStructure(descriptor(t, 0, tc.fields))
		require.NotNil(t, s, name)
		assert.Equal(t, tc.height, s.Height(), name)
		for template := range byte(64) {
			got, ok := s.Temporal([]byte{template, 0, 1})
			want, known := tc.want[template]
			assert.Equal(t, known, ok, "%s, template %d", name, template)
			assert.Equal(t, want, got, "%s, template %d", name, template)
		}
	}
}

func TestReadStructure(t *testing.T) {
	s := ReadStructure(descriptor(t, 0, l1t2))
	require.NotNil(t, s)
	assert.Nil(t, ReadStructure(descriptor(t, 0, l1t2[:len(l1t2)-20])), "cut off")
	assert.Nil(t, ReadStructure(descriptor(t, 0, strings.Replace(l1t2, "1", "0", 1))), "none attached")
	assert.Nil(t, ReadStructure([]byte{0, 0, 1}))
	got, ok := s.Temporal([]byte{2, 0, 1})
	assert.True(t, ok)
	assert.Equal(t, Temporal{Layer: 1}, got)
	got, _ = s.Temporal([]byte{1, 0, 1, 0x20})
	assert.Equal(t, Temporal{}, got, "its indications are its own")
	_, ok = s.Temporal([]byte{2})
	assert.False(t, ok)
}

func FuzzTemporal(f *testing.F) {
	mimes := []string{"video/VP8", "video/VP9", "video/H264", "video/H265"}
	for i := range mimes {
		f.Add(uint8(i), payload(f, "6002 0003 460250 0003 0402d0"))
		f.Add(uint8(i), payload(f, "18 0002 09f0 0003 019a00"))
		f.Add(uint8(i), payload(f, "90f0 8124 05 63 11 0200"))
	}
	f.Add(uint8(9), descriptor(f, 0, l2t2))
	f.Fuzz(func(t *testing.T, which uint8, p []byte) {
		if int(which) < len(mimes) {
			got := TemporalFor(mimes[which])(p)
			assert.Less(t, got.Layer, uint8(TemporalLayers))
			assert.False(t, got.Sync && got.Layer == 0, "the base layer is where a decoder begins")
			return
		}
		s := ReadStructure(p)
		if s == nil {
			return
		}
		got, ok := s.Temporal(p)
		assert.Less(t, got.Layer, uint8(TemporalLayers))
		assert.True(t, ok || got == Temporal{})
	})
}
