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
	"sync/atomic"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/dtlssrtp"
	"github.com/deltacdn/delta/internal/once"
)

// proof shows knowledge of the secret for a description: of its fingerprint,
// and so, once DTLS has shown that the sender has the certificate's key, of the
// sender itself. Somebody else who sends an offer again gets no link by it, and is
// refused ([proofs]).
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
	// proofAge is how far an offer that says when it was made may be from this
	// node's time: clocks differ.
	proofAge = 2 * time.Minute
	// untimedFor is how long an offer that does not say is remembered.
	untimedFor = 24 * time.Hour
	// maxProofs is how many offers of either kind are remembered. Only nodes that
	// know the secret can make them.
	maxProofs = 10_000
)

// proofs are those of the offers that were taken. An offer costs a link for as long
// as it takes to connect, so one that was seen on its way could be sent again and
// again.
type proofs struct {
	timed, untimed once.Set
	warned         atomic.Int64 // when a difference of clocks was last logged, Unix seconds
}

func newProofs() *proofs {
	return &proofs{
		timed:   once.Set{For: 2 * proofAge, Max: maxProofs},
		untimed: once.Set{For: untimedFor, Max: maxProofs},
	}
}

// take returns nil for an offer that is proved, of now, and new. One that does not
// say when it was made is taken unless that is required.
func (p *proofs) take(now time.Time, r remote, requireTime bool) error {
	seen := &p.timed
	switch {
	case r.made.IsZero() && requireTime:
		return fmt.Errorf("%w: the offer of node %s does not say when it was made", cdn.ErrUnauthorized, r.node)
	case r.made.IsZero():
		seen = &p.untimed
	case now.Sub(r.made).Abs() > proofAge:
		return fmt.Errorf("%w: %w: the offer of node %s is from %v", cdn.ErrUnauthorized, errClocks, r.node, r.made.UTC().Format(time.RFC3339))
	}
	if !seen.Take(now, r.proof) {
		return fmt.Errorf("%w: the offer of node %s has been used", cdn.ErrUnauthorized, r.node)
	}
	return nil
}

var errClocks = errors.New("the clocks of the two nodes differ, or the offer is an old one")

// warn reports whether a difference of clocks is to be logged: once a minute.
func (p *proofs) warn(now time.Time) bool {
	last := p.warned.Load()
	return now.Unix()-last >= 60 && p.warned.CompareAndSwap(last, now.Unix())
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
