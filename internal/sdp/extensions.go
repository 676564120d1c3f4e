package sdp

import "slices"

// The RTP header extensions that are for one hop only: those after it get
// their own, or none.
const (
	URIMid          = "urn:ietf:params:rtp-hdrext:sdes:mid"
	URIRid          = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
	URIRepairedRid  = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"
	URITransportCC  = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
	URIAbsSendTime  = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
	uriTimeOffset   = "urn:ietf:params:rtp-hdrext:toffset"
	uriTransportCC2 = "http://www.webrtc.org/experiments/rtp-hdrext/transport-wide-cc-02"
	uriEncrypt      = "urn:ietf:params:rtp-hdrext:encrypt"
)

// URIRedundant among a track's extensions is none that packets carry: it says that the
// publisher sends the track with redundancy (RFC 2198), and that viewers who can take that
// are to have it, too. Nodes that do not know it pass it on.
const URIRedundant = "urn:deltacdn:rtp:red"

var oneHop = []string{
	URIMid, URIRid, URIRepairedRid, URITransportCC, URIAbsSendTime, uriTimeOffset, uriTransportCC2, uriEncrypt,
}

// TravelsOn reports whether a header extension goes from the publisher to
// viewers, as far as both have it.
func TravelsOn(uri string) bool { return !slices.Contains(oneHop, uri) }

// Travelling returns those of a track's header extensions that go from the publisher to
// viewers, in a new slice. A track that another node or a program describes may name
// others.
func Travelling(uris []string) []string {
	return slices.DeleteFunc(slices.Clone(uris), func(uri string) bool { return !TravelsOn(uri) })
}
