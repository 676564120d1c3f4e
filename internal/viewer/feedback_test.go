package viewer_test

import (
	"sync/atomic"
	"testing"

	"github.com/pion/rtcp"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/send"
	"github.com/deltacdn/delta/internal/send/allot"
	"github.com/deltacdn/delta/internal/viewer"
)

// A whole session takes a viewer's feedback: either kind of request gets a keyframe,
// and a bandwidth estimate alone does not pause video.
func TestFeedback(t *testing.T) {
	for name, k := range map[string]struct {
		say   func(ssrc uint32) rtcp.Packet
		asked bool // for a keyframe
	}{
		"PLI":           {say: func(ssrc uint32) rtcp.Packet { return &rtcp.PictureLossIndication{MediaSSRC: ssrc} }, asked: true},
		"PLI of others": {say: func(ssrc uint32) rtcp.Packet { return &rtcp.PictureLossIndication{MediaSSRC: ssrc + 1} }},
		"FIR": {say: func(ssrc uint32) rtcp.Packet {
			return &rtcp.FullIntraRequest{MediaSSRC: ssrc, FIR: []rtcp.FIREntry{{SSRC: ssrc}}}
		}, asked: true},
		"FIR of others": {say: func(ssrc uint32) rtcp.Packet {
			return &rtcp.FullIntraRequest{MediaSSRC: ssrc, FIR: []rtcp.FIREntry{{SSRC: ssrc + 1}}}
		}},
		"a high estimate": {say: func(ssrc uint32) rtcp.Packet {
			return &rtcp.ReceiverEstimatedMaximumBitrate{Bitrate: 1e6, SSRCs: []uint32{ssrc}}
		}},
		"a low estimate": {say: func(ssrc uint32) rtcp.Packet {
			return &rtcp.ReceiverEstimatedMaximumBitrate{Bitrate: 100, SSRCs: []uint32{ssrc}}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			inPlace(t, func(t *testing.T, p *place) {
				c := p.client("viewer", nil)
				p.more = 1000
				var paused atomic.Bool
				s, err := viewer.Answer(viewer.Config{
					Config: send.Config{OnAdapt: func(c send.Change) { paused.Store(c.Mode == allot.Paused) }},
					Stream: p.stream, Transport: p.node.Internal(), Log: p.node.Internal().PionLog,
				}, c.offer(t))
				require.NoError(t, err)
				c.accept(t, s.SDP())
				p.frames(90)
				require.Positive(t, c.packets.Load())
				before := p.asked.Load()
				ssrc := uint32(c.GetReceivers()[0].Track().SSRC())
				for range 8 {
					require.NoError(t, c.WriteRTCP([]rtcp.Packet{k.say(ssrc)}))
					p.frames(30)
				}
				require.Equal(t, k.asked, p.asked.Load() > before)
				require.False(t, paused.Load(), "an estimate alone pauses nothing")
				require.NoError(t, s.Close())
				require.NoError(t, c.GracefulClose())
			})
		})
	}
}
