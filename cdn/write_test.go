package cdn_test

import (
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
)

// A framer writes frames of nine packets of VP8, as cameras send them.
type framer struct {
	input  *cdn.LayerInput
	packet rtp.Packet
	ext    []cdn.Ext
}

func newFramer(tb testing.TB) *framer {
	n, err := cdn.Listen(cdn.Config{Addr: "127.0.0.1:0"})
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, n.Close()) })
	li, _ := newLayer(tb, newInput(tb, newStream(tb, n), cdn.InputConfig{}, vp8), 0)
	return &framer{input: li, packet: rtp.Packet{Payload: make([]byte, 1150)}, ext: []cdn.Ext{{ID: 1, Data: []byte{1, 2, 3}}}}
}

func (f *framer) frame() {
	h := &f.packet.Header
	h.Timestamp += 3000
	f.packet.Payload[1] = byte(min(1, h.Timestamp/3000%60)) // 0: a keyframe
	for i := range 9 {
		f.packet.Payload[0] = 0
		if i == 0 {
			f.packet.Payload[0] = 0x10
		}
		h.SequenceNumber++
		h.Marker = i == 8
		f.input.Write(time.Now(), &f.packet, f.ext)
	}
}

// Memory is allocated for many packets together.
func TestWriteAllocatesOnceInManyPackets(t *testing.T) {
	f := newFramer(t)
	f.frame()
	require.LessOrEqual(t, testing.AllocsPerRun(200, f.frame), 1.0) // a frame may move the clock
}

// BenchmarkWrite is what a packet takes on its way into the ring.
func BenchmarkWrite(b *testing.B) {
	f := newFramer(b)
	b.ReportAllocs()
	for b.Loop() {
		f.frame()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*9), "ns/packet")
}
