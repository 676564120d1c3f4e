// Package pcsend sends a stream over a PeerConnection: to a viewer, who
// offered, or to another node, which gets an offer.
package pcsend

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pion/webrtc/v4"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/codec"
	"github.com/deltacdn/delta/internal/negotiate"
)

const (
	uriMid          = "urn:ietf:params:rtp-hdrext:sdes:mid"
	uriRid          = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
	uriDescriptor   = "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"
	uriPlayoutDelay = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
)

var feedback = []string{"nack", "nack pli", "ccm fir", "goog-remb"}

// line is one m-section of what is sent: a track and how the other side wants
// its packets.
type line struct {
	track  *cdn.Track
	codec  negotiate.Codec
	choice negotiate.Choice
	mid    string
	layers []*cdn.Layer // more than one: all are sent, as simulcast

	transceiver *webrtc.RTPTransceiver // of an offer of ours: it knows the mid
}

// answerPlan is what is sent in answer to a viewer's offer.
type answerPlan struct {
	offer *negotiate.Offer
	lines []*line
}

// planAnswer gives each m-section that receives the next track of its kind
// whose codec it can take. Errors wrap cdn.ErrInvalid and cdn.ErrNoCommonCodec.
func planAnswer(offer string, tracks []*cdn.Track) (*answerPlan, error) {
	o, err := negotiate.Parse(offer)
	if err != nil {
		return nil, err
	}
	p := &answerPlan{offer: o}
	receives := false
	used := map[*cdn.Track]bool{}
	for _, m := range o.Media {
		if m.Kind == 0 || m.Rejected || !m.Receives {
			continue
		}
		receives = true
		for _, t := range tracks {
			if c, ok := common(m, t); ok && !used[t] {
				used[t] = true
				p.add(m, c, t)
				break
			}
		}
	}
	switch {
	case !receives:
		return nil, fmt.Errorf("%w: the offer receives nothing", cdn.ErrInvalid)
	case len(p.lines) == 0:
		return nil, fmt.Errorf("%w: the stream has %s", cdn.ErrNoCommonCodec, formats(tracks))
	}
	return p, nil
}

// common returns the format of an m-section that can take the track.
func common(m *negotiate.Media, t *cdn.Track) (negotiate.Codec, bool) {
	want := t.Info()
	if m.Kind != want.Kind {
		return negotiate.Codec{}, false
	}
	for _, c := range m.Codecs {
		if c.Is(want.Codec.MimeType) && c.ClockRate == want.Codec.ClockRate &&
			max(c.Channels, 1) == max(want.Codec.Channels, 1) &&
			codec.SameFormat(c.MimeType, want.Codec.Fmtp, c.Fmtp) {
			return c, true
		}
	}
	return negotiate.Codec{}, false
}

func (p *answerPlan) add(m *negotiate.Media, c negotiate.Codec, t *cdn.Track) {
	wanted := append(slices.Clone(t.Info().Extensions), uriPlayoutDelay, uriMid)
	p.lines = append(p.lines, &line{
		track: t, codec: c, mid: m.Mid,
		choice: negotiate.Choice{Media: m, Codec: c, Feedback: feedback, Extensions: wanted},
	})
}

func (p *answerPlan) choices() []negotiate.Choice {
	var all []negotiate.Choice
	for _, l := range p.lines {
		all = append(all, l.choice)
	}
	return all
}

// fixAnswer puts the published format parameters into the answer: they are
// what is sent, and may hold what a decoder needs (sprop-parameter-sets,
// stereo).
func (p *answerPlan) fixAnswer(sdp string) string {
	sdp = p.offer.Restore(sdp, p.choices())
	for _, l := range p.lines {
		if published := l.track.Info().Codec.Fmtp; published != "" {
			sdp = setFmtp(sdp, l.mid, l.codec.PT, published)
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

func formats(tracks []*cdn.Track) string {
	var all []string
	for _, t := range tracks {
		c := t.Info().Codec
		all = append(all, strings.TrimSpace(c.MimeType+" "+c.Fmtp))
	}
	return strings.Join(all, ", ")
}

// offerPlan is what is offered to another node: all tracks with all layers,
// under payload types and ids of our choice.
type offerPlan struct{ lines []*line }

// firstPayload is the first dynamic payload type (RFC 3551).
const firstPayload = 96

func planOffer(tracks []*cdn.Track) (*offerPlan, *webrtc.MediaEngine, error) {
	p, engine := &offerPlan{}, &webrtc.MediaEngine{}
	for i, t := range tracks {
		info := t.Info()
		c := negotiate.Codec{Codec: info.Codec, PT: firstPayload + uint8(i), Feedback: feedback[:3]}
		extensions := append(slices.Clone(info.Extensions), uriMid)
		l := &line{track: t, codec: c, layers: t.Layers()}
		if len(l.layers) > 1 {
			extensions = append(extensions, uriRid)
		}
		if err := negotiate.Register(engine, info.Kind, c, extensions); err != nil {
			return nil, nil, err
		}
		p.lines = append(p.lines, l)
	}
	return p, engine, nil
}
