package send

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// header is that of a packet of a frame.
func header(timestamp byte, last bool) []byte {
	h := []byte{0x80, 96, 0, 1, 0, 0, 0, timestamp, 0, 0, 0, 1}
	if last {
		h[1] |= marker
	}
	return h
}

// The first frame is whole with its last packet, or when another one begins.
func TestFirstFrameIsWhole(t *testing.T) {
	for name, c := range map[string]struct {
		headers [][]byte
		whole   []bool
	}{
		"one packet":                 {[][]byte{header(1, true)}, []bool{true}},
		"three":                      {[][]byte{header(1, false), header(1, false), header(1, true)}, []bool{false, false, true}},
		"the last one is not marked": {[][]byte{header(1, false), header(1, false), header(2, false)}, []bool{false, false, true}},
	} {
		t.Run(name, func(t *testing.T) {
			var f firstFrame
			for i, h := range c.headers {
				require.Equal(t, c.whole[i], f.isWhole(h))
			}
		})
	}
}

// Each step is told once, and none after the first frame.
func TestSteps(t *testing.T) {
	var told []Step
	s := New(Config{OnStep: func(s Step) { told = append(told, s) }})
	for _, step := range []Step{StepAsked, StepAsked, StepPacket, StepAsked, StepPacket, StepFrame, StepFrame, StepAsked} {
		s.step(step)
	}
	require.Equal(t, []Step{StepAsked, StepPacket, StepFrame}, told)
	require.False(t, s.awaitsFrame())
	require.False(t, New(Config{}).awaitsFrame(), "no OnStep")
}
