package media

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
)

type machine struct {
	cdn.Network
	all []netip.Addr
}

func (m machine) Addrs() ([]netip.Addr, error) { return m.all, nil }

func parse(texts ...string) (all []netip.Addr) {
	for _, t := range texts {
		all = append(all, netip.MustParseAddr(t))
	}
	return all
}

func TestAddresses(t *testing.T) {
	online := parse("127.0.0.1", "::1", "192.0.2.2", "fd00::2", "fe80::1")
	for name, k := range map[string]struct {
		has     []netip.Addr
		host    string
		bind    string
		offered []netip.Addr
	}{
		"loopback":             {online, "127.0.0.1", "", parse("127.0.0.1", "192.0.2.2")},
		"loopback by IPv6":     {online, "::1", "", parse("::1", "fd00::2")},
		"a machine off line":   {parse("127.0.0.1", "::1"), "127.0.0.1", "127.0.0.1", nil},
		"an address to reach":  {online, "192.0.2.2", "192.0.2.2", nil},
		"all addresses":        {online, "", "", nil},
		"all addresses, named": {online, "0.0.0.0", "0.0.0.0", nil},
		"a name":               {online, "delta.example", "delta.example", nil},
	} {
		bind, offered, err := Addresses(k.host, machine{all: k.has})
		require.NoError(t, err)
		require.Equal(t, k.bind, bind, name)
		require.Equal(t, k.offered, offered, name)
	}
}
