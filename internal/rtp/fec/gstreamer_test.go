package fec_test

import (
	"encoding/binary"
	"os"
	"testing"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/rtp/fec"
	"github.com/deltacdn/delta/internal/rtp/red"
)

// What GStreamer's encoder protects is repaired, bit by bit: testdata/README.md says how its
// packets were made.
func TestGStreamer(t *testing.T) {
	const media, parity = 96, 122
	raw, err := os.ReadFile("testdata/gstreamer-ulpfec.rfc4571")
	require.NoError(t, err)
	var all [][]byte // out of RED; nil: of correction
	var parities [][]byte
	for len(raw) > 0 {
		n := int(binary.BigEndian.Uint16(raw))
		var p rtp.Packet
		require.NoError(t, p.Unmarshal(raw[2:2+n]))
		blocks, err := red.Split(nil, p.Payload)
		require.NoError(t, err)
		require.Len(t, blocks, 1)
		p.PayloadType, p.Payload = blocks[0].PayloadType, blocks[0].Data
		one, err := p.Marshal()
		require.NoError(t, err)
		switch p.PayloadType {
		case media:
			all, parities = append(all, one), append(parities, nil)
		case parity:
			all, parities = append(all, nil), append(parities, p.Payload)
		default:
			t.Fatalf("payload type %d", p.PayloadType)
		}
		raw = raw[2+n:]
	}
	require.Equal(t, 244, len(all))
	// lose returns what is repaired of those that are lost.
	lose := func(lost map[int]bool) (got [][]byte) {
		var w fec.Window
		for i, one := range all {
			switch {
			case lost[i]:
			case one != nil:
				keep(t, &w, one)
			default:
				add(t, &w, fec.ULP, parities[i])
			}
			for raw := w.Next(0xdeadbeef); raw != nil; raw = w.Next(0xdeadbeef) {
				got = append(got, append([]byte(nil), raw...))
			}
		}
		return got
	}
	require.Empty(t, lose(nil))
	for i, one := range all {
		if one != nil && i > 0 { // of the first packet of all, nothing says that it was missing
			require.Equal(t, [][]byte{one}, lose(map[int]bool{i: true}), "packet %d", i)
		}
	}
}
