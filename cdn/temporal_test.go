package cdn_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
)

// descriptor is a dependency descriptor of a template, with fields in bits.
func descriptor(t *testing.T, template byte, frame uint16, fields string) []byte {
	ext := []byte{0xc0 | template, byte(frame >> 8), byte(frame)}
	fields = strings.ReplaceAll(fields, " ", "")
	for len(fields) > 0 {
		n := min(8, len(fields))
		b, err := strconv.ParseUint(fields[:n]+strings.Repeat("0", 8-n), 2, 8)
		require.NoError(t, err)
		ext, fields = append(ext, byte(b)), fields[n:]
	}
	return ext
}

// twoLayers is a structure of two temporal layers: templates 0 and 1 are of layer 0, the
// first of keyframes, and template 2 is of layer 1.
const twoLayers = "1 0 0 0 0" + " 000000 00001" + " 00 01 11" + " 1010 1010 0001" +
	" 0 1 0001 0 1 0000 0" + " 10" + " 0000 0010 0001" + " 0"

// A place is what a packet tells of temporal layers.
type place struct {
	layer       uint8
	sync, point bool
}

func placesOf(all []*cdn.Packet) (places []place) {
	for _, p := range all {
		places = append(places, place{p.TemporalLayer, p.LayerSync, p.SwitchingPoint})
	}
	return places
}

// The dependency descriptor tells the temporal layer of what cannot be looked into. Its
// structure comes with the keyframe only, and holds for an input that goes on in place of
// the first.
func TestTemporalLayersByDescriptor(t *testing.T) {
	inBubble(t, func(t *testing.T, n *cdn.Node) {
		s := newStream(t, n)
		in := newInput(t, s, cdn.InputConfig{}, cdn.TrackInfo{
			ID: "video", Kind: cdn.Video, Codec: cdn.Codec{MimeType: "video/AV1", ClockRate: 90000},
			Extensions: []string{"https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"},
		})
		li, _ := newLayer(t, in, 0)
		reader := s.Tracks()[0].Layers()[0].Live()
		seq := uint16(0)
		write := func(to *cdn.LayerInput, template byte, fields string) {
			seq++
			to.Write(time.Now(), &rtp.Packet{
				Header:  rtp.Header{SequenceNumber: seq, Timestamp: 3000 * uint32(seq), Marker: true},
				Payload: []byte{0xde, 0xad, 0xbe, 0xef},
			}, []cdn.Ext{{ID: 1, Data: descriptor(t, template, seq, fields)}})
		}
		write(li, 2, "")
		write(li, 0, twoLayers)
		write(li, 2, "")
		write(li, 1, "")
		write(li, 1, "0 0 1 0 0 1010")
		write(li, 9, "")
		next, err := li.Successor(&back{})
		require.NoError(t, err)
		seq += 5000
		write(next, 2, "")
		require.Equal(t, []place{{}, {0, false, true}, {1, false, false}, {0, false, true}, {}, {}, {1, false, false}}, placesOf(read(&reader)))
	})
}

// What is encrypted as a whole looks like anything. VP8 has its payload descriptor in the
// clear.
func TestTemporalLayersOfEncryptedPayloads(t *testing.T) {
	for mime, want := range map[string]place{"video/H264": {}, "video/VP8": {1, true, false}} {
		inBubble(t, func(t *testing.T, n *cdn.Node) {
			s := newStream(t, n)
			in := newInput(t, s, cdn.InputConfig{}, cdn.TrackInfo{ID: "video", Kind: cdn.Video, Codec: cdn.Codec{MimeType: mime, ClockRate: 90000}})
			li, _ := newLayer(t, in, 0)
			reader := s.Tracks()[0].Layers()[0].Live()
			payload := []byte{0x01, 0x9a, 0x00}
			if mime == "video/VP8" {
				payload = []byte{0x90, 0x20, 0x60, 0x11}
			}
			for i := range uint16(150) {
				li.Write(time.Now(), &rtp.Packet{Header: rtp.Header{SequenceNumber: i, Timestamp: 3000 * uint32(i), Marker: true}, Payload: payload}, nil)
				time.Sleep(33 * time.Millisecond)
			}
			all := placesOf(read(&reader))
			require.Equal(t, place{1, true, false}, all[0], "nothing says yet that it is encrypted")
			require.Equal(t, want, all[len(all)-1], mime)
		})
	}
}
