package cdntest

import (
	"encoding/binary"
	"net/netip"

	"github.com/pion/transport/v5"
	"github.com/pion/webrtc/v4"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/netem"
	"github.com/deltacdn/delta/internal/pc/setting"
)

// A Host is a machine on a [Network], with one IPv4 address behind one access
// path. Its methods may be called concurrently.
type Host struct {
	// Static after Network.Host.
	network *Network
	name    string
	ip      netip.Addr

	// Guarded by the network's mu.
	up, down *netem.Link
	cut      bool
	ports    map[uint16]*udpConn
	lastPort uint16

	listeners map[uint16]*tcpListener
	lastTCP   uint16
}

// Host returns the host called name, which it adds, with access path p each way,
// if there is none yet. Names of hosts resolve on all the network's hosts.
func (n *Network) Host(name string, p Path) *Host {
	n.mu.Lock()
	defer n.mu.Unlock()
	if h := n.names[name]; h != nil {
		return h
	}
	h := &Host{
		network:  n,
		name:     name,
		ip:       hostIP(len(n.names) + 1),
		up:       n.newLink(p, name, "up"),
		down:     n.newLink(p, name, "down"),
		ports:    map[uint16]*udpConn{},
		lastPort: firstPort - 1,
	}
	n.names[name] = h
	n.hosts[h.ip] = h
	return h
}

// hostIP returns the address of the i-th host, in 10.0.0.0/8.
func hostIP(i int) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], 10<<24|uint32(i))
	return netip.AddrFrom4(b)
}

// Name returns the host's name.
func (h *Host) Name() string { return h.name }

// IP returns the host's address.
func (h *Host) IP() netip.Addr { return h.ip }

// Net returns the host's view of the network, for [cdn.Config], [PublisherConfig]
// and [ViewerConfig]. It knows UDP over IPv4 alone. Its sockets have the methods of
// a [net.UDPConn].
func (h *Host) Net() cdn.Network { return hostNetwork{h} }

// Use puts a PeerConnection of one's own on the host, by its settings. A host
// knows no multicast DNS, which pion's agents use unless told not to: Use tells
// them.
func (h *Host) Use(s *webrtc.SettingEngine) {
	s.SetNet(h.pion())
	setting.WithoutMulticastDNS(s)
}

// pion returns the host's view of the network as pion wants it: with names, and
// connected sockets.
func (h *Host) pion() transport.Net { return hostNet{h} }

// SetPath changes the host's access path, each way, for packets sent from now
// on.
func (h *Host) SetPath(p Path) {
	h.network.mu.Lock()
	defer h.network.mu.Unlock()
	h.up.SetPath(netem.Path(p))
	h.down.SetPath(netem.Path(p))
}

// SetUplink changes the path from the host into the network.
func (h *Host) SetUplink(p Path) {
	h.network.mu.Lock()
	defer h.network.mu.Unlock()
	h.up.SetPath(netem.Path(p))
}

// SetDownlink changes the path from the network to the host.
func (h *Host) SetDownlink(p Path) {
	h.network.mu.Lock()
	defer h.network.mu.Unlock()
	h.down.SetPath(netem.Path(p))
}

// Cut takes the host off the network: nothing reaches or leaves it, what is on
// its way included, and nobody is told.
func (h *Host) Cut() { h.setCut(true) }

// Heal undoes [Host.Cut].
func (h *Host) Heal() { h.setCut(false) }

func (h *Host) setCut(cut bool) {
	h.network.mu.Lock()
	defer h.network.mu.Unlock()
	h.cut = cut
}
