package demo

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestBuiltinClip(t *testing.T) {
	c, err := builtin()
	require.NoError(t, err)
	assert.Less(t, len(countdownIVF)+len(countdownOgg), 2_000_000)

	var frames, packets int
	var lastKeyframe, last time.Duration
	for _, u := range c.units {
		require.NotEmpty(t, u.data)
		require.GreaterOrEqual(t, u.at, last)
		last = u.at
		if !u.video {
			packets++
			continue
		}
		if frames == 0 {
			assert.True(t, u.keyframe, "the clip begins with a keyframe")
		}
		frames++
		if u.keyframe {
			assert.Equal(t, u.at.Truncate(time.Second), u.at)
			lastKeyframe = u.at
		}
		assert.Less(t, u.at-lastKeyframe, time.Second, "a keyframe each second")
	}
	assert.Equal(t, 20*time.Second, c.length)
	assert.Equal(t, c.length, time.Duration(frames)*time.Second/30, "video is as long as the clip")
	assert.Equal(t, c.length, time.Duration(packets)*opusPacket, "audio is as long as the clip")
}

// The Opus TOC byte (RFC 6716 section 3.1) tells that each page is one packet
// of one 20 ms frame, and which channels it has.
func TestBuiltinAudioIsStereoIn20ms(t *testing.T) {
	audio, err := readAudio(bytes.NewReader(countdownOgg))
	require.NoError(t, err)
	for i, u := range audio {
		toc := u.data[0]
		require.NotZero(t, toc&0x04, "packet %d is mono", i)
		require.Zero(t, toc&0x03, "packet %d holds more than one frame", i)
		config := toc >> 3
		require.Contains(t, []byte{1, 5, 9, 13, 15, 19, 23, 27, 31}, config, "packet %d is not of 20 ms", i)
	}
}

func TestReadRefusesDamage(t *testing.T) {
	_, err := readVideo(bytes.NewReader(countdownIVF[:1000]))
	require.Error(t, err)
	_, err = readVideo(bytes.NewReader(nil))
	require.Error(t, err)
	damaged := bytes.Clone(countdownOgg[:5000])
	damaged[4000] ^= 1
	_, err = readAudio(bytes.NewReader(damaged))
	require.Error(t, err)
}
