package cdntest

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/stretchr/testify/require"
)

// packetsOf returns the payloads of a frame in count packets.
func packetsOf(mime string, key bool, count int) [][]byte {
	var all [][]byte
	for i := range count {
		all = append(all, payload(mime, body{
			seed: 7, key: key, width: 640, height: 360, frame: 70_000,
			index: uint16(i), count: uint16(count), sent: 1,
		}, 300))
	}
	return all
}

func TestPayloadsCarryTheirBody(t *testing.T) {
	for _, codec := range append(videoCodecs(), opusCodec()) {
		for _, key := range []bool{true, false} {
			for count := 1; count <= 4; count++ {
				for i, p := range packetsOf(codec.MimeType, key, count) {
					require.Len(t, p, 300)
					b, at, ok := findBody(p)
					require.True(t, ok)
					require.Equal(t, body{
						seed: 7, key: key, width: 640, height: 360, frame: 70_000,
						index: uint16(i), count: uint16(count), sent: 1,
					}, b)
					require.True(t, samePayload(codec.MimeType, b, at, p, new([]byte)))
				}
			}
		}
	}
}

func TestPayloadsGrowToHoldTheirBody(t *testing.T) {
	for _, codec := range append(videoCodecs(), opusCodec()) {
		p := payload(codec.MimeType, body{key: true, count: 1}, 1)
		b, at, ok := findBody(p)
		require.True(t, ok, codec.MimeType)
		require.True(t, samePayload(codec.MimeType, b, at, p, new([]byte)))
	}
}

func TestSamePayloadSeesEachByte(t *testing.T) {
	for _, codec := range append(videoCodecs(), opusCodec()) {
		for _, p := range packetsOf(codec.MimeType, true, 2) {
			b, at, _ := findBody(p)
			from, to := pictureID(codec.MimeType)
			for i := range p {
				p[i] ^= 0x10
				if i >= from && i < to {
					require.True(t, samePayload(codec.MimeType, b, at, p, new([]byte)), "byte %d of %s", i, codec.MimeType)
				} else {
					got, gotAt, ok := findBody(p)
					require.False(t, ok && samePayload(codec.MimeType, got, gotAt, p, new([]byte)), "byte %d of %s", i, codec.MimeType)
				}
				p[i] ^= 0x10
			}
		}
	}
}

// TestPayloadsAreOfTheirCodec takes the payloads apart as a receiver does.
func TestPayloadsAreOfTheirCodec(t *testing.T) {
	depacketizers := map[string]func() rtp.Depacketizer{
		"video/VP8":  func() rtp.Depacketizer { return &codecs.VP8Packet{} },
		"video/VP9":  func() rtp.Depacketizer { return &codecs.VP9Packet{} },
		"video/H264": func() rtp.Depacketizer { return &codecs.H264Packet{} },
		"video/H265": func() rtp.Depacketizer { return &codecs.H265Depacketizer{} },
		"video/AV1":  func() rtp.Depacketizer { return &codecs.AV1Depacketizer{} },
		"audio/opus": func() rtp.Depacketizer { return &codecs.OpusPacket{} },
	}
	for mime, newDepacketizer := range depacketizers {
		for _, key := range []bool{true, false} {
			for count := 1; count <= 4; count++ {
				d := newDepacketizer()
				var frame []byte
				for i, p := range packetsOf(mime, key, count) {
					if mime == "video/VP8" || mime == "video/VP9" || mime == "video/AV1" {
						require.Equal(t, i == 0, d.IsPartitionHead(p), "%s, packet %d of %d", mime, i, count)
					}
					part, err := d.Unmarshal(p)
					require.NoError(t, err, "%s, packet %d of %d", mime, i, count)
					frame = append(frame, part...)
				}
				require.Greater(t, len(frame), count*200, "%s, key %t", mime, key)
			}
		}
	}
}

func TestVP8Header(t *testing.T) {
	var d codecs.VP8Packet
	frame, err := d.Unmarshal(packetsOf("video/VP8", true, 2)[0])
	require.NoError(t, err)
	require.EqualValues(t, 70_000&0x7FFF, d.PictureID)
	require.Zero(t, frame[0]&1, "keyframe")
	require.Equal(t, []byte{0x9D, 0x01, 0x2A, 640 & 0xFF, 640 >> 8, 360 & 0xFF, 360 >> 8}, frame[3:10])
	frame, err = d.Unmarshal(packetsOf("video/VP8", false, 1)[0])
	require.NoError(t, err)
	require.NotZero(t, frame[0]&1, "no keyframe")
}

func TestVP9Header(t *testing.T) {
	var d codecs.VP9Packet
	packets := packetsOf("video/VP9", true, 2)
	_, err := d.Unmarshal(packets[0])
	require.NoError(t, err)
	require.True(t, d.B && d.V && !d.E && !d.P)
	require.Equal(t, []uint16{640}, d.Width)
	require.Equal(t, []uint16{360}, d.Height)
	var last codecs.VP9Packet
	_, err = last.Unmarshal(packets[1])
	require.NoError(t, err)
	require.True(t, last.E && !last.B && !last.V)
}

func TestNALUnits(t *testing.T) {
	require.EqualValues(t, 24, packetsOf("video/H264", true, 3)[0][0]&0x1F, "STAP-A")
	require.EqualValues(t, 0x85, packetsOf("video/H264", true, 3)[1][1], "start of an IDR slice")
	require.EqualValues(t, 0x45, packetsOf("video/H264", true, 3)[2][1], "end of an IDR slice")
	require.EqualValues(t, 5, packetsOf("video/H264", true, 2)[1][0]&0x1F, "whole IDR slice")
	require.EqualValues(t, 1, packetsOf("video/H264", false, 1)[0][0]&0x1F, "whole other slice")
	require.EqualValues(t, 48, packetsOf("video/H265", true, 3)[0][0]>>1, "aggregation packet")
	require.EqualValues(t, 0x80|19, packetsOf("video/H265", true, 3)[1][2], "start of IDR_W_RADL")
	require.EqualValues(t, 1, packetsOf("video/H265", false, 1)[0][0]>>1, "TRAIL_R")
}

func TestFraming(t *testing.T) {
	tests := []struct {
		name     string
		bitrate  int
		fps      int
		interval time.Duration
		scale    int
		gop      int
	}{
		{"Default", 1_000_000, 30, 2 * time.Second, 4, 60},
		{"Slow", 100_000, 10, time.Second, 10, 10},
		{"KeyframesOnly", 1_000_000, 25, time.Millisecond, 4, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newFraming(test.bitrate, test.fps, test.interval, test.scale)
			require.Equal(t, test.gop, f.gop)
			require.Equal(t, test.scale*f.delta, f.key)
			gop := float64(f.key + (f.gop-1)*f.delta)
			require.InEpsilon(t, test.bitrate, gop*8*float64(test.fps)/float64(f.gop), 0.01)
		})
	}
}

func TestSplit(t *testing.T) {
	for range 1000 {
		size, packet := 1+rand.IntN(100_000), 50+rand.IntN(1400)
		count, each := split(size, packet)
		require.LessOrEqual(t, each, packet)
		require.GreaterOrEqual(t, count*each, size)
		require.Less(t, (count-1)*packet, size, "no packet too many")
	}
}

func FuzzFindBody(f *testing.F) {
	f.Add(packetsOf("video/VP8", true, 1)[0])
	f.Add(packetsOf("video/H264", true, 2)[0])
	f.Add([]byte(bodyMagic))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, p []byte) {
		b, at, ok := findBody(p)
		if ok {
			require.GreaterOrEqual(t, len(p), at+bodySize)
			samePayload("video/H265", b, at, p, new([]byte)) // must not panic
		}
	})
}

func BenchmarkSamePayload(b *testing.B) {
	p := payload("video/VP8", body{count: 1}, 1200)
	var scratch []byte
	for b.Loop() {
		got, at, _ := findBody(p)
		require.True(b, samePayload("video/VP8", got, at, p, &scratch))
	}
}
