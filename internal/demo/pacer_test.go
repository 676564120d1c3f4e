package demo

import (
	"math"
	"testing"
	"time"

	"github.com/pion/rtp/codecs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// toy is a clip of 300 ms: a keyframe, two more frames, and audio between.
func toy() *clip {
	const ms = time.Millisecond
	return newClip([]unit{
		{at: 0, video: true, keyframe: true, data: []byte{0}},
		{at: 100 * ms, video: true, data: []byte{1}},
		{at: 200 * ms, video: true, data: []byte{1}},
		{at: 50 * ms, data: []byte{0xfc}},
		{at: 250 * ms, data: []byte{0xfc}},
	}, 300*ms)
}

func TestPacerGoesOnAtTheEnd(t *testing.T) {
	start := time.Unix(1000, 0)
	p := newPacer(toy(), start)
	var got []time.Duration
	for range 12 {
		_, media, due := p.peek()
		assert.Equal(t, start.Add(media), due)
		got = append(got, media/time.Millisecond)
		p.advance()
	}
	assert.Equal(t, []time.Duration{0, 50, 100, 200, 250, 300, 350, 400, 500, 550, 600, 650}, got)
}

func TestPacerSkipsToAKeyframe(t *testing.T) {
	start := time.Unix(1000, 0)
	for _, test := range []struct{ now, media time.Duration }{
		{0, 0},
		{1 * time.Millisecond, 300 * time.Millisecond},
		{300 * time.Millisecond, 300 * time.Millisecond},
		{7 * time.Second, 7200 * time.Millisecond},
	} {
		p := newPacer(toy(), start)
		p.skip(start.Add(test.now))
		u, media, _ := p.peek()
		assert.True(t, u.keyframe)
		assert.Equal(t, test.media, media, "skipped at %v", test.now)
	}
}

func TestPacerLate(t *testing.T) {
	start := time.Unix(1000, 0)
	p := newPacer(toy(), start)
	assert.False(t, p.late(start.Add(-time.Second)))
	assert.False(t, p.late(start.Add(tooLate)))
	assert.True(t, p.late(start.Add(tooLate+1)))
}

func TestTicks(t *testing.T) {
	for _, test := range []struct {
		media time.Duration
		clock uint64
		want  uint32
	}{
		{0, videoClock, 0},
		{time.Second / 30, videoClock, 3000}, // 33.333333 ms: rounded, not cut
		{2 * time.Second / 30, videoClock, 6000},
		{20 * time.Millisecond, audioClock, 960},
		{20 * time.Second, audioClock, 960000},
		{47722 * time.Second, videoClock, uint32(uint64(47722) * videoClock % (math.MaxUint32 + 1))},
		{365 * 24 * time.Hour, videoClock, uint32(uint64(365*24*3600) * videoClock % (math.MaxUint32 + 1))},
	} {
		assert.Equal(t, test.want, ticks(test.media, test.clock), "%v at %d Hz", test.media, test.clock)
	}
}

// Two rounds of the built-in clip are one continuous RTP stream per track.
func TestPacketsAreContinuousAcrossTheLoop(t *testing.T) {
	c, err := builtin()
	require.NoError(t, err)
	pacer := newPacer(c, time.Unix(0, 0))
	video, audio := newVideoPacketizer(), newAudioPacketizer()
	var pictures, timestamps, sequences []int64
	audioAt := int64(-1)
	for range 2 * len(c.units) {
		u, media, _ := pacer.peek()
		pacer.advance()
		if !u.video {
			packets := audio.packets(u, media)
			require.Len(t, packets, 1)
			now := int64(packets[0].Timestamp - audio.timestamp)
			require.True(t, audioAt < 0 || now == audioAt+960, "audio goes from %d to %d", audioAt, now)
			require.False(t, packets[0].Marker)
			audioAt = now
			continue
		}
		packets := video.packets(u, media)
		for i, packet := range packets {
			require.LessOrEqual(t, packet.MarshalSize(), mtu)
			require.Equal(t, i == len(packets)-1, packet.Marker)
			sequences = append(sequences, int64(packet.SequenceNumber))
		}
		var header codecs.VP8Packet
		_, err := header.Unmarshal(packets[0].Payload)
		require.NoError(t, err)
		require.Equal(t, uint8(1), header.S)
		pictures = append(pictures, int64(header.PictureID))
		timestamps = append(timestamps, int64(packets[0].Timestamp-video.timestamp))
	}
	assertSteps(t, "sequence number", sequences, 1, 1<<16)
	assertSteps(t, "picture id", pictures, 1, 1<<15)
	assertSteps(t, "timestamp", timestamps, 3000, 1<<32)
	assert.Len(t, timestamps, 1200)
	assert.Equal(t, int64(1999*960), audioAt)
}

// assertSteps asserts that each value is step more than the one before.
func assertSteps(t *testing.T, what string, values []int64, step, modulus int64) {
	t.Helper()
	require.NotEmpty(t, values)
	for i := 1; i < len(values); i++ {
		got := (values[i] - values[i-1] + modulus) % modulus
		if !assert.Equal(t, step, got, "%s goes from %d to %d at %d", what, values[i-1], values[i], i) {
			return
		}
	}
}
