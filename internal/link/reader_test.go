package link

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/endpoint"
	"github.com/deltacdn/delta/internal/endpoint/dtlssrtp"
	"github.com/deltacdn/delta/internal/link/control"
)

// Packets that arrive ahead of the answer, while they are written, and afterwards are
// written in this order, each once; forged ones are not.
func TestEarlyMediaKeepsItsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, s, f := unanswered(t)
		key, salt := make([]byte, 16), make([]byte, 12)
		theirs, err := srtp.CreateContext(key, salt, srtp.ProtectionProfileAeadAes128Gcm)
		require.NoError(t, err)
		ours, err := dtlssrtp.NewPacketOpener(srtp.ProtectionProfileAeadAes128Gcm, key, salt, 2)
		require.NoError(t, err)
		f.reader.opener = &endpoint.Opener{PacketOpener: ours}
		packet := func(seq uint16) []byte {
			p := rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: 96, SequenceNumber: seq, SSRC: 77}, Payload: []byte{0x10, 0, 0, 0, byte(seq)}}
			raw, err := p.Marshal()
			require.NoError(t, err)
			sealed, err := theirs.EncryptRTP(nil, raw, nil)
			require.NoError(t, err)
			return sealed
		}
		now := time.Now()
		l.media.receiveRTP(now, packet(1))
		l.media.receiveRTP(now, packet(2))

		tracks := []control.Track{{ID: "v", Kind: "video", MimeType: "video/VP8", ClockRate: 90000, PT: 96, Layers: []control.Layer{{SSRC: 77}}}}
		input, err := s.NewInput(cdn.InputConfig{})
		require.NoError(t, err)
		require.NoError(t, input.Start([]cdn.TrackInfo{trackInfo(tracks[0])}))
		sources, err := f.sources(input, tracks)
		require.NoError(t, err)
		cursor := s.Tracks()[0].Layers()[0].Live()

		require.True(t, f.reader.draining)
		twice := packet(3)
		f.receive(now, sources[0], append([]byte(nil), twice...)) // as while the others are written
		f.receive(now, sources[0], twice)
		forged := packet(4)
		forged[len(forged)-1]++
		f.receive(now, sources[0], forged)
		require.Len(t, f.reader.queue, 3)
		l.media.add(f, sources)
		require.False(t, f.reader.draining)
		require.Empty(t, l.media.early.packets)
		l.media.receiveRTP(now, packet(5))

		var got []byte
		for p := cursor.Next(); p != nil; p = cursor.Next() {
			got = append(got, p.Payload[4])
		}
		require.Equal(t, []byte{1, 2, 3, 5}, got)
		require.EqualValues(t, 2, l.media.counts.dropped.Load())
		require.EqualValues(t, 4, l.media.counts.packets.Load())
		input.Close(cdn.ErrClosed)
		l.end(cdn.ErrClosed)
	})
}
