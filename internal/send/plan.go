package send

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/sdp"
	"github.com/deltacdn/delta/internal/sdp/format"
)

// The URIs of header extensions that a sender writes itself.
const (
	uriMid          = "urn:ietf:params:rtp-hdrext:sdes:mid"
	uriRid          = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
	uriDescriptor   = "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"
	uriPlayoutDelay = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
)

// The feedback that has a part in what is decided here.
const (
	fbNack      = "nack"
	fbEstimate  = "goog-remb"
	fbTransport = "transport-cc"
)

// answered is the feedback that a viewer may send. [AnswerTime] makes the answer to
// rrtr.
var answered = []string{fbNack, "nack pli", "ccm fir", fbEstimate, "rrtr"}

// A Line is one m-section of what is sent: a track and how the receiver wants
// its packets.
type Line struct {
	Track *cdn.Track
	PT    uint8
	RTX   uint8 // payload type of retransmissions; 0: none
	RED   uint8 // payload type with redundancy (RFC 2198); 0: none
	// OnLoss: redundancy is sent only while the receiver's path loses packets.
	OnLoss bool
	Mid    string
}

// A Plan is what is sent to a viewer that has made an offer. Its lines hold no memory of
// the offer, so that a session need not keep it.
type Plan struct {
	Offer   *sdp.Offer
	Lines   []*Line
	Choices []sdp.Choice // what was chosen from the offer, for each line; see PlanOpen
	// Mismatches are the tracks that the viewer wanted and cannot decode.
	Mismatches []Mismatch
}

// A Mismatch is a track that a viewer has an m-section for, but no codec.
type Mismatch struct {
	Track   *cdn.Track
	Offered []cdn.Codec // in that m-section
}

// PlanAnswer gives each m-section that receives the next track of its kind whose codec it
// can receive. Errors wrap cdn.ErrInvalid and cdn.ErrNoCommonCodec.
func PlanAnswer(o *sdp.Offer, tracks []*cdn.Track) (*Plan, error) {
	p := &Plan{Offer: o}
	receives := receiving(o)
	used := map[*cdn.Track]bool{}
	for _, m := range receives {
		for _, t := range tracks {
			if c, ok := common(m, t); ok && !used[t] {
				used[t] = true
				p.add(m, c, t)
				break
			}
		}
	}
	switch {
	case len(receives) == 0:
		return nil, errReceivesNothing
	case len(p.Lines) == 0:
		has, offers := formats(tracks), offered(receives)
		return nil, &cdn.Error{
			Op: "plan", Err: fmt.Errorf("%w: the stream has %s, and the offer has %s", cdn.ErrNoCommonCodec, has, offers),
			Detail: fmt.Sprintf("The stream has %s. The player offers %s.", has, offers),
		}
	}
	p.Mismatches = mismatches(receives, tracks, p.Choices, used)
	return p, nil
}

// mismatches pairs the m-sections that get no track with the tracks of their kind that no
// m-section gets.
func mismatches(receives []*sdp.Media, tracks []*cdn.Track, chosen []sdp.Choice, used map[*cdn.Track]bool) (all []Mismatch) {
	for _, m := range receives {
		if slices.ContainsFunc(chosen, func(c sdp.Choice) bool { return c.Media == m }) {
			continue
		}
		for _, t := range tracks {
			if t.Info().Kind == m.Kind && !used[t] {
				used[t] = true
				all = append(all, Mismatch{Track: t, Offered: m.Offered()})
				break
			}
		}
	}
	return all
}

var errReceivesNothing = &cdn.Error{
	Op: "read offer", Err: fmt.Errorf("%w: the offer receives nothing", cdn.ErrInvalid),
	Detail: "The offer receives nothing: a section of a player is recvonly or sendrecv.",
}

// maxOpen bounds the m-sections that are accepted while the stream's tracks are unknown. A
// stream has no more tracks, unless a node is configured otherwise.
const maxOpen = 8

// PlanOpen plans the answer to a viewer before the stream's tracks are known: there is a
// choice for each codec of each m-section that receives, and there are no lines. What
// [PlanAnswer] chooses from the same offer later is among these choices. Errors are those
// of PlanAnswer, and cdn.ErrUnsupported where the tracks have to be known first.
func PlanOpen(o *sdp.Offer) (*Plan, error) {
	p := &Plan{Offer: o}
	receives := receiving(o)
	switch {
	case len(receives) == 0:
		return nil, errReceivesNothing
	case len(receives) > maxOpen:
		return nil, fmt.Errorf("%w: %d m-sections, and the tracks are not known yet", cdn.ErrUnsupported, len(receives))
	}
	for _, m := range receives {
		var wanted []string
		for _, uri := range slices.Sorted(maps.Keys(m.Extensions)) {
			if sdp.TravelsOn(uri) || uri == uriMid {
				wanted = append(wanted, uri)
			}
		}
		for _, c := range m.Codecs {
			p.Choices = append(p.Choices, sdp.Choice{Media: m, Codec: c, Feedback: answered, Extensions: wanted, Sends: true})
		}
	}
	if len(p.Choices) == 0 {
		return nil, fmt.Errorf("%w: the offer has none that carries media", cdn.ErrNoCommonCodec)
	}
	return p, nil
}

// receiving returns the m-sections in which the offerer wants to receive.
func receiving(o *sdp.Offer) (all []*sdp.Media) {
	for _, m := range o.Media {
		if m.Kind != 0 && !m.Rejected && m.Receives {
			all = append(all, m)
		}
	}
	return all
}

// common returns the format of an m-section in which it can receive the track, the nearest
// if there are several.
func common(m *sdp.Media, t *cdn.Track) (sdp.Codec, bool) {
	want := t.Info()
	if m.Kind != want.Kind {
		return sdp.Codec{}, false
	}
	return m.Nearest(want.Codec)
}

// AddSignals accepts the feedback by which a viewer tells how its path takes what it is
// sent, and the header extensions that it needs for that, where the offer has both: it is
// for sessions that can write them ([Sender.Bind]). They are, by format,
//   - transport-cc, with transport-wide sequence numbers
//     (draft-holmer-rmcat-transport-wide-cc-extensions-01);
//   - abs-send-time, where goog-remb is accepted (draft-alvestrand-rmcat-remb-03). For
//     formats without goog-remb, which mostly are sound, no receiver reads it.
//
// Neither is accepted for a format whose packets may have to be repeated under the same
// number, since it has NACKs but no RTX (RFC 4588): what they say is new in each
// transmission, and SRTP must not seal two headers under one number (RFC 3711 section 9.1;
// with AES-GCM that gives away the key of authentication). Repairs are worth more than
// the better estimate.
//
// Browsers differ in which m-sections they offer them for: Firefox has offered
// transport-cc for video alone. What is not accepted is not numbered, so that it cannot
// count as lost.
func (p *Plan) AddSignals() {
	for i := range p.Choices {
		c := &p.Choices[i]
		has := func(fb, uri string) bool {
			id, _ := c.Extension(uri)
			return id != 0 && slices.Contains(c.Codec.Feedback, fb)
		}
		if c.Codec.RTX == 0 && slices.Contains(c.Codec.Feedback, fbNack) {
			continue
		}
		if has(fbTransport, sdp.URITransportCC) {
			c.Feedback = append(slices.Clip(c.Feedback), fbTransport)
			c.Extensions = append(slices.Clip(c.Extensions), sdp.URITransportCC)
		}
		if has(fbEstimate, sdp.URIAbsSendTime) {
			c.Extensions = append(slices.Clip(c.Extensions), sdp.URIAbsSendTime)
		}
	}
}

func (p *Plan) add(m *sdp.Media, c sdp.Codec, t *cdn.Track) {
	wanted := append(sdp.Travelling(t.Info().Extensions), uriPlayoutDelay, uriMid)
	// It takes twice the bits: somebody has to want it, or to lose packets.
	onLoss := c.RED != 0 && !c.PrefersRED && !slices.Contains(t.Info().Extensions, sdp.URIRedundant)
	p.Lines = append(p.Lines, &Line{Track: t, PT: c.PT, RTX: c.RTX, RED: c.RED, OnLoss: onLoss, Mid: strings.Clone(m.Mid)})
	p.Choices = append(p.Choices, sdp.Choice{Media: m, Codec: c, Feedback: answered, Extensions: wanted, Sends: true})
}

// formats names the tracks' formats.
func formats(tracks []*cdn.Track) string {
	var all []format.Format
	for _, t := range tracks {
		all = append(all, format.Format(t.Info().Codec))
	}
	return format.List(all)
}

// offered names the formats that an offer receives.
func offered(receives []*sdp.Media) string {
	var all []format.Format
	for _, m := range receives {
		for _, c := range m.Codecs {
			all = append(all, format.Format(c.Codec))
		}
	}
	return format.List(all)
}
