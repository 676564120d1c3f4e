package lite

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/dtls/v3/pkg/crypto/fingerprint"
	"github.com/pion/logging"
	"github.com/pion/srtp/v3"
	"github.com/pion/transport/v4/packetio"
)

// flightInterval is when an unanswered DTLS flight goes out again for the first
// time. What is lost costs the viewer that much of its first picture.
const flightInterval = 150 * time.Millisecond

// maxQueued bounds the records that wait for the handshake.
const maxQueued = 64

// profiles are the protection profiles that we take, the cheapest first.
var profiles = []dtls.SRTPProtectionProfile{
	dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AEAD_AES_256_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80,
}

var srtpProfiles = map[dtls.SRTPProtectionProfile]srtp.ProtectionProfile{
	dtls.SRTP_AEAD_AES_128_GCM:       srtp.ProtectionProfileAeadAes128Gcm,
	dtls.SRTP_AEAD_AES_256_GCM:       srtp.ProtectionProfileAeadAes256Gcm,
	dtls.SRTP_AES128_CM_HMAC_SHA1_80: srtp.ProtectionProfileAes128CmHmacSha1_80,
}

// pipe is the connection that DTLS sees: its records come from the node's one
// reader and go to wherever the viewer is now.
type pipe struct {
	in    *packetio.Buffer
	out   func(record []byte) error
	muted atomic.Bool

	mu     sync.Mutex
	flight [][]byte // what was written since a record came
	over   bool     // a record has come since
}

// nowhere is the address that DTLS is told: it is the session that knows.
var nowhere = &net.UDPAddr{}

func newPipe(out func([]byte) error) *pipe {
	p := &pipe{in: packetio.NewBuffer(), out: out}
	p.in.SetLimitCount(maxQueued)
	return p
}

// put takes a record that came. When too many wait it is lost, as on the way.
func (p *pipe) put(record []byte) {
	p.mu.Lock()
	p.over = true
	p.mu.Unlock()
	_, _ = p.in.Write(record)
}

// repeat sends the last flight again. The other side drops what it has already
// (RFC 6347 section 4.1.2.6).
func (p *pipe) repeat() {
	p.mu.Lock()
	flight := p.flight
	p.mu.Unlock()
	for _, b := range flight {
		_ = p.out(b)
	}
}

func (p *pipe) ReadFrom(b []byte) (int, net.Addr, error) {
	n, err := p.in.Read(b)
	return n, nowhere, err
}

func (p *pipe) WriteTo(b []byte, _ net.Addr) (int, error) {
	if p.muted.Load() {
		return len(b), nil
	}
	p.mu.Lock()
	if p.over {
		p.flight, p.over = nil, false
	}
	p.flight = append(p.flight, append([]byte(nil), b...))
	p.mu.Unlock()
	return len(b), p.out(b)
}

func (p *pipe) Close() error                       { return p.in.Close() }
func (p *pipe) LocalAddr() net.Addr                { return nowhere }
func (p *pipe) SetReadDeadline(t time.Time) error  { return p.in.SetReadDeadline(t) }
func (p *pipe) SetDeadline(t time.Time) error      { return p.in.SetReadDeadline(t) }
func (p *pipe) SetWriteDeadline(_ time.Time) error { return nil }

// keys are what a handshake leaves: the SRTP contexts, and the state from which
// the DTLS connection can be made again.
type keys struct {
	state   dtls.State // when it was set aside
	out, in *srtp.Context
	sources []uint32 // whose RTCP was authentic
}

// maxSources bounds from how many SSRCs a viewer may send RTCP: in, which keeps
// something for each, is not to grow.
const maxSources = 16

// admits reports whether an SRTCP packet may be looked at.
func (k *keys) admits(packet []byte) bool {
	return len(packet) >= 8 && (len(k.sources) < maxSources || slices.Contains(k.sources, binary.BigEndian.Uint32(packet[4:])))
}

// admit notes whose an authentic SRTCP packet was.
func (k *keys) admit(packet []byte) {
	if ssrc := binary.BigEndian.Uint32(packet[4:]); !slices.Contains(k.sources, ssrc) {
		k.sources = append(k.sources, ssrc)
	}
}

// protected reports whether all records of a datagram are encrypted, and so will
// be authenticated. pion/dtls acts on others, too, long after the handshake. With
// resent it lets a flight of the handshake through that is sent again.
func protected(datagram []byte, resent bool) bool {
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

// shake is the handshake, as DTLS server: the viewer's certificate has to have
// one of the fingerprints. ICE has proved the address, so there is no cookie.
func shake(ctx context.Context, p *pipe, cert tls.Certificate, want []hash, log logging.LoggerFactory) (*dtls.Conn, *keys, error) {
	conn, err := dtls.ServerWithOptions(p, nowhere,
		dtls.WithCertificates(cert),
		dtls.WithSRTPProtectionProfiles(profiles...),
		dtls.WithExtendedMasterSecret(dtls.RequestExtendedMasterSecret),
		dtls.WithClientAuth(dtls.RequireAnyClientCert),
		dtls.WithInsecureSkipVerify(true), // the fingerprint says whose it is (RFC 8827 section 5)
		dtls.WithVerifyPeerCertificate(verify(want)),
		dtls.WithInsecureSkipVerifyHello(true),
		dtls.WithFlightInterval(flightInterval),
		dtls.WithLoggerFactory(log),
	)
	if err != nil {
		return nil, nil, err
	}
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, nil, err
	}
	k, err := export(conn)
	if err != nil {
		_ = conn.Close()
		return nil, nil, err
	}
	return conn, k, nil
}

var errFingerprint = errors.New("lite: the certificate has another fingerprint than the offer")

func verify(want []hash) func([][]byte, [][]*x509.Certificate) error {
	return func(raw [][]byte, _ [][]*x509.Certificate) error {
		if len(raw) == 0 {
			return errFingerprint
		}
		cert, err := x509.ParseCertificate(raw[0])
		if err != nil {
			return err
		}
		ok := slices.ContainsFunc(want, func(h hash) bool {
			have, err := fingerprint.Fingerprint(cert, h.algorithm)
			return err == nil && strings.EqualFold(have, h.value)
		})
		if !ok {
			return errFingerprint
		}
		return nil
	}
}

// export makes the SRTP contexts of what was agreed (RFC 5764 section 4.2).
func export(conn *dtls.Conn) (*keys, error) {
	k := &keys{}
	state, ok := conn.ConnectionState()
	if !ok {
		return nil, dtls.ErrConnClosed
	}
	agreed, _ := conn.SelectedSRTPProtectionProfile()
	profile, ok := srtpProfiles[agreed]
	if !ok {
		return nil, fmt.Errorf("lite: no SRTP protection profile in common")
	}
	c := srtp.Config{Profile: profile}
	err := c.ExtractSessionKeysFromDTLS(&state, false)
	if err != nil {
		return nil, err
	}
	if k.out, err = srtp.CreateContext(c.Keys.LocalMasterKey, c.Keys.LocalMasterSalt, profile); err != nil {
		return nil, err
	}
	k.in, err = srtp.CreateContext(c.Keys.RemoteMasterKey, c.Keys.RemoteMasterSalt, profile, srtp.SRTCPReplayProtection(64))
	return k, err
}

// resume makes the DTLS connection again that was set aside.
func (k *keys) resume(p *pipe, cert tls.Certificate, log logging.LoggerFactory) (*dtls.Conn, error) {
	state := k.state
	conn, err := dtls.ResumeWithOptions(&state, p, nowhere,
		dtls.WithCertificates(cert), dtls.WithInsecureSkipVerify(true), dtls.WithLoggerFactory(log))
	if err != nil {
		return nil, err
	}
	return conn, conn.Handshake() // there is none; it starts reading
}

// sayGoodbye sends a close_notify.
func (k *keys) sayGoodbye(p *pipe, cert tls.Certificate, log logging.LoggerFactory) {
	if conn, err := k.resume(p, cert, log); err == nil {
		_ = conn.Close()
	}
}
