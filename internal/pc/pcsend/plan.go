// Package pcsend sends a stream over a PeerConnection: to a viewer, who
// offered, or to another node, which gets an offer.
package pcsend

import (
	"fmt"
	"strings"

	"github.com/pion/webrtc/v4"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/sdp"
	"github.com/deltacdn/delta/internal/sdp/format"
	"github.com/deltacdn/delta/internal/send"
)

const (
	uriMid = "urn:ietf:params:rtp-hdrext:sdes:mid"
	uriRid = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
)

// feedback is what another node may send.
var feedback = []string{"nack", "nack pli", "ccm fir"}

// fixAnswer puts the published format parameters into the answer: they are
// what is sent, and may hold what a decoder needs (sprop-parameter-sets,
// stereo).
func fixAnswer(p *send.Plan, sdp string) string {
	sdp = p.Offer.Restore(sdp, p.Choices)
	for i, l := range p.Lines {
		offered := format.Format(p.Choices[i].Codec.Codec)
		if fmtp := offered.Answer(format.Format(l.Track.Info().Codec)); fmtp != "" {
			sdp = setFmtp(sdp, l.Mid, l.PT, fmtp)
		}
	}
	return sdp
}

// setFmtp replaces, or adds, the a=fmtp line of a payload type in an m-section.
func setFmtp(sdp, mid string, pt uint8, fmtp string) string {
	prefix := fmt.Sprintf("a=fmtp:%d ", pt)
	sections := strings.Split(sdp, "\r\nm=")
	for i, section := range sections {
		if i == 0 || !strings.Contains(section+"\r\n", "\r\na=mid:"+mid+"\r\n") {
			continue
		}
		var out []string
		for line := range strings.SplitSeq(section, "\r\n") {
			if strings.HasPrefix(line, prefix) {
				continue
			}
			out = append(out, line)
			if strings.HasPrefix(line, fmt.Sprintf("a=rtpmap:%d ", pt)) {
				out = append(out, prefix+fmtp)
			}
		}
		sections[i] = strings.Join(out, "\r\n")
	}
	return strings.Join(sections, "\r\nm=")
}

// offerPlan is what is offered to another node: all tracks with all layers,
// under payload types and ids of our choice.
type offerPlan struct{ lines []*offerLine }

type offerLine struct {
	send.Line
	codec  sdp.Codec
	layers []*cdn.Layer // more than one: as simulcast
}

// firstPayload is the first dynamic payload type (RFC 3551).
const firstPayload = 96

// together returns the layers that are offered of a track. One without a name is
// not simulcast (RFC 8853): if there are both, since one publisher followed
// another, it is those of the present one.
func together(t *cdn.Track) (named []*cdn.Layer) {
	var newest, unnamed *cdn.Layer
	for _, l := range t.Layers() {
		if p := l.Newest(); p != nil && (newest == nil || p.Arrival.After(newest.Newest().Arrival)) {
			newest = l
		}
		if l.Name() == "" {
			unnamed = l
		} else {
			named = append(named, l)
		}
	}
	if unnamed != nil && (newest == unnamed || len(named) == 0) {
		return []*cdn.Layer{unnamed}
	}
	return named
}

// maxExtensions is how many header extensions pion has ids for in a session
// (RFC 8285 section 4.2). What is beyond is left out.
const maxExtensions = 14

func planOffer(tracks []*cdn.Track) (*offerPlan, *webrtc.MediaEngine, error) {
	p, engine := &offerPlan{}, &webrtc.MediaEngine{}
	offered := map[string]bool{uriMid: true, uriRid: true}
	for i, t := range tracks {
		info := t.Info()
		c := sdp.Codec{Codec: info.Codec, PT: firstPayload + uint8(i), Feedback: feedback}
		var extensions []string
		for _, uri := range sdp.Travelling(info.Extensions) {
			if offered[uri] || len(offered) < maxExtensions {
				offered[uri] = true
				extensions = append(extensions, uri)
			}
		}
		extensions = append(extensions, uriMid)
		l := &offerLine{Line: send.Line{Track: t, PT: c.PT}, codec: c, layers: together(t)}
		if len(l.layers) > 1 {
			extensions = append(extensions, uriRid)
		}
		if err := sdp.Register(engine, info.Kind, c, extensions); err != nil {
			return nil, nil, err
		}
		p.lines = append(p.lines, l)
	}
	return p, engine, nil
}
