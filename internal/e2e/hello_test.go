package delta_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	curves "github.com/pion/dtls/v3/pkg/crypto/elliptic"
	"github.com/pion/dtls/v3/pkg/crypto/fingerprint"
	"github.com/pion/dtls/v3/pkg/crypto/selfsign"
	"github.com/pion/dtls/v3/pkg/protocol/extension"
	"github.com/pion/dtls/v3/pkg/protocol/handshake"
	"github.com/pion/interceptor"
	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
)

// offerHybridShare has a client send the ClientHello of one that knows keys
// against quantum computers, as Firefox from 146 on: with a share of
// X25519MLKEM768 (an ML-KEM-768 key and an X25519 key, draft-ietf-tls-ecdhe-mlkem)
// it takes 1,400 bytes with its headers, and goes out in two datagrams. A server of
// DTLS 1.2 passes over the share.
func offerHybridShare(s *webrtc.SettingEngine, _ *webrtc.MediaEngine, _ *interceptor.Registry) error {
	shares := []extension.KeyShareEntry{
		{Group: 0x11ec, KeyExchange: make([]byte, 1184+32)}, // X25519MLKEM768
		{Group: curves.X25519, KeyExchange: make([]byte, 32)},
	}
	for _, s := range shares {
		_, _ = rand.Read(s.KeyExchange)
	}
	s.SetDTLSClientHelloMessageHook(func(m handshake.MessageClientHello) handshake.Message {
		m.Extensions = append(slices.Clone(m.Extensions), &extension.KeyShare{ClientShares: shares})
		return &m
	})
	return nil
}

// deliveries are what may become of the two datagrams of a client's first
// ClientHello. Those that follow arrive as they are.
var deliveries = []struct {
	name    string
	deliver func(fragments [][]byte) [][]byte
	lost    bool // the client has to send it again
}{
	{"in order", func(f [][]byte) [][]byte { return f }, false},
	{"reversed", func(f [][]byte) [][]byte { return [][]byte{f[1], f[0]} }, false},
	{"doubled", func(f [][]byte) [][]byte { return [][]byte{f[0], f[0], f[1], f[1]} }, false},
	{"first lost", func(f [][]byte) [][]byte { return f[1:] }, true},
	{"second lost", func(f [][]byte) [][]byte { return f[:1] }, true},
}

// A helloNetwork is a network whose sockets send each ClientHello in two datagrams,
// and the first one as deliver says.
type helloNetwork struct {
	cdn.Network
	deliver func(fragments [][]byte) [][]byte
	// holdUp is how late answers to checks go out at first, so that the address is
	// not proved yet when the ClientHello comes.
	holdUp time.Duration

	mu      sync.Mutex
	began   time.Time // the first answer
	flight  [][]byte  // fragments of the first ClientHello
	hellos  int       // that were sent
	longest int       // ClientHello, in bytes
}

func (n *helloNetwork) ListenUDP(addr netip.AddrPort) (net.PacketConn, error) {
	c, err := n.Network.ListenUDP(addr)
	return &helloConn{PacketConn: c, network: n}, err
}

type helloConn struct {
	net.PacketConn
	network *helloNetwork
}

func (c *helloConn) WriteTo(b []byte, to net.Addr) (int, error) {
	if isAnswer := len(b) > 1 && b[0] == 1 && b[1] == 1; isAnswer && c.network.holdsUp() {
		b := slices.Clone(b)
		time.AfterFunc(c.network.holdUp, func() { _, _ = c.PacketConn.WriteTo(b, to) })
		return len(b), nil
	}
	for _, datagram := range c.network.pass(b) {
		if _, err := c.PacketConn.WriteTo(datagram, to); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

func (n *helloNetwork) holdsUp() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.began.IsZero() {
		n.began = time.Now()
	}
	return time.Since(n.began) < n.holdUp
}

// Where things are in a handshake record (RFC 6347 sections 4.1 and 4.2.2).
const (
	epochAt, numberAt, recordLenAt      = 3, 7, 11
	messageAt, messageLenAt             = 13, 14
	fragmentAt, fragmentLenAt, fragment = 19, 22, 25
)

// pass returns what goes out in place of a datagram.
func (n *helloNetwork) pass(b []byte) [][]byte {
	if len(b) < recordLenAt+2 || b[0] < 20 || b[0] >= 64 {
		return [][]byte{b} // no DTLS
	}
	b = slices.Clone(b)
	renumber(b)
	if hello := b[0] == 22 && b[messageAt] == 1; !hello || binary.BigEndian.Uint16(b[epochAt:]) != 0 {
		return [][]byte{b}
	}
	fragments := split(b)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.longest = max(n.longest, uint24(b[messageLenAt:]))
	if n.hellos > 0 {
		return fragments
	}
	if n.flight = append(n.flight, fragments...); len(n.flight) < 2 {
		return nil
	}
	n.hellos++
	return n.deliver(n.flight)
}

// renumber doubles the numbers of records that are not encrypted, so that there is
// one free behind each.
func renumber(b []byte) {
	for len(b) > recordLenAt+2 {
		if binary.BigEndian.Uint16(b[epochAt:]) == 0 {
			binary.BigEndian.PutUint32(b[numberAt:], 2*binary.BigEndian.Uint32(b[numberAt:]))
		}
		b = b[min(len(b), messageAt+int(binary.BigEndian.Uint16(b[recordLenAt:]))):]
	}
}

// split returns the halves of a ClientHello, or one that was sent in parts as it is.
func split(b []byte) [][]byte {
	if uint24(b[fragmentLenAt:]) < uint24(b[messageLenAt:]) {
		return [][]byte{b}
	}
	body := b[fragment:]
	half := len(body) / 2
	var parts [][]byte
	for i, part := range [][]byte{body[:half], body[half:]} {
		p := append(slices.Clone(b[:fragment]), part...)
		binary.BigEndian.PutUint32(p[numberAt:], binary.BigEndian.Uint32(p[numberAt:])+uint32(i))
		binary.BigEndian.PutUint16(p[recordLenAt:], uint16(len(p)-messageAt))
		putUint24(p[fragmentAt:], i*half)
		putUint24(p[fragmentLenAt:], len(part))
		parts = append(parts, p)
	}
	return parts
}

// whole undoes split.
func whole(parts [][]byte) []byte {
	b := append(slices.Clone(parts[0]), parts[1][fragment:]...)
	binary.BigEndian.PutUint16(b[recordLenAt:], uint16(len(b)-messageAt))
	copy(b[fragmentLenAt:fragment], b[messageLenAt:])
	return b
}

func uint24(b []byte) int { return int(b[0])<<16 | int(b[1])<<8 | int(b[2]) }

func putUint24(b []byte, v int) { b[0], b[1], b[2] = byte(v>>16), byte(v>>8), byte(v) }

// A ClientHello that travels in two datagrams costs a viewer or a publisher no more
// than one that travels in one, however they arrive, and whether its address is
// proved by then or not. Where one of them is lost, it is as if a ClientHello were.
func TestClientHelloInTwoDatagrams(t *testing.T) {
	if peerConnections {
		t.Skip("a PeerConnection answers as the client of DTLS")
	}
	// Each connects a client by n, and returns how long that took.
	clients := map[string]func(t *testing.T, w *world, o *node, n cdn.Network) time.Duration{
		"viewer": func(t *testing.T, w *world, o *node, n cdn.Network) time.Duration {
			p := w.publish(o, "live", cdntest.Path{Delay: ms(10)}, cdntest.PublisherConfig{})
			require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
			begun := time.Now()
			v := cdntest.View(t, cdntest.ViewerConfig{
				Net: n, Tune: offerHybridShare, Dialer: w.dialer, URL: o.url() + "/whep/live", Stream: "live",
			})
			require.NoError(t, v.WaitConnected(w.within(10*time.Second)))
			took := time.Since(begun)
			require.NoError(t, v.WaitFrames(w.within(5*time.Second), 30))
			return took
		},
		"publisher": func(t *testing.T, w *world, o *node, n cdn.Network) time.Duration {
			begun := time.Now()
			p := w.publishFrom(o, "live", cdntest.PublisherConfig{Net: n, Tune: offerHybridShare})
			require.NoError(t, p.WaitConnected(w.within(10*time.Second)))
			took := time.Since(begun)
			v := w.view(o, "live", "viewer", cdntest.Path{}, cdntest.ViewerConfig{})
			require.NoError(t, v.WaitFrames(w.within(5*time.Second), 30))
			return took
		},
	}
	for who, connect := range clients {
		connected := func(t *testing.T, deliver func([][]byte) [][]byte, holdUp time.Duration) (took time.Duration) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				path := cdntest.Path{Delay: ms(10)}
				o := w.origin("origin", path, origin.Config{})
				n := &helloNetwork{Network: w.network.Host("client", path).Net(), deliver: deliver, holdUp: holdUp}
				took = connect(t, w, o, n)
				require.Greater(t, n.longest, 1380)
				require.Equal(t, 1, n.hellos)
			})
			return took
		}
		for late, holdUp := range lateness {
			atOnce := connected(t, inOne, holdUp)
			for _, d := range deliveries {
				t.Run(who+", "+d.name+late, func(t *testing.T) {
					if d.lost {
						require.LessOrEqual(t, connected(t, d.deliver, holdUp), atOnce+time.Second, "pion's client sends it again")
						return
					}
					require.Equal(t, atOnce, connected(t, d.deliver, holdUp))
				})
			}
		}
	}
}

// lateness is for how long the address is not proved.
var lateness = map[string]time.Duration{"": 0, ", ahead of the proof of its address": ms(100)}

func inOne(fragments [][]byte) [][]byte { return [][]byte{whole(fragments)} }

// The same between nodes that know each other by their certificates alone: then the
// address of the one that dials is not proved when its ClientHello comes.
func TestClientHelloInTwoDatagramsBetweenNodes(t *testing.T) {
	needLinks(t)
	trust := pinned(t)
	trusting := func(c *cdn.Config) { c.Trust = trust }
	// up returns how long a link takes to come up if the ClientHello travels so.
	up := func(deliver func([][]byte) [][]byte, holdUp time.Duration) (took time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			path := cdntest.Path{Delay: ms(10)}
			o := w.origin("origin", path, origin.Config{}, trusting)
			n := &helloNetwork{deliver: deliver, holdUp: holdUp}
			e := w.node("edge", path, trusting, func(c *cdn.Config) { n.Network, c.Net = c.Net, n })
			w.fetch(e, o)
			w.serveViewers(e, e.relay, edge.Config{})
			begun := time.Now()
			go func() { _, _ = e.relay.Open(w.within(time.Second), cdn.Request{Stream: "live"}) }()
			for event := range w.events {
				if _, ok := event.(cdn.LinkUp); ok {
					break
				}
			}
			took = time.Since(begun)
			require.Equal(t, 1, n.hellos)
		})
		return took
	}
	for late, holdUp := range lateness {
		atOnce := up(inOne, holdUp)
		for _, d := range deliveries {
			t.Run(d.name+late, func(t *testing.T) {
				took := up(d.deliver, holdUp)
				if d.lost {
					require.LessOrEqual(t, took, atOnce+ms(150), "it is sent again")
					return
				}
				require.Equal(t, atOnce, took)
			})
		}
	}
}

// pinned returns the trust of nodes that share a certificate, and have nothing else
// to know each other by.
func pinned(t *testing.T) cdn.Trust {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	cert, err := selfsign.SelfSign(key)
	require.NoError(t, err)
	parsed, err := x509.ParseCertificate(cert.Certificate[0])
	require.NoError(t, err)
	pin, err := fingerprint.Fingerprint(parsed, crypto.SHA256)
	require.NoError(t, err)
	return cdn.Trust{Certificate: &cert, Pins: []string{"sha-256 " + pin}}
}
