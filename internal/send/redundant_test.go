package send

import (
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/rtp/red"
	"github.com/deltacdn/delta/internal/sdp"
	"github.com/deltacdn/delta/internal/send/sendtest"
)

// A receiver that takes redundancy gets each packet of sound twice, the second time in the
// next one, and none is sent again when it is asked for: it might have other bytes under
// the same number.
func TestRedundancyIsSent(t *testing.T) {
	withViewer(t, sendtest.Config{Track: sendtest.Opus(), FrameTime: 20 * ms}, func(v *viewer) {
		v.set = New(Config{})
		v.sender = v.set.Add(&Line{Track: v.Track, PT: 111, RED: 63}, v.layer.Layer, "")
		v.sender.Bind(Output{To: v, SSRC: 1})
		v.start()
		v.Play(5 * time.Second)
		require.Greater(t, len(v.Packets), 200)
		v.requireNoGap()
		doubled := 0
		for i, p := range v.Packets {
			require.EqualValues(t, 63, p.PayloadType)
			blocks, err := red.Split(nil, p.Payload)
			require.NoError(t, err)
			primary := blocks[len(blocks)-1]
			require.EqualValues(t, 111, primary.PayloadType)
			if len(blocks) == 1 {
				continue
			}
			doubled++
			before, err := red.Split(nil, v.Packets[i-1].Payload)
			require.NoError(t, err)
			require.Equal(t, before[len(before)-1].Data, blocks[0].Data)
			require.Equal(t, p.Timestamp-v.Packets[i-1].Timestamp, blocks[0].Offset)
		}
		require.Greater(t, doubled, len(v.Packets)-60, "all since it is live")
		n := len(v.Packets)
		v.says(nack(v.last().SequenceNumber, 0))
		require.Len(t, v.Packets, n)
		require.Zero(t, testing.AllocsPerRun(100, func() { v.sender.redundant(v.layer.Layer.Newest(), []byte{1, 2, 3}) }))
	})
}

// Sound that its path loses has redundancy from the report on that tells so, and none once
// nothing has been lost for half a minute. Nothing is sent again after that: under its number it
// might have had other bytes.
func TestRedundancyWhileSoundIsLost(t *testing.T) {
	withViewer(t, sendtest.Config{Track: sendtest.Opus(), FrameTime: 20 * ms}, func(v *viewer) {
		v.set = New(Config{})
		v.sender = v.set.Add(&Line{Track: v.Track, PT: 111, RED: 63, OnLoss: true}, v.layer.Layer, "")
		v.sender.Bind(Output{To: v, SSRC: 1})
		v.start()
		sent := func(lost uint8) uint8 {
			v.Play(5 * time.Second)
			v.says(&rtcp.ReceiverReport{SSRC: 9, Reports: []rtcp.ReceptionReport{{SSRC: 1, FractionLost: lost}}})
			v.Play(time.Second)
			v.requireNoGap()
			return v.last().PayloadType
		}
		require.EqualValues(t, 111, sent(0))
		n := len(v.Packets)
		v.says(nack(v.last().SequenceNumber, 0))
		require.Len(t, v.Packets, n+1)
		v.Packets = v.Packets[:n]
		require.EqualValues(t, 63, sent(5))
		blocks, err := red.Split(nil, v.last().Payload)
		require.NoError(t, err)
		require.Len(t, blocks, 2)
		for range 4 {
			require.EqualValues(t, 63, sent(0))
		}
		require.EqualValues(t, 111, sent(0))
		n = len(v.Packets)
		v.says(nack(v.last().SequenceNumber, 0))
		require.Len(t, v.Packets, n)
	})
}

// Redundancy is sent if the publisher sends it, and the receiver takes it; or if the
// receiver prefers it. To others that take it it is sent when packets are lost.
func TestWhoGetsRedundancy(t *testing.T) {
	const plain, prefers, cannot = "111 63", "63 111", "111"
	offer := func(formats string) *sdp.Offer {
		o, err := sdp.Parse("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF " + formats + "\r\nc=IN IP4 0.0.0.0\r\n" +
			"a=mid:0\r\na=recvonly\r\na=rtpmap:111 opus/48000/2\r\na=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\n")
		require.NoError(t, err)
		return o
	}
	always, onLoss := Line{RED: 63}, Line{RED: 63, OnLoss: true}
	for published, want := range map[bool]map[string]Line{
		false: {plain: onLoss, prefers: always, cannot: {}},
		true:  {plain: always, prefers: always, cannot: {}},
	} {
		track := sendtest.Opus()
		track.Codec.Channels = 2
		if published {
			track.Extensions = []string{sdp.URIRedundant}
		}
		withViewer(t, sendtest.Config{Track: track}, func(v *viewer) {
			for formats, want := range want {
				plan, err := PlanAnswer(offer(formats), v.Stream.Tracks())
				require.NoError(t, err)
				l := plan.Lines[0]
				require.EqualValues(t, 111, l.PT)
				require.Equal(t, want, Line{RED: l.RED, OnLoss: l.OnLoss}, "%q, published: %v", formats, published)
				require.Equal(t, want.RED, plan.Choices[0].Codec.RED)
			}
		})
	}
}
