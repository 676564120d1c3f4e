// Package dtlssrtp is the DTLS-SRTP handshake (RFC 5764) over a socket that its user
// reads, and the sealing and opening of packets with the keys agreed on.
package dtlssrtp

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/logging"
	"github.com/pion/srtp/v3"

	"github.com/deltacdn/delta/internal/endpoint/certificate"
)

// flightInterval is the time after which an unanswered flight is sent again. A lost
// flight delays the first frame by as much.
const flightInterval = 150 * time.Millisecond

// profiles are the protection profiles that we accept, the cheapest first.
var profiles = []dtls.SRTPProtectionProfile{
	dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AEAD_AES_256_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80,
}

var srtpProfiles = map[dtls.SRTPProtectionProfile]srtp.ProtectionProfile{
	dtls.SRTP_AEAD_AES_128_GCM:       srtp.ProtectionProfileAeadAes128Gcm,
	dtls.SRTP_AEAD_AES_256_GCM:       srtp.ProtectionProfileAeadAes256Gcm,
	dtls.SRTP_AES128_CM_HMAC_SHA1_80: srtp.ProtectionProfileAes128CmHmacSha1_80,
}

// Config is the configuration of a handshake.
type Config struct {
	// Client begins; otherwise this side waits for the other's ClientHello.
	Client      bool
	Certificate tls.Certificate // ours
	// Peer are the fingerprints of which the other side's certificate must have
	// one (RFC 8827 section 5).
	Peer []certificate.Hash
	// Verify, if not nil, may refuse a certificate chain. Without Peer it decides alone.
	Verify func(chain []*x509.Certificate) error
	Log    logging.LoggerFactory
}

// ErrFingerprint says that the other side has another certificate than it signaled.
var ErrFingerprint = errors.New("dtlssrtp: the certificate has another fingerprint than was signaled")

// Handshake connects over p until ctx ends. Both sides show certificates. There is no
// cookie exchange, since ICE proves addresses.
func Handshake(ctx context.Context, p *Pipe, c Config) (*dtls.Conn, error) {
	conn, err := c.open(p)
	if err != nil {
		return nil, err
	}
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

func (c Config) open(p *Pipe) (*dtls.Conn, error) {
	if c.Client {
		return dtls.ClientWithOptions(p, nowhere,
			dtls.WithCertificates(c.Certificate),
			dtls.WithSRTPProtectionProfiles(profiles...),
			dtls.WithExtendedMasterSecret(dtls.RequireExtendedMasterSecret),
			dtls.WithInsecureSkipVerify(true), // the fingerprint says whose it is
			dtls.WithVerifyPeerCertificate(c.verify),
			dtls.WithFlightInterval(flightInterval),
			dtls.WithLoggerFactory(c.Log),
		)
	}
	return dtls.ServerWithOptions(p, nowhere,
		dtls.WithCertificates(c.Certificate),
		dtls.WithSRTPProtectionProfiles(profiles...),
		dtls.WithExtendedMasterSecret(dtls.RequestExtendedMasterSecret),
		dtls.WithClientAuth(dtls.RequireAnyClientCert),
		dtls.WithInsecureSkipVerify(true), // the fingerprint says whose it is
		dtls.WithVerifyPeerCertificate(c.verify),
		dtls.WithInsecureSkipVerifyHello(true),
		dtls.WithFlightInterval(flightInterval),
		dtls.WithLoggerFactory(c.Log),
	)
}

func (c Config) verify(raw [][]byte, _ [][]*x509.Certificate) error {
	if len(raw) == 0 {
		return ErrFingerprint
	}
	chain := make([]*x509.Certificate, len(raw))
	for i, der := range raw {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return err
		}
		chain[i] = cert
	}
	switch {
	case (len(c.Peer) > 0 || c.Verify == nil) && !slices.ContainsFunc(c.Peer, func(h certificate.Hash) bool { return h.Of(chain[0]) }):
		return ErrFingerprint
	case c.Verify != nil:
		return c.Verify(chain)
	}
	return nil
}

// Keys make the SRTP contexts of a connection (RFC 5764 section 4.2).
type Keys struct {
	profile srtp.ProtectionProfile
	keys    srtp.SessionKeys
}

// Export returns the keys that the two sides of a connection have agreed on.
func Export(conn *dtls.Conn, client bool) (Keys, error) {
	state, ok := conn.ConnectionState()
	if !ok {
		return Keys{}, dtls.ErrConnClosed
	}
	agreed, _ := conn.SelectedSRTPProtectionProfile()
	profile, ok := srtpProfiles[agreed]
	if !ok {
		return Keys{}, fmt.Errorf("dtlssrtp: no SRTP protection profile in common")
	}
	c := srtp.Config{Profile: profile}
	if err := c.ExtractSessionKeysFromDTLS(&state, client); err != nil {
		return Keys{}, err
	}
	return Keys{profile: profile, keys: c.Keys}, nil
}

// Protected reports whether all records of a datagram are encrypted, and so will be
// authenticated: pion/dtls acts on others, too, long after the handshake. With resent,
// records of a handshake that is sent again are allowed.
func Protected(datagram []byte, resent bool) bool {
	const header, changeCipherSpec, handshake = 13, 20, 22 // RFC 6347 section 4.1
	for len(datagram) > 0 {
		if len(datagram) < header {
			return false
		}
		kind, epoch, n := datagram[0], binary.BigEndian.Uint16(datagram[3:]), int(binary.BigEndian.Uint16(datagram[11:]))
		flight := resent && (kind == changeCipherSpec || kind == handshake)
		if epoch == 0 && !flight || len(datagram) < header+n {
			return false
		}
		datagram = datagram[header+n:]
	}
	return true
}
