package cdn_test

import (
	"encoding/hex"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
)

var h264 = cdn.TrackInfo{ID: "video", Kind: cdn.Video, Codec: cdn.Codec{MimeType: "video/H264", ClockRate: 90000}, Layers: []string{""}}

// NAL units of H.264, each in a packet of its own, and the two sets in a STAP-A.
const (
	nalSPS   = "6742c00ad9028db0"
	nalPPS   = "68cb83cb20"
	nalIDR   = "65888400"
	nalP     = "41889a38"
	nalsSets = "18 0008 6742c00ad9028db0 0005 68cb83cb20"
)

// unit is a packet of H.264. The marker is set on slices.
func unit(t *testing.T, seq uint16, ts uint32, payload string) *rtp.Packet {
	b, err := hex.DecodeString(strings.ReplaceAll(payload, " ", ""))
	require.NoError(t, err)
	slice := b[0]&0x1f == 1 || b[0]&0x1f == 5
	return &rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: seq, Timestamp: ts, Marker: slice}, Payload: b}
}

// hexOf returns the packets' payloads.
func hexOf(all []*cdn.Packet) (out []string) {
	for _, p := range all {
		out = append(out, hex.EncodeToString(p.Payload))
	}
	return out
}

// A decoder that is given parameter sets and an inter frame shows nothing. While
// nothing else has come, the keyframe is still to come.
func TestParameterSetsAreNoKeyframe(t *testing.T) {
	inBubble(t, func(t *testing.T, n *cdn.Node) {
		s := newStream(t, n)
		li, b := newLayer(t, newInput(t, s, cdn.InputConfig{}, h264), 0)
		layer := s.Tracks()[0].Layers()[0]
		layer.RequestKeyframe()
		li.Write(time.Now(), unit(t, 1, 0, nalsSets), nil)
		li.Write(time.Now(), unit(t, 2, 0, nalP), nil)
		time.Sleep(1100 * time.Millisecond)
		synctest.Wait()
		asked, _ := b.counts()
		require.Equal(t, 3, asked, "it goes on being asked for")
		require.Empty(t, layer.Opening(time.Now()).Keyframe)

		li.Write(time.Now(), unit(t, 3, 90000, nalsSets), nil)
		li.Write(time.Now(), unit(t, 4, 90000, nalIDR), nil)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		again, _ := b.counts()
		require.Equal(t, asked, again, "it has come")
		require.Len(t, layer.Opening(time.Now()).Keyframe, 2)
		require.Equal(t, uint64(1), layer.Stats().Keyframes)
	})
}

// Parameter sets reach whoever begins at a keyframe, ahead of it, wherever they
// came: in packets of their own, with another timestamp, or beside other frames.
func TestAKeyframeIsLedByItsParameterSets(t *testing.T) {
	const pair = "18" + "0008" + nalSPS + "0005" + nalPPS
	for name, tc := range map[string]struct {
		before []string // a frame each
		frame  []string // packets of the keyframe
		want   []string // ahead of the keyframe's first slice
	}{
		"in the slice's own packet":       {nil, []string{pair + "0004" + nalIDR}, nil},
		"in a packet of their own":        {nil, []string{nalsSets, nalIDR}, []string{nalsSets}},
		"in a packet each":                {nil, []string{nalSPS, nalPPS, nalIDR}, []string{nalSPS, nalPPS}},
		"behind a delimiter":              {nil, []string{"09f0", nalSPS, nalPPS, nalIDR}, []string{"09f0", nalSPS, nalPPS}},
		"with another timestamp":          {[]string{nalsSets, nalP}, []string{nalIDR}, []string{nalsSets}},
		"with a timestamp each":           {[]string{nalSPS, nalPPS, nalP}, []string{nalIDR}, []string{nalSPS, nalPPS}},
		"picture sets with each frame":    {[]string{nalSPS, nalPPS, nalP, nalPPS, nalP}, []string{nalIDR}, []string{nalSPS, nalPPS}},
		"beside an inter frame":           {[]string{pair + "0004" + nalP}, []string{nalIDR}, []string{pair}},
		"beside an earlier keyframe":      {[]string{pair + "0004" + nalIDR, nalP}, []string{nalIDR}, []string{pair}},
		"sequence sets earlier":           {[]string{nalsSets, nalP}, []string{nalPPS, nalIDR}, []string{nalsSets, nalPPS}},
		"repeated ahead of a later frame": {[]string{nalsSets, nalP, nalsSets, nalP}, []string{nalIDR}, []string{nalsSets}},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *cdn.Node) {
				s := newStream(t, n)
				li, _ := newLayer(t, newInput(t, s, cdn.InputConfig{}, h264), 0)
				layer := s.Tracks()[0].Layers()[0]
				cursor := layer.Live()
				seq := uint16(0)
				write := func(ts int, payload string) {
					seq++
					li.Write(time.Now(), unit(t, seq, uint32(ts)*3000, payload), nil)
				}
				for i, p := range tc.before {
					write(i, p)
				}
				for _, p := range tc.frame {
					write(len(tc.before), p)
				}
				var key *cdn.Packet
				for _, p := range read(&cursor) {
					if p.Keyframe {
						key = p
					}
				}
				require.NotNil(t, key)
				strip := func(all []string) (out []string) {
					for _, s := range all {
						out = append(out, strings.ReplaceAll(s, " ", ""))
					}
					return out
				}
				require.Equal(t, strip(tc.want), hexOf(layer.Prefix(key)))

				// Those who begin with the newest keyframe get the same.
				o := layer.Opening(time.Now())
				all := append(hexOf(o.Parameters), hexOf(o.Keyframe)...)
				if n := len(tc.frame); n > 1 || tc.frame[0] == nalIDR {
					require.Equal(t, append(strip(tc.want), nalIDR), all)
				}
			})
		})
	}
}

// An input that takes a stream over brings its own parameter sets along, though
// they came ahead of the keyframe with which it does.
func TestASpliceBringsItsParameterSets(t *testing.T) {
	const newSPS, newPPS = "6742c01fda014016", "68ce3c80"
	for name, tc := range map[string][]string{ // by frame
		"in the keyframe's packets": {newSPS + "," + newPPS + "," + nalIDR},
		"with another timestamp":    {newSPS + "," + newPPS + "," + nalP, nalP, nalIDR},
		"picture sets repeated":     {newSPS + "," + newPPS + "," + nalP, newPPS + "," + nalP, nalIDR},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *cdn.Node) {
				s := newStream(t, n)
				first, _ := newLayer(t, newInput(t, s, cdn.InputConfig{}, h264), 0)
				layer := s.Tracks()[0].Layers()[0]
				cursor := layer.Live()
				first.Write(time.Now(), unit(t, 1, 0, nalsSets), nil)
				first.Write(time.Now(), unit(t, 2, 0, nalIDR), nil)
				before := read(&cursor)
				second, _ := newLayer(t, newInput(t, s, cdn.InputConfig{}, h264), 0)
				seq := uint16(700)
				for i, frame := range tc {
					time.Sleep(33 * time.Millisecond)
					for p := range strings.SplitSeq(frame, ",") {
						second.Write(time.Now(), unit(t, seq, 5000+uint32(i)*3000, p), nil)
						seq++
					}
				}
				time.Sleep(33 * time.Millisecond)
				second.Write(time.Now(), unit(t, seq, 5000+uint32(len(tc))*3000, nalP), nil)
				all := read(&cursor)
				require.Equal(t, []string{newSPS, newPPS, nalIDR, nalP}, hexOf(all))
				for i, p := range all {
					require.Equal(t, all[0].Seq+uint64(i), p.Seq)
					if i < 3 {
						require.Equal(t, all[2].Timestamp, p.Timestamp, "they are of the keyframe")
					}
				}
				require.Equal(t, before[1].Seq+1, all[0].Seq, "they follow what was sent")
			})
		})
	}
}

// What is encrypted end to end may look like a keyframe now and then. That must
// not keep viewers waiting for the next one for ever.
func TestCiphertextThatLooksLikeAKeyframe(t *testing.T) {
	inBubble(t, func(t *testing.T, n *cdn.Node) {
		s := newStream(t, n)
		li, b := newLayer(t, newInput(t, s, cdn.InputConfig{}, vp8), 0)
		layer := s.Tracks()[0].Layers()[0]
		for i := range uint16(30 * 20) {
			p := frame(i, uint32(i)*3000, i < 8, i) // SFrame headers count, and then do not begin with such a bit
			if i == 450 {
				layer.RequestKeyframe()
			}
			li.Write(time.Now(), p, nil)
			time.Sleep(time.Second / 30)
		}
		asked, _ := b.counts()
		require.Equal(t, 1, asked, "once: whether it came cannot be seen")
		require.Less(t, layer.Opening(time.Now()).Age, time.Second)
	})
}
