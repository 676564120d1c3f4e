package cdn_test

import (
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
)

// declaring is a track of H.264 whose format has parameter sets in its parameters (RFC 6184
// section 8.1), as GStreamer, FFmpeg and cameras write them.
func declaring(t *testing.T, sets ...string) cdn.TrackInfo {
	info := h264
	var all []string
	for _, s := range sets {
		b, err := hex.DecodeString(s)
		require.NoError(t, err)
		all = append(all, base64.StdEncoding.EncodeToString(b))
	}
	info.Codec.Fmtp = "packetization-mode=1;sprop-parameter-sets=" + strings.Join(all, ",")
	return info
}

// Parameter sets that a sender has in its description, and in no packet, reach all who begin.
func TestDeclaredParameterSetsLeadAKeyframe(t *testing.T) {
	const otherSPS, otherPPS = "6742c01fda014016", "68ce3c80"
	for name, tc := range map[string]struct {
		track  cdn.TrackInfo
		config cdn.InputConfig
		frame  []string // packets of the keyframe
		want   []string // ahead of the keyframe's first slice
	}{
		"declared alone":    {declaring(t, nalSPS, nalPPS), cdn.InputConfig{}, []string{nalIDR}, []string{nalSPS, nalPPS}},
		"behind a message":  {declaring(t, nalSPS, nalPPS), cdn.InputConfig{}, []string{"06058000", nalIDR}, []string{nalSPS, nalPPS, "06058000"}},
		"sent, too":         {declaring(t, nalSPS, nalPPS), cdn.InputConfig{}, []string{otherSPS, otherPPS, nalIDR}, []string{otherSPS, otherPPS}},
		"one of them sent":  {declaring(t, nalSPS, nalPPS), cdn.InputConfig{}, []string{otherPPS, nalIDR}, []string{nalSPS, otherPPS}},
		"none":              {h264, cdn.InputConfig{}, []string{nalIDR}, nil},
		"by another node":   {declaring(t, nalSPS, nalPPS), cdn.InputConfig{Path: []cdn.NodeID{"a"}}, []string{nalIDR}, nil},
		"what is no set":    {declaring(t, nalIDR, nalPPS), cdn.InputConfig{}, []string{nalIDR}, []string{nalPPS}},
		"more than is kept": {declaring(t, nalSPS, nalPPS, nalPPS, nalPPS, nalPPS, nalPPS, nalPPS, nalPPS, nalPPS), cdn.InputConfig{}, []string{nalIDR}, []string{nalSPS, nalPPS, nalPPS, nalPPS, nalPPS, nalPPS, nalPPS, nalPPS}},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *cdn.Node) {
				s := newStream(t, n)
				li, _ := newLayer(t, newInput(t, s, tc.config, tc.track), 0)
				layer := s.Tracks()[0].Layers()[0]
				cursor := layer.Live()
				for i, p := range tc.frame {
					li.Write(time.Now(), unit(t, uint16(i), 0, p), nil)
				}
				all := read(&cursor)
				require.Equal(t, tc.frame, hexOf(all), "packets stay as they came")
				prefix := layer.Prefix(all[len(all)-1])
				require.Equal(t, tc.want, hexOf(prefix))
				for _, p := range prefix {
					require.Same(t, p, layer.Lookup(p.Seq), "it can be sent again")
				}
				o := layer.Opening(time.Now())
				require.Equal(t, append(tc.want[:len(tc.want):len(tc.want)], nalIDR), append(hexOf(o.Parameters), hexOf(o.Keyframe)...))
			})
		})
	}
}

// Those who watch already get them where another sender takes the stream over.
func TestASpliceBringsDeclaredParameterSets(t *testing.T) {
	const newSPS, newPPS = "6742c01fda014016", "68ce3c80"
	inBubble(t, func(t *testing.T, n *cdn.Node) {
		s := newStream(t, n)
		first, _ := newLayer(t, newInput(t, s, cdn.InputConfig{}, declaring(t, nalSPS, nalPPS)), 0)
		layer := s.Tracks()[0].Layers()[0]
		cursor := layer.Live()
		first.Write(time.Now(), unit(t, 1, 0, nalIDR), nil)
		all := read(&cursor)
		require.Equal(t, []string{nalIDR}, hexOf(all))
		sent := layer.Prefix(all[0])
		require.Equal(t, []string{nalSPS, nalPPS}, hexOf(sent))

		second, _ := newLayer(t, newInput(t, s, cdn.InputConfig{}, declaring(t, newSPS, newPPS)), 0)
		time.Sleep(33 * time.Millisecond)
		second.Write(time.Now(), unit(t, 700, 5000, nalIDR), nil)
		second.Write(time.Now(), unit(t, 701, 8000, nalP), nil)
		second.Write(time.Now(), unit(t, 702, 11000, nalIDR), nil)
		all = read(&cursor)
		require.Equal(t, []string{newSPS, newPPS, nalIDR, nalP, nalIDR}, hexOf(all))
		require.Equal(t, []string{newSPS, newPPS}, hexOf(layer.Prefix(all[4])))

		// An encoder that begins anew behind the same session has the same ones.
		next, err := second.Successor(&back{})
		require.NoError(t, err)
		next.Write(time.Now(), unit(t, 9, 200, nalIDR), nil)
		all = read(&cursor)
		require.Equal(t, []string{nalIDR}, hexOf(all))
		require.Equal(t, []string{newSPS, newPPS}, hexOf(layer.Prefix(all[0])))
		for _, p := range sent {
			require.Nil(t, layer.Lookup(p.Seq), "who asks for it again must not get other bytes")
		}
	})
}

// Where a track has several layers, its parameters do not say which layer the sets belong to.
func TestDeclaredParameterSetsOfLayers(t *testing.T) {
	inBubble(t, func(t *testing.T, n *cdn.Node) {
		info := declaring(t, nalSPS, nalPPS)
		info.Layers = []string{"l", "h"}
		s := newStream(t, n)
		li, err := newInput(t, s, cdn.InputConfig{}, info).Layer(0, "h", &back{})
		require.NoError(t, err)
		cursor := s.Tracks()[0].Layer("h").Live()
		li.Write(time.Now(), unit(t, 1, 0, nalIDR), nil)
		require.Empty(t, s.Tracks()[0].Layer("h").Prefix(read(&cursor)[0]))
	})
}
