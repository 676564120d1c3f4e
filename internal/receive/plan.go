package receive

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/sdp"
)

// hopWanted are the header extensions of one hop that are taken where offered;
// the others are not.
var (
	hopWanted      = []string{sdp.URIMid, sdp.URIRid, sdp.URIRepairedRid, sdp.URITransportCC}
	feedbackWanted = []string{"nack", "nack pli", "ccm fir", "transport-cc"}
)

// maxForwarded bounds the extensions of a track that travel on.
const maxForwarded = 14

// A Plan is what will be received of an offer.
type Plan struct {
	Tracks  []cdn.TrackInfo
	Offer   *sdp.Offer
	Choices []sdp.Choice // of Tracks, in the same order
}

// Accept decides what to receive of an offer: of each m-section that sends, the
// codec that choose says. Errors wrap [cdn.ErrInvalid] and
// [cdn.ErrNoCommonCodec].
func Accept(offer string, choose sdp.Chooser) (*Plan, error) {
	o, err := sdp.Parse(offer)
	if err != nil {
		return nil, err
	}
	p := &Plan{Offer: o}
	sends := false
	for _, m := range o.Media {
		if m.Kind == 0 || m.Rejected || !m.Sends {
			continue
		}
		sends = true
		if c, ok := m.Choose(choose); ok {
			p.add(m, c)
		}
	}
	switch {
	case !sends:
		return nil, &cdn.Error{
			Op: "read offer", Err: fmt.Errorf("%w: the offer sends nothing", cdn.ErrInvalid),
			Detail: "The offer sends nothing: a section of a publisher is sendonly or sendrecv.",
		}
	case len(p.Tracks) == 0:
		return nil, fmt.Errorf("%w: nothing offered is allowed here", cdn.ErrNoCommonCodec)
	}
	return p, nil
}

func (p *Plan) add(m *sdp.Media, c sdp.Codec) {
	info := cdn.TrackInfo{ID: p.name(m.Kind), Kind: m.Kind, Codec: c.Codec, Layers: m.Rids}
	if len(info.Layers) == 0 {
		info.Layers = unnamed(m)
	}
	choice := sdp.Choice{Media: m, Codec: c, Feedback: feedbackWanted, Extensions: slices.Clone(hopWanted)}
	for _, uri := range slices.Sorted(maps.Keys(m.Extensions)) {
		id, _ := choice.Extension(uri)
		if id != 0 && sdp.TravelsOn(uri) && len(info.Extensions) < maxForwarded {
			info.Extensions = append(info.Extensions, uri)
		}
	}
	choice.Extensions = append(choice.Extensions, info.Extensions...)
	if redundancy(c) != 0 && len(info.Extensions) < maxForwarded {
		info.Extensions = append(info.Extensions, sdp.URIRedundant)
	}
	p.Tracks = append(p.Tracks, info)
	p.Choices = append(p.Choices, choice)
}

// Correct has the sender be asked for forward error correction where its offer has it and
// no generic NACK for the codec: retransmissions repair more with fewer bits wherever the
// round trip is short enough, and the two together double the bitrate. If always, it is asked
// for wherever the offer has it.
func (p *Plan) Correct(always bool) {
	for i := range p.Choices {
		c := &p.Choices[i]
		if always || !slices.Contains(c.Codec.Feedback, "nack") {
			c.FEC = c.Media.FEC.Repair()
		}
	}
}

// name returns "audio", "video", "video2", …
func (p *Plan) name(kind cdn.Kind) string {
	n := 1
	for _, t := range p.Tracks {
		if t.Kind == kind {
			n++
		}
	}
	if n == 1 {
		return kind.String()
	}
	return fmt.Sprintf("%s%d", kind, n)
}

// Track returns the index of the track of an m-section, -1 if there is none.
func (p *Plan) Track(mid string) int {
	return slices.IndexFunc(p.Choices, func(c sdp.Choice) bool { return c.Media.Mid == mid })
}

// Attribute returns the offer's session-level attribute named.
func (p *Plan) Attribute(name string) (string, bool) { return p.Offer.Attribute(name) }

// unnamed returns the layers of an m-section that names none: one, or as many as it
// has SSRCs in a simulcast group, as clients before a=rid had them.
func unnamed(m *sdp.Media) []string {
	n := len(group(m, "SIM"))
	if n < 2 {
		return []string{""}
	}
	var names []string
	for i := range n {
		names = append(names, strconv.Itoa(i))
	}
	return names
}
