// Package certificate has what DTLS needs of certificates: a new one for a node, and
// the fingerprints by which peers know each other's (RFC 8122).
package certificate

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"

	"github.com/pion/dtls/v3/pkg/crypto/fingerprint"
	"github.com/pion/dtls/v3/pkg/crypto/selfsign"
)

// New returns a self-signed certificate of a new key.
func New() (tls.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	cert, err := selfsign.SelfSign(key)
	return cert, key, err
}

// A Hash is a certificate fingerprint (RFC 8122 section 5).
type Hash struct {
	algorithm crypto.Hash
	value     string // "ab:cd:…"
}

// algorithms are those that are strong enough (RFC 8122 section 5.1).
var algorithms = []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512}

// ParseHash reads the value of a=fingerprint, such as "sha-256 AB:CD:…".
func ParseHash(s string) (Hash, error) {
	name, digest, _ := strings.Cut(strings.TrimSpace(s), " ")
	algorithm, err := fingerprint.HashFromString(strings.ToLower(name))
	if err != nil || !slices.Contains(algorithms, algorithm) {
		return Hash{}, fmt.Errorf("certificate: no fingerprint by SHA-256, SHA-384 or SHA-512: %.20q", s)
	}
	value := strings.ToLower(strings.TrimSpace(digest))
	if want := 3*algorithm.Size() - 1; len(value) != want {
		return Hash{}, fmt.Errorf("certificate: a fingerprint of %d characters, and not %d", len(value), want)
	}
	return Hash{algorithm: algorithm, value: strings.Clone(value)}, nil
}

// Of reports whether the hash is cert's.
func (h Hash) Of(cert *x509.Certificate) bool {
	have, err := fingerprint.Fingerprint(cert, h.algorithm)
	return err == nil && strings.EqualFold(have, h.value)
}

// Fingerprint returns the value of a=fingerprint for a certificate, by SHA-256.
func Fingerprint(cert *x509.Certificate) (string, error) {
	digest, err := fingerprint.Fingerprint(cert, crypto.SHA256)
	return "sha-256 " + digest, err
}
