package cdntest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/rtp/codec"
)

// Payloads say which temporal layer they are of, and no byte of them can be changed unnoticed
// but the identifiers, which a hop may rewrite.
func TestTemporalPayloads(t *testing.T) {
	for i := range 16 {
		place := temporalAt(i)
		place.tl0 = uint8(i)
		for at := range uint16(2) {
			p := payload("video/VP8", body{key: i == 0, frame: uint32(i), index: at, count: 2, temporal: place}, 200)
			require.Equal(t, codec.Temporal{Layer: place.layer, Sync: place.sync}, codec.TemporalFor("video/VP8")(p))
			require.Equal(t, i == 0 && at == 0, codec.For("video/VP8")(p).Keyframe)
			b, from, ok := findBody(p)
			require.True(t, ok)
			for k := range p {
				p[k] ^= 0x10
				got, gotAt, ok := findBody(p)
				require.Equal(t, k >= 2 && k < 5, ok && samePayload("video/VP8", got, gotAt, p, new([]byte)), "byte %d", k)
				p[k] ^= 0x10
			}
			require.True(t, samePayload("video/VP8", b, from, p, new([]byte)))
		}
	}
}

// Without a temporal layer the lower ones can be shown, and a frame of which another one is
// missing cannot.
func TestTemporalFramesAreDecodable(t *testing.T) {
	decodable := func(without func(i int) bool) (shown, all int) {
		var d temporalDecoder
		for i := range 64 {
			if f := (&Frame{Number: uint32(100 + i), Key: i == 0, layered: true}); !without(i) {
				all++
				if d.decode(f) {
					shown++
				}
			}
		}
		return shown, all
	}
	for layer, frames := range map[uint8]int{1: 16, 2: 32, 3: 64} {
		shown, all := decodable(func(i int) bool { return temporalAt(i).layer >= layer })
		require.Equal(t, frames, all)
		require.Equal(t, frames, shown)
	}
	shown, _ := decodable(func(i int) bool { return i == 32 })
	require.Equal(t, 32, shown, "all that follows a frame of the base layer needs it")
	shown, _ = decodable(func(i int) bool { return i == 34 })
	require.Equal(t, 63-4, shown, "until one refers to the base layer alone: 35, 37 to 39")
}
