package receive

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/endpoint"
)

// redundantAudio is an m-section of a sender that prefers RED.
func redundantAudio(codecs string) string {
	return offered("audio", "0", codecs, "a=fmtp:63 111/111", extMid)
}

// brought is a payload of RED with the frames that the packets seq-n to seq have.
func brought(seq uint16, n int) (payload []byte) {
	const frame = 960
	for ; n > 0; n-- {
		offset := frame * n
		payload = append(payload, 0x80|111, byte(offset>>6), byte(offset&0x3f<<2), byte(len(opusFrame(0))))
	}
	blocks := len(payload) / 4
	payload = append(payload, 111)
	for i := blocks; i >= 0; i-- {
		payload = append(payload, opusFrame(seq-uint16(i))...)
	}
	return payload
}

func opusFrame(seq uint16) []byte { return []byte{0x78, byte(seq >> 8), byte(seq), 1} }

// A sender that prefers RED is asked for it, and one that does not is not: redundancy
// takes twice the bits.
func TestRedundancyIsAnsweredToThosePreferIt(t *testing.T) {
	for codecs, want := range map[string]string{
		"63=red/48000/2,111=opus/48000/2": "m=audio 9 UDP/TLS/RTP/SAVPF 63 111\r\n",
		"111=opus/48000/2,63=red/48000/2": "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n",
		"63=red/8000/2,111=opus/48000/2":  "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n",
		"63=red/48000/2,112=opus/48000/2": "m=audio 9 UDP/TLS/RTP/SAVPF 112\r\n",
	} {
		plan, err := Accept(offerHead+redundantAudio(codecs), nil)
		require.NoError(t, err)
		sdp := answer(plan, endpoint.Local{}, false, 1)
		require.Contains(t, sdp, want, codecs)
		taken := strings.Contains(want, " 63 ")
		require.Equal(t, taken, strings.Contains(sdp, "a=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\n"))
		require.Contains(t, sdp, " opus/48000/2\r\n")
		require.Equal(t, "audio/opus", plan.Tracks[0].Codec.MimeType)
	}
}

// What is lost comes in the next packets. The stream has plain Opus, in order and once.
func TestRedundancyRestores(t *testing.T) {
	b := newBench(t, redundantAudio("63=red/48000/2,111=opus/48000/2"))
	const start = 65530
	l := b.stream.Tracks()[0].Layers()[0]
	cursor := l.Live()
	send := func(n uint16) {
		b.send(a{ssrc: 7, pt: 63, seq: start + n, ts: 1<<32 - 4000 + 960*uint32(n), body: brought(start+n, min(int(n), 2))})
	}
	for n := range uint16(40) {
		switch n {
		case 5, 10, 11, 20, 21, 22, 23, 39: // lost
		case 30:
			send(31)
		case 31:
			send(30) // too late: it has been restored
		default:
			send(n)
		}
	}
	require.Empty(t, b.dropped())
	require.EqualValues(t, 1+2+2+1, b.r.stats.Restored)
	s := l.Stats()
	require.EqualValues(t, 40-8+5, s.Packets)
	require.EqualValues(t, 1, s.Duplicates)
	require.EqualValues(t, 2, s.Lost)
	first := cursor.Next()
	for p := first; p != nil; p = cursor.Next() {
		require.Equal(t, opusFrame(start+uint16(p.Seq-first.Seq)), p.Payload)
		require.Equal(t, 960*(p.Seq-first.Seq), p.Timestamp-first.Timestamp)
	}
}

// A sender may send the plain codec all the same, and what cannot be read is dropped.
func TestRedundancyIsOptional(t *testing.T) {
	b := newBench(t, redundantAudio("63=red/48000/2,111=opus/48000/2"))
	b.send(a{ssrc: 7, pt: 111, seq: 1, ts: 960, body: opusFrame(1)})
	b.send(a{ssrc: 7, pt: 63, seq: 2, ts: 1920, body: brought(2, 0)})
	b.send(a{ssrc: 7, pt: 63, seq: 3, ts: 2880, body: []byte{0x80 | 111}})
	b.send(a{ssrc: 7, pt: 63, seq: 4, ts: 2880, body: []byte{110, 1}})
	b.send(a{ssrc: 7, pt: 63, seq: 5, ts: 2880, body: []byte{}, pad: true})
	require.Equal(t, "audio:2", b.packets())
	require.Equal(t, "unreadable:2", b.dropped(), "Chromium probes with padding, which is none of them")
	require.EqualValues(t, 1, b.stream.Tracks()[0].Layers()[0].Stats().Padding)
}
