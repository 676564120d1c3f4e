package cdn_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/internal/service"
	"github.com/deltacdn/delta/internal/udp/egress"
)

type served struct{ times atomic.Int64 }

func (s *served) Consume(*egress.Batch) { s.times.Add(1) }

type unasked struct{}

func (unasked) RequestKeyframe() {}
func (unasked) Nack([]uint16)    {}

// What is read together wakes receivers once. Where there are many, they are woken for a
// frame when it is complete, or a millisecond after its first packet.
func TestArrivalsWakeOnce(t *testing.T) {
	for name, k := range map[string]struct{ consumers, first, second int }{
		"few":  {consumers: 1, first: 1, second: 2},
		"many": {consumers: 5, first: 0, second: 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				host := cdntest.NewNetwork(t, cdntest.NetworkConfig{}).Host("node", cdntest.Path{})
				node, err := cdn.Listen(cdn.Config{Addr: host.IP().String() + ":7000", Net: host.Net()})
				require.NoError(t, err)
				defer func() { require.NoError(t, node.Close()) }()
				stream, err := node.NewStream("live")
				require.NoError(t, err)
				in, err := stream.NewInput(cdn.InputConfig{})
				require.NoError(t, err)
				require.NoError(t, in.Start([]cdn.TrackInfo{
					{ID: "video", Kind: cdn.Video, Codec: cdn.Codec{MimeType: "video/VP8", ClockRate: 90000}},
					{ID: "audio", Kind: cdn.Audio, Codec: cdn.Codec{MimeType: "audio/opus", ClockRate: 48000, Channels: 2}},
				}))
				video, err := in.Layer(0, "", unasked{})
				require.NoError(t, err)
				audio, err := in.Layer(1, "", unasked{})
				require.NoError(t, err)
				var one served
				detach := stream.Attach(service.Batched{Runtime: node.Internal(), Consumer: &one})
				defer detach()
				for range k.consumers - 1 {
					defer stream.Attach(service.Batched{Runtime: node.Internal(), Consumer: &served{}})()
				}
				synctest.Wait()
				var a cdn.Arrivals
				seq := uint16(0)
				write := func(li *cdn.LayerInput, marker bool) {
					seq++
					a.Write(li, time.Now(), &rtp.Packet{
						Header: rtp.Header{SequenceNumber: seq, Timestamp: 3000, Marker: marker}, Payload: []byte{0x10, 0, 0, 0, 0},
					}, nil)
				}
				times := func() int {
					a.Flush()
					synctest.Wait()
					return int(one.times.Swap(0))
				}
				times()
				sum := 0
				write(video, false)
				write(video, false)
				sum += times()
				require.Equal(t, k.first, sum, "the frame is not complete")
				write(video, true)
				sum += times()
				require.Equal(t, k.second, sum)
				require.Zero(t, times())
				write(audio, false)
				require.Equal(t, 1, times(), "sound does not wait")
				write(video, true)
				write(video, false)
				require.Equal(t, 1, times(), "nor does a frame that the next one follows")
				write(video, false)
				write(audio, false)
				require.Equal(t, 1, times(), "nor sound behind a part of a frame")
				write(video, false)
				n := times()
				time.Sleep(time.Millisecond)
				require.Equal(t, 1, n+times(), "nor does the rest of a frame for long")
			})
		})
	}
}
