package cdn

import (
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"
)

// Every viewer's feedback asks for it.
func BenchmarkBitrate(b *testing.B) {
	node, err := Listen(Config{Addr: "127.0.0.1:0"})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, node.Close()) })
	stream, err := node.NewStream("live")
	require.NoError(b, err)
	in, err := stream.NewInput(InputConfig{})
	require.NoError(b, err)
	require.NoError(b, in.Start([]TrackInfo{{ID: "video", Kind: Video, Codec: Codec{MimeType: "video/VP8", ClockRate: 90000}, Layers: []string{""}}}))
	li, err := in.Layer(0, "", nobody{})
	require.NoError(b, err)
	li.Write(time.Now(), &rtp.Packet{Header: rtp.Header{Version: 2}, Payload: []byte{0x10, 0}}, nil)
	l := stream.Tracks()[0].Layers()[0]
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			l.Bitrate()
		}
	})
}

type nobody struct{}

func (nobody) RequestKeyframe() {}
func (nobody) Nack([]uint16)    {}
