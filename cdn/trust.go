package cdn

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"

	"github.com/deltacdn/delta/internal/endpoint/certificate"
)

// Trust says by what the nodes of a CDN know each other. Another node is
// trusted that proves any one of what is set here: that it knows Secret, that it
// has a certificate of Pins, or one that CAs vouch for. Where nothing is set,
// nodes are let in from loopback addresses only, unless they come through a
// proxy. Who fetches stream by stream, without a link, can only prove that it
// knows Secret: where other things are set, an [Authorizer] has to let it in.
//
// Whatever proves it, the other node's certificate is bound to it by the DTLS
// handshake, and this node proves itself to the other in the same way.
type Trust struct {
	// Certificate is what this node shows other nodes. If nil, one that it makes
	// when it starts, which only Secret can vouch for.
	Certificate *tls.Certificate
	// Secret is known to all nodes, and to nobody else. It does not travel, but
	// who sees a node's signaling can try guesses against it: 16 random bytes or
	// more are safe. The clocks of two nodes may be two minutes apart at most. If
	// empty, none.
	Secret string
	// RequireTime refuses links to nodes whose proof of Secret does not say when it
	// was made, as that of older versions of Delta does not. Such a proof, too, is
	// taken once only, but a node that is started anew does not know that.
	RequireTime bool
	// Pins are fingerprints of other nodes' certificates, whatever those call
	// themselves, as SDP writes them: "sha-256 AB:CD:…" (RFC 8122 section 5).
	Pins []string
	// CAs sign the certificates of nodes. The certificate has to name the node's
	// [NodeID], as a DNS name or as the subject's common name.
	CAs *x509.CertPool
}

// Open reports whether nothing is set by which another node could prove itself.
func (t Trust) Open() bool { return t.Secret == "" && len(t.Pins) == 0 && t.CAs == nil }

func (t Trust) check() error {
	for _, pin := range t.Pins {
		if _, err := certificate.ParseHash(pin); err != nil {
			return fmt.Errorf("%w: pin: %w", ErrInvalid, err)
		}
	}
	if t.Certificate != nil && len(t.Certificate.Certificate) == 0 {
		return fmt.Errorf("%w: a certificate of nothing", ErrInvalid)
	}
	return nil
}
