package link

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/link/once"
	"github.com/deltacdn/delta/internal/trouble"
)

// proof returns the MAC that shows knowledge of the secret. It covers the description
// with its fingerprint, and so, once DTLS has shown that the sender has the
// certificate's key, the sender itself. A replayed offer is refused ([proofs]), and no
// link would come of it.
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

const (
	// proofAge is how far the time of an offer may be from this node's: clocks differ.
	proofAge = 2 * time.Minute
	// untimedFor is how long an offer without a time is remembered.
	untimedFor = 24 * time.Hour
	// maxProofs bounds the remembered offers of either kind. Only nodes that know the
	// secret can make them.
	maxProofs = 10_000
)

// proofs remembers the offers that were accepted. Each costs a half-open link until that
// times out, so an offer that was overheard must not count again.
type proofs struct {
	timed, untimed once.Set
}

func newProofs() *proofs {
	return &proofs{
		timed:   once.Set{For: 2 * proofAge, Max: maxProofs},
		untimed: once.Set{For: untimedFor, Max: maxProofs},
	}
}

// take returns nil for an offer with a good proof that is recent and new. An offer
// without a time is accepted unless the time is required.
func (p *proofs) take(now time.Time, r remote, requireTime bool) error {
	seen := &p.timed
	switch {
	case r.made.IsZero() && requireTime:
		return fmt.Errorf("%w: the offer of node %s does not say when it was made", cdn.ErrUnauthorized, r.node)
	case r.made.IsZero():
		seen = &p.untimed
	case now.Sub(r.made).Abs() > proofAge:
		return fmt.Errorf("%w: %w, or the offer of node %s is an old one: it is from %v",
			cdn.ErrUnauthorized, &trouble.ClockError{Ahead: r.made.Sub(now)}, r.node, r.made.UTC().Format(time.RFC3339))
	}
	if !seen.Take(now, r.proof) {
		return fmt.Errorf("%w: the offer of node %s has been used", cdn.ErrUnauthorized, r.node)
	}
	return nil
}

// admit decides on a node that offers or answers, before DTLS. It returns what has to be
// verified of the certificates besides the fingerprint, or nil. loopback says that the
// node is on this machine.
func admit(t cdn.Trust, r remote, proved, loopback bool) (func([]*x509.Certificate) error, error) {
	switch {
	case proved, slices.ContainsFunc(t.Pins, r.Is), t.Open() && loopback:
		return nil, nil
	case t.CAs != nil:
		return vouched(t.CAs, r.node), nil
	case t.Open():
		return nil, fmt.Errorf("%w: nodes from elsewhere are not let in, since no secret, pin or CA is configured", cdn.ErrUnauthorized)
	}
	return nil, fmt.Errorf("%w: node %s is not known here", cdn.ErrUnauthorized, r.node)
}

// errFingerprint says that the other node has another certificate than it signaled.
var errFingerprint = errors.New("the certificate has another fingerprint than was signaled")

// verifier returns a function that verifies the certificates of the other node: the
// fingerprint, and more unless that is nil.
func (r remote) verifier(more func([]*x509.Certificate) error) func([]*x509.Certificate) error {
	return func(chain []*x509.Certificate) error {
		if !r.Shows(chain[0]) {
			return fmt.Errorf("%w: %w: %w", trouble.ErrUntrusted, cdn.ErrUnauthorized, errFingerprint)
		}
		if more == nil {
			return nil
		}
		if err := more(chain); err != nil {
			return fmt.Errorf("%w: %w", trouble.ErrUntrusted, err)
		}
		return nil
	}
}

// vouched returns a function that verifies that a certificate is issued by one of cas
// and names the node.
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

// IsLoopback reports whether a signaling client is on this machine. It is false for an
// address that is not known.
func IsLoopback(addr string) bool {
	a, err := netip.ParseAddrPort(addr)
	return err == nil && a.Addr().Unmap().IsLoopback()
}
