package cdn

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pion/transport/v5"
	"github.com/pion/transport/v5/stdnet"
	"github.com/pion/webrtc/v4"

	"github.com/deltacdn/delta/internal/endpoint/certificate"
	"github.com/deltacdn/delta/internal/pc/setting"
	"github.com/deltacdn/delta/internal/udp/binding"
	"github.com/deltacdn/delta/internal/udp/egress"
	"github.com/deltacdn/delta/internal/udp/icetcp"
	"github.com/deltacdn/delta/internal/udp/pionnet"
	"github.com/deltacdn/delta/internal/udp/port"
	"github.com/deltacdn/delta/internal/udp/socket"
)

// socketBuffer is what is asked of the kernel for either direction of the UDP
// port. At 100 viewers of 2.5 Mbit/s it holds a tenth of a second.
const socketBuffer = 4 << 20

// transportState is the node's UDP port, which all its sessions share.
type transportState struct {
	network     Network
	net         transport.Net // the same, for PeerConnections
	port        *port.Port
	tcp         *icetcp.Listener           // for clients without UDP; nil: there is none
	passive     atomic.Pointer[[]net.Addr] // where it is reached; what it points at is not changed
	mux         *setting.Mux               // of PeerConnections
	cert        webrtc.Certificate
	tls         tls.Certificate // the same
	fingerprint string          // of the certificate, as in a=fingerprint
	egress      *egress.Socket
	// of the port's reader
	reply    *egress.Batch
	arrivals Arrivals
	// plain Binding requests of the present second
	bindings      int
	bindingsSince time.Time
}

// listen opens the node's ports.
func listen(c Config) (*transportState, error) {
	t := &transportState{}
	if err := t.setNetwork(c.Net); err != nil {
		return nil, err
	}
	if err := t.makeIdentity(); err != nil {
		return nil, err
	}
	if err := t.listenUDP(c); err != nil {
		return nil, err
	}
	all, err := t.reached(c)
	if err != nil {
		_ = t.port.Close()
		return nil, err
	}
	t.mux = setting.NewMux(t.port, t.net, pionLogger{c.Logger})
	t.offer(all)
	return t, nil
}

// makeIdentity makes the certificate.
func (t *transportState) makeIdentity() (err error) {
	if t.cert, t.tls, err = newCertificate(); err != nil {
		return err
	}
	prints, err := t.cert.GetFingerprints()
	if err != nil {
		return err
	}
	t.fingerprint = prints[0].Algorithm + " " + strings.ToUpper(prints[0].Value)
	return nil
}

// listenUDP opens the UDP port.
func (t *transportState) listenUDP(c Config) error {
	addr, err := resolve(c.Addr)
	if err != nil {
		return err
	}
	sock, err := openSocket(t.network, addr)
	if err != nil {
		return err
	}
	t.egress = egress.New(sock, c.Logger)
	t.reply = t.egress.NewNonblockingBatch()
	t.port = port.New(sock, t.drained, t.answerBinding)
	return nil
}

// reached opens the port for clients without UDP, if there is to be one, and returns the
// addresses under which clients reach the ports.
func (t *transportState) reached(c Config) (reached, error) {
	if err := t.listenTCP(c.TCPAddr); err != nil {
		return reached{}, err
	}
	return t.candidates(c.PublicIPs)
}

// listenTCP opens the port for clients without UDP, if there is to be one.
func (t *transportState) listenTCP(address string) error {
	if address == "" {
		return nil
	}
	n, ok := t.network.(TCPNetwork)
	if !ok {
		return fmt.Errorf("%w: a TCP address, on a network that cannot listen for connections", ErrInvalid)
	}
	addr, err := resolve(address)
	if err != nil {
		return err
	}
	l, err := n.ListenTCP(addr)
	if err != nil {
		return err
	}
	if _, ok := l.Addr().(*net.TCPAddr); !ok {
		_ = l.Close()
		return fmt.Errorf("%w: a listener at %v, which is no TCP address", ErrInvalid, l.Addr())
	}
	t.tcp = t.port.ListenTCP(l)
	t.egress.SendTCP(t.tcp)
	return nil
}

// setNetwork sets the network of the node's ports, and has PeerConnections use
// the same one. Where that is the system's, pion has its own way to it, which
// knows the interfaces.
func (t *transportState) setNetwork(n Network) (err error) {
	if n == nil {
		n = SystemNetwork()
	}
	t.network = n
	if isSystem(n) {
		t.net, err = stdnet.NewNet()
		return err
	}
	t.net = pionnet.New(n)
	return nil
}

func isSystem(n Network) bool {
	_, ok := n.(systemNetwork)
	return ok
}

// openSocket opens the node's port.
func openSocket(n Network, addr netip.AddrPort) (*socket.Socket, error) {
	conn, err := n.ListenUDP(addr)
	if err != nil {
		return nil, err
	}
	if _, ok := conn.LocalAddr().(*net.UDPAddr); !ok {
		_ = conn.Close()
		return nil, fmt.Errorf("%w: a socket at %v, which is no UDP address", ErrInvalid, conn.LocalAddr())
	}
	// Refused only where the system allows less: then it gives what it allows.
	if c, ok := conn.(interface{ SetReadBuffer(bytes int) error }); ok {
		_ = c.SetReadBuffer(socketBuffer)
	}
	if c, ok := conn.(interface{ SetWriteBuffer(bytes int) error }); ok {
		_ = c.SetWriteBuffer(socketBuffer)
	}
	sock, err := socket.Open(conn)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return sock, nil
}

// maxBindings is how many plain Binding requests are answered a second: other nodes
// send a few.
const maxBindings = 1000

// answerBinding answers those who measure the round trip to this node. The port's
// reader calls it.
func (t *transportState) answerBinding(request []byte, from netip.AddrPort) []byte {
	if now := time.Now(); now.Sub(t.bindingsSince) >= time.Second {
		t.bindingsSince, t.bindings = now, 0
	}
	if t.bindings++; t.bindings > maxBindings {
		return nil
	}
	answer, _ := binding.Answer(request, from)
	return answer
}

// drained is the end of what the port's reader has read together.
func (t *transportState) drained() {
	t.arrivals.Flush()
	_ = t.reply.Flush() // a closed socket is noticed by reading
}

func (t *transportState) close() error { return t.mux.Close() }

func (t *transportState) egressStats() EgressStats {
	s := t.egress.Stats()
	return EgressStats{
		Mode: t.egress.Mode().String(), Datagrams: s.Datagrams, Messages: s.Messages, Calls: s.Calls, Full: s.Full, Dropped: s.Dropped,
	}
}

func (t *transportState) tcpStats() TCPStats {
	if t.tcp == nil {
		return TCPStats{}
	}
	s := t.tcp.Stats()
	return TCPStats{
		Addr: t.tcp.Addr().String(), Clients: s.Clients, HalfOpen: s.HalfOpen, Waiting: s.Waiting, Accepted: s.Accepted,
		Refused: s.Evicted + s.Silent + s.Unknown + s.Malformed, Stalled: s.Stalled, Full: s.Full, Late: s.Late,
	}
}

// newCertificate makes the one certificate of all the node's sessions: to make
// one for each would be a good part of a join.
func newCertificate() (webrtc.Certificate, tls.Certificate, error) {
	cert, key, err := certificate.New()
	if err != nil {
		return webrtc.Certificate{}, tls.Certificate{}, err
	}
	parsed, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		return webrtc.Certificate{}, tls.Certificate{}, err
	}
	return webrtc.CertificateFromX509(key, parsed), cert, nil
}
