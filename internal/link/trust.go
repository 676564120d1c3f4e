package link

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/dtlssrtp"
)

// proof shows knowledge of the secret for a description: of its fingerprint,
// and so, once DTLS has shown that the sender has the certificate's key, of the
// sender itself. An offer that somebody else sends again is of no use to him.
func proof(secret string, context, description []byte) []byte {
	mac := hmac.New(sha256.New, []byte(secret))
	_, _ = mac.Write([]byte("delta link\x00")) // it does not fail
	_, _ = mac.Write(binary.BigEndian.AppendUint32(nil, uint32(len(context))))
	_, _ = mac.Write(context)
	_, _ = mac.Write(description)
	return mac.Sum(nil)
}

func proves(secret string, context, description, given []byte) bool {
	return hmac.Equal(proof(secret, context, description), given)
}

// admit decides on a node that asks or answers, before DTLS. What is left for
// DTLS to find out is in the function returned, nil: nothing. loopback says that
// the node is on this machine.
func admit(t cdn.Trust, r remote, proved, loopback bool) (func([]*x509.Certificate) error, error) {
	pinned := func(pin string) bool {
		h, err := dtlssrtp.ParseHash(pin)
		return err == nil && h == r.hash
	}
	switch {
	case proved, slices.ContainsFunc(t.Pins, pinned), t.Open() && loopback:
		return nil, nil
	case t.CAs != nil:
		return vouched(t.CAs, r.node), nil
	case t.Open():
		return nil, fmt.Errorf("%w: nodes from elsewhere are not let in, since no secret, pin or CA is configured", cdn.ErrUnauthorized)
	}
	return nil, fmt.Errorf("%w: node %s is not known here", cdn.ErrUnauthorized, r.node)
}

// vouched checks that a certificate is by one of cas and names the node.
func vouched(cas *x509.CertPool, node cdn.NodeID) func([]*x509.Certificate) error {
	return func(chain []*x509.Certificate) error {
		between := x509.NewCertPool()
		for _, c := range chain[1:] {
			between.AddCert(c)
		}
		_, err := chain[0].Verify(x509.VerifyOptions{
			Roots: cas, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
		})
		if err != nil {
			return fmt.Errorf("%w: %w", cdn.ErrUnauthorized, err)
		}
		if chain[0].Subject.CommonName != string(node) && !slices.Contains(chain[0].DNSNames, string(node)) {
			return fmt.Errorf("%w: the certificate does not name node %s", cdn.ErrUnauthorized, node)
		}
		return nil
	}
}

// IsLoopback reports whether a signaling client is on this machine. Without an
// address it may be anywhere.
func IsLoopback(addr string) bool {
	a, err := netip.ParseAddrPort(addr)
	return err == nil && a.Addr().Unmap().IsLoopback()
}
