package send

import (
	"encoding/binary"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
)

// Sound that is left out since the node is behind leaves a gap in time and none
// in the numbers: who asks for lost packets is not to ask for it.
func TestShedSoundLeavesNoGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := cdntest.NewNetwork(t, cdntest.NetworkConfig{}).Host("node", cdntest.Path{})
		node, err := cdn.Listen(cdn.Config{Addr: host.IP().String() + ":7000", Net: host.Net()})
		require.NoError(t, err)
		defer func() { require.NoError(t, node.Close()) }()
		stream, err := node.NewStream("live")
		require.NoError(t, err)
		in, err := stream.NewInput(cdn.InputConfig{})
		require.NoError(t, err)
		require.NoError(t, in.Start([]cdn.TrackInfo{{ID: "audio", Kind: cdn.Audio, Codec: cdn.Codec{MimeType: "audio/opus", ClockRate: 48000}}}))
		li, err := in.Layer(0, "", nobody{})
		require.NoError(t, err)
		out, track := &outbox{}, stream.Tracks()[0]
		set := New(Config{})
		s := set.Add(&Line{Track: track, PT: 111}, track.Layers()[0], "")
		s.Bind(Output{To: out, SSRC: 7})
		set.Start()
		begun := time.Now()
		speak := func(packets int, served bool) {
			for range packets {
				n := uint32(time.Since(begun) / (20 * time.Millisecond))
				li.Write(time.Now(), &rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: uint16(n), Timestamp: n * 960}, Payload: binary.BigEndian.AppendUint32(nil, n)}, nil)
				time.Sleep(20 * time.Millisecond)
				if served {
					set.Consume(time.Now(), nil)
				}
			}
		}
		speak(10, true)
		speak(60, false) // nobody is served for more than a second
		speak(10, true)
		require.Equal(t, uint64(1), set.Stats().Shed)
		require.Less(t, len(out.sent), 25)
		for i, p := range out.sent[1:] {
			was := out.sent[i]
			made, before := binary.BigEndian.Uint32(p.Payload), binary.BigEndian.Uint32(was.Payload)
			require.Equal(t, was.SequenceNumber+1, p.SequenceNumber)
			require.Equal(t, (made-before)*960, p.Timestamp-was.Timestamp, "time goes on")
		}
	})
}
