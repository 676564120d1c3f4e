package send

import (
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
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

// A long extension takes the two-byte form, and all of them arrive.
func TestHeaderExtensionForms(t *testing.T) {
	long := make([]byte, 40)
	for i := range long {
		long[i] = byte(i)
	}
	for name, block := range map[string][]byte{
		"short":   {1, 1, 9, 2, 3, 1, 2, 3},
		"long":    append([]byte{1, 1, 9, 2, 40}, long...),
		"high id": {1, 1, 9, 2, 3, 1, 2, 3},
	} {
		t.Run(name, func(t *testing.T) {
			s := &Sender{set: &Set{}, line: &Line{PT: 96}, wide: name == "high id"}
			s.ids[1], s.ids[2], s.out.SSRC = 5, 7, 1234
			if s.wide {
				s.ids[1] = 17
			}
			for range 2 { // the header is used again
				s.fill(&cdn.Packet{Extensions: block, Marker: true}, &run{}, 10, 20, false)
				raw, err := (&rtp.Packet{Header: s.header, Payload: []byte{1}}).Marshal()
				require.NoError(t, err)
				var p rtp.Packet
				require.NoError(t, p.Unmarshal(raw))
				require.Equal(t, []byte{9}, p.GetExtension(s.ids[1]))
				require.Equal(t, block[5:], p.GetExtension(7))
				require.Equal(t, []uint32{1234, 20}, []uint32{p.SSRC, p.Timestamp})
				require.True(t, p.Marker)
			}
		})
	}
}

func TestFillDoesNotAllocateForPlainPackets(t *testing.T) {
	s := &Sender{set: &Set{}, line: &Line{PT: 96}}
	p, r := &cdn.Packet{Payload: []byte{1}}, &run{}
	require.Zero(t, testing.AllocsPerRun(100, func() { s.fill(p, r, 1, 2, false) }))
}
