package payload

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

// filler returns n bytes without start codes or runs of zeros.
func filler(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i%251) | 1
	}
	return b
}

func annexB(nals ...[]byte) (all []byte) {
	for _, n := range nals {
		all = append(append(all, 0, 0, 0, 1), n...)
	}
	return all
}

// frames are samples of each codec: what comes out is what went in.
func frames() map[string][]byte {
	sps := []byte{0x67, 0x42, 0xc0, 0x1e, 0xd9, 0x01, 0x41, 0x8f}
	pps := []byte{0x68, 0xcb, 0x83, 0xcb}
	vps := []byte("\x40\x01\x0c\x01\xff\xff\x01\x60\x03\x90\x03\x03\x3f\x95\x98\x09")
	// A keyframe of profile 0, 320x180 (VP9 section 6.2).
	vp9 := append([]byte{0x82, 0x49, 0x83, 0x42, 0x00, 0x13, 0xf0, 0x0b, 0x30}, filler(3000)...)
	obu := append([]byte{0x32, 0xb8, 0x17}, filler(3000)...) // OBU_FRAME with a size
	return map[string][]byte{
		"video/VP8":  append([]byte{0x10, 0, 0, 0x9d, 0x01, 0x2a}, filler(3000)...),
		"video/VP9":  vp9,
		"video/AV1":  append(bytes.Clone(temporalDelimiter), obu...),
		"video/H264": annexB(sps, pps, append([]byte{0x65, 0x88}, filler(3000)...)),
		"video/H265": annexB(vps[:4:4], append([]byte{0x26, 0x01, 0x88}, filler(3000)...)),
		"audio/opus": filler(100),
		"audio/PCMU": filler(160),
	}
}

func TestWhatIsSplitCanBeJoined(t *testing.T) {
	for mime, frame := range frames() {
		t.Run(mime, func(t *testing.T) {
			p, ok := NewPacketizer(mime)
			require.True(t, ok)
			j, ok := NewJoiner(mime)
			require.True(t, ok)
			for range 3 {
				payloads, err := p.Split(frame, 1188)
				require.NoError(t, err)
				if len(frame) > 1188 {
					require.Greater(t, len(payloads), 2)
				}
				for _, one := range payloads {
					require.LessOrEqual(t, len(one), 1188)
				}
				again, err := j.Join(payloads)
				require.NoError(t, err)
				require.Equal(t, frame, again)
			}
		})
	}
}

func TestASplitFrameIsOnlyRead(t *testing.T) {
	for mime, frame := range frames() {
		before := bytes.Clone(frame)
		p, _ := NewPacketizer(mime)
		payloads, err := p.Split(frame, 500)
		require.NoError(t, err)
		for _, one := range payloads {
			clear(one)
		}
		require.Equal(t, before, frame, mime)
	}
}

func TestWhatCannotBeSplit(t *testing.T) {
	_, ok := NewPacketizer("video/theora")
	require.False(t, ok)
	_, ok = NewJoiner("video/theora")
	require.False(t, ok)
	opus, _ := NewPacketizer("AUDIO/OPUS")
	_, err := opus.Split(filler(1300), 1188)
	require.ErrorIs(t, err, ErrMalformed, "there are no fragments of sound")
	vp9, _ := NewPacketizer("video/VP9")
	_, err = vp9.Split([]byte{0}, 1188)
	require.ErrorIs(t, err, ErrMalformed)
}

func TestPictureIDsOfVP8Wrap(t *testing.T) {
	v := &vp8{picture: 0x7fff}
	last := v.Payload(1188, []byte{1})[0]
	first := v.Payload(1188, []byte{1})[0]
	require.Equal(t, []byte{0xff, 0xff}, last[2:4])
	require.Equal(t, []byte{0x80, 0x00}, first[2:4])
}

// What comes from a network may be anything.
func FuzzJoin(f *testing.F) {
	mimes := []string{"video/VP8", "video/VP9", "video/AV1", "video/H264", "video/H265", "audio/opus"}
	for i, mime := range mimes {
		p, _ := NewPacketizer(mime)
		payloads, err := p.Split(frames()[mime], 1188)
		require.NoError(f, err)
		f.Add(uint8(i), payloads[0], payloads[len(payloads)-1])
	}
	f.Fuzz(func(t *testing.T, i uint8, a, b []byte) {
		j, ok := NewJoiner(mimes[int(i)%len(mimes)])
		require.True(t, ok)
		before := append(bytes.Clone(a), b...)
		frame, err := j.Join([][]byte{a, b})
		if err == nil {
			require.NotEmpty(t, frame)
		} else {
			require.ErrorIs(t, err, ErrMalformed)
		}
		require.Equal(t, before, append(bytes.Clone(a), b...), "payloads are only read")
	})
}
