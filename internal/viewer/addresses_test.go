package viewer_test

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
)

// A node that is bound to all addresses and says which it has plays over those of
// either family. This is over real sockets: the virtual network has no IPv6.
func TestAddresses(t *testing.T) {
	node, err := cdn.Listen(cdn.Config{
		Addr: "[::]:0", PublicIPs: []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()},
	})
	if err != nil {
		t.Skipf("this machine has no IPv6: %v", err)
	}
	defer func() { require.NoError(t, node.Close()) }()
	p := &place{t: t, ticks: 3000, node: node}
	p.publishes()
	for name, k := range map[string]struct {
		at   string // the viewer's socket
		kind webrtc.NetworkType
	}{
		"IPv4": {"127.0.0.1:0", webrtc.NetworkTypeUDP4}, "IPv6": {"[::1]:0", webrtc.NetworkTypeUDP6},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.ListenPacket("udp", k.at)
			if err != nil {
				t.Skipf("this machine has no %s: %v", k.at, err)
			}
			mux := webrtc.NewICEUDPMux(nil, conn)
			c := p.clientOf(func(s *webrtc.SettingEngine) {
				s.SetICEUDPMux(mux)
				s.SetNetworkTypes([]webrtc.NetworkType{k.kind})
				s.SetIncludeLoopbackCandidate(true)
			})
			defer func() {
				require.NoError(t, c.GracefulClose())
				require.NoError(t, mux.Close())
			}()
			s, err := p.answer(c.offer(t))
			require.NoError(t, err)
			require.Regexp(t, `(?s)candidate:1 .* 127\.0\.0\.1 .*candidate:2 .* ::1 `, s.SDP())
			c.accept(t, s.SDP())
			require.Eventually(t, func() bool {
				p.frame()
				return c.packets.Load() > 10
			}, 20*time.Second, 10*time.Millisecond)
			require.NoError(t, s.Close())
		})
	}
}
