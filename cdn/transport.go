package cdn

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/pion/dtls/v3/pkg/crypto/selfsign"
	"github.com/pion/ice/v4"
	"github.com/pion/transport/v5"
	"github.com/pion/transport/v5/stdnet"
	"github.com/pion/webrtc/v4"

	"github.com/deltacdn/delta/internal/egress"
	"github.com/deltacdn/delta/internal/icecheck"
	"github.com/deltacdn/delta/internal/pionnet"
	"github.com/deltacdn/delta/internal/port"
	"github.com/deltacdn/delta/internal/socket"
)

// socketBuffer is what is asked of the kernel for either direction of the UDP
// port. At 100 viewers of 2.5 Mbit/s it holds a tenth of a second.
const socketBuffer = 4 << 20

// transportState is the node's UDP port, which all its sessions share.
type transportState struct {
	net         transport.Net // of PeerConnections
	port        *port.Port
	mux         *sharedMux
	cert        webrtc.Certificate
	tls         tls.Certificate // the same
	fingerprint string          // of the certificate, as in a=fingerprint
	egress      *egress.Socket
	spare       sync.Pool // of *egress.Batch, for consumers that another node's workers serve
	// of the port's reader
	reply    *egress.Batch
	checks   *icecheck.Reader
	arrivals Arrivals
}

func listen(c Config) (*transportState, error) {
	t := &transportState{}
	network, err := t.setNetwork(c.Net)
	if err != nil {
		return nil, err
	}
	if t.cert, t.tls, err = newCertificate(); err != nil {
		return nil, err
	}
	prints, err := t.cert.GetFingerprints()
	if err != nil {
		return nil, err
	}
	t.fingerprint = prints[0].Algorithm + " " + strings.ToUpper(prints[0].Value)
	addr, err := resolve(c.Addr)
	if err != nil {
		return nil, err
	}
	sock, err := openSocket(network, addr)
	if err != nil {
		return nil, err
	}
	t.egress = egress.New(sock, c.Logger)
	t.spare.New = func() any { return t.egress.NewBatch() }
	t.reply, t.checks = t.egress.NewHastyBatch(), &icecheck.Reader{}
	t.port = port.New(sock, t.drained) // a closed socket is noticed by reading
	local, err := candidates(network, sock.LocalAddr().(*net.UDPAddr), c.PublicIPs)
	if err != nil {
		_ = t.port.Close()
		return nil, err
	}
	t.mux = &sharedMux{
		UDPMuxDefault: ice.NewUDPMuxDefault(ice.UDPMuxParams{
			UDPConn: t.port, Net: t.net, Logger: pionLogger{c.Logger}.NewLogger("mux"),
		}),
		candidates: local,
	}
	return t, nil
}

// setNetwork returns the network of the node's port, and has PeerConnections use
// the same one. Where that is the system's, pion has its own way to it, which
// knows the interfaces.
func (t *transportState) setNetwork(n Network) (Network, error) {
	if n == nil {
		n = SystemNetwork()
	}
	if !isSystem(n) {
		t.net = pionnet.New(n)
		return n, nil
	}
	var err error
	t.net, err = stdnet.NewNet()
	return n, err
}

func isSystem(n Network) bool {
	_, ok := n.(systemNetwork)
	return ok
}

// openSocket opens the node's port.
func openSocket(n Network, addr netip.AddrPort) (socket.Socket, error) {
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
	open := socket.Share
	if isSystem(n) { // nobody else has hold of the socket
		open = socket.Take
	}
	sock, err := open(conn)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return sock, nil
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

// newCertificate makes the one certificate of all the node's sessions: to make
// one for each would be a good part of a join.
func newCertificate() (webrtc.Certificate, tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return webrtc.Certificate{}, tls.Certificate{}, err
	}
	cert, err := selfsign.SelfSign(key)
	if err != nil {
		return webrtc.Certificate{}, tls.Certificate{}, err
	}
	parsed, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		return webrtc.Certificate{}, tls.Certificate{}, err
	}
	return webrtc.CertificateFromX509(key, parsed), cert, nil
}

// candidates returns the addresses under which clients reach the port. There are
// clients that try only the first one (FFmpeg's WHIP muxer), so it is one that most
// can reach: loopback addresses come last, IPv4 ahead of IPv6.
func candidates(network Network, local *net.UDPAddr, public []netip.Addr) ([]net.Addr, error) {
	var all []net.Addr
	add := func(ip net.IP) { all = append(all, &net.UDPAddr{IP: ip, Port: local.Port}) }
	if len(public) > 0 {
		for _, ip := range public {
			add(ip.Unmap().AsSlice())
		}
		return all, nil
	}
	if !local.IP.IsUnspecified() && local.IP != nil {
		add(local.IP)
		return all, nil
	}
	addrs, err := network.Addrs()
	if err != nil {
		return nil, err
	}
	addrs = slices.SortedStableFunc(slices.Values(addrs), func(a, b netip.Addr) int { return cmp.Compare(reach(a), reach(b)) })
	for _, ip := range addrs {
		if !ip.IsLinkLocalUnicast() {
			add(ip.Unmap().AsSlice())
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%w: no address to be reached at", ErrInvalid)
	}
	return all, nil
}

// reach orders addresses by how few clients reach them.
func reach(ip netip.Addr) (rank int) {
	ip = ip.Unmap()
	if ip.IsLoopback() {
		rank += 2
	}
	if !ip.Is4() {
		rank++
	}
	return rank
}

// sharedMux offers the node's public addresses as candidates, whatever address
// the socket is bound to: gathering is reading a list.
type sharedMux struct {
	*ice.UDPMuxDefault
	candidates []net.Addr
}

func (m *sharedMux) GetListenAddresses() []net.Addr { return m.candidates }

// GetConn returns the connection of ufrag. A mux bound to one address knows
// only that one; one bound to all looks at the family alone.
func (m *sharedMux) GetConn(ufrag string, addr net.Addr) (net.PacketConn, error) {
	if bound := m.UDPMuxDefault.LocalAddr().(*net.UDPAddr); !bound.IP.IsUnspecified() {
		addr = bound
	}
	return m.UDPMuxDefault.GetConn(ufrag, addr)
}
