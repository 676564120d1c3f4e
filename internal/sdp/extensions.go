package sdp

import "slices"

// The RTP header extensions that are for one hop only: those after it get
// their own, or none.
const (
	URIMid          = "urn:ietf:params:rtp-hdrext:sdes:mid"
	URIRid          = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
	URIRepairedRid  = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"
	URITransportCC  = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
	uriAbsSendTime  = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
	uriTimeOffset   = "urn:ietf:params:rtp-hdrext:toffset"
	uriTransportCC2 = "http://www.webrtc.org/experiments/rtp-hdrext/transport-wide-cc-02"
	uriEncrypt      = "urn:ietf:params:rtp-hdrext:encrypt"
)

var oneHop = []string{
	URIMid, URIRid, URIRepairedRid, URITransportCC, uriAbsSendTime, uriTimeOffset, uriTransportCC2, uriEncrypt,
}

// TravelsOn reports whether a header extension goes from the publisher to
// viewers, as far as both have it.
func TravelsOn(uri string) bool { return !slices.Contains(oneHop, uri) }
