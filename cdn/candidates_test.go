package cdn_test

import (
	"net"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
)

// addresses is the system's network on a machine that has these.
type addresses struct {
	cdn.Network
	all []netip.Addr
}

func (a addresses) Addrs() ([]netip.Addr, error) { return a.all, nil }

// A client that tries the first candidate alone, as FFmpeg's WHIP muxer does, gets
// one that most clients can reach.
func TestOrderOfCandidates(t *testing.T) {
	machine := []string{"127.0.0.1", "::1", "fd00::2", "192.0.2.2", "fe80::1", "198.51.100.7"}
	for name, k := range map[string]struct {
		addr string
		want []string
	}{
		"all addresses": {":0", []string{"192.0.2.2", "198.51.100.7", "fd00::2", "127.0.0.1", "::1"}},
		"one address":   {"127.0.0.1:0", []string{"127.0.0.1"}},
	} {
		t.Run(name, func(t *testing.T) {
			network := addresses{Network: cdn.SystemNetwork()}
			for _, text := range machine {
				network.all = append(network.all, netip.MustParseAddr(text))
			}
			node, err := cdn.Listen(cdn.Config{Addr: k.addr, Net: network})
			require.NoError(t, err)
			defer func() { require.NoError(t, node.Close()) }()
			var got []string
			for _, c := range node.Internal().Candidates() {
				got = append(got, c.(*net.UDPAddr).IP.String())
			}
			require.Equal(t, k.want, got)
		})
	}
}
