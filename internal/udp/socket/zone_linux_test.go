package socket

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// However many addresses are written and read, and whether their interfaces are known or not,
// the interfaces are listed once a minute at most.
func TestInterfacesAreRarelyListed(t *testing.T) {
	system := zones
	defer func() { zones = system }()
	synctest.Test(t, func(t *testing.T) {
		listed, there, failed := 0, []net.Interface{{Index: 7, Name: "eth7"}}, error(nil)
		zones = &zoneTable{list: func() ([]net.Interface, error) { listed++; return there, failed }}
		same := func(in, want string) {
			for range 100 {
				var s sockaddr
				got, ok := s.get(s.put(netip.MustParseAddrPort(in)))
				require.True(t, ok)
				require.Equal(t, netip.MustParseAddrPort(want), got)
			}
		}
		same("[2001:db8::1]:1", "[2001:db8::1]:1")
		require.Zero(t, listed, "it has no zone")
		same("[fe80::1%eth7]:1", "[fe80::1%eth7]:1")
		same("[fe80::1%7]:1", "[fe80::1%eth7]:1")
		same("[fe80::1%eth8]:1", "[fe80::1]:1")
		same("[fe80::1%8]:1", "[fe80::1%8]:1")
		require.Equal(t, 1, listed)

		there = []net.Interface{{Index: 8, Name: "eth8"}}
		time.Sleep(zoneFor)
		same("[fe80::1%8]:1", "[fe80::1%eth8]:1")
		same("[fe80::1%7]:1", "[fe80::1%7]:1")
		require.Equal(t, 2, listed)

		there, failed = nil, errors.New("no interfaces")
		time.Sleep(zoneFor)
		same("[fe80::1%8]:1", "[fe80::1%eth8]:1")
		require.Equal(t, 3, listed)
	})
}
