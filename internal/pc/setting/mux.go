package setting

import (
	"net"
	"sync/atomic"

	"github.com/pion/ice/v4"
	"github.com/pion/logging"
	"github.com/pion/transport/v5"
)

// A Mux shares a node's UDP port between its PeerConnections. It offers the node's public
// addresses as candidates, whatever address the port is bound to: gathering is reading a
// list.
type Mux struct {
	*ice.UDPMuxDefault
	candidates atomic.Pointer[[]net.Addr] // what it points at is not changed
}

// NewMux returns a Mux on port, which has a UDP address. It reads the port until that is
// closed. [Mux.Offer] has to follow.
func NewMux(port net.PacketConn, network transport.Net, log logging.LoggerFactory) *Mux {
	return &Mux{UDPMuxDefault: ice.NewUDPMuxDefault(ice.UDPMuxParams{UDPConn: port, Net: network, Logger: log.NewLogger("mux")})}
}

// Offer has sessions that begin from now on be told these addresses, which the caller must
// not change afterwards.
func (m *Mux) Offer(addrs []net.Addr) { m.candidates.Store(&addrs) }

// GetListenAddresses returns the addresses that are offered.
func (m *Mux) GetListenAddresses() []net.Addr { return *m.candidates.Load() }

// GetConn returns the connection of ufrag. A mux bound to one address knows
// only that one; one bound to all looks at the family alone.
func (m *Mux) GetConn(ufrag string, addr net.Addr) (net.PacketConn, error) {
	if bound := m.LocalAddr().(*net.UDPAddr); !bound.IP.IsUnspecified() {
		addr = bound
	}
	return m.UDPMuxDefault.GetConn(ufrag, addr)
}
