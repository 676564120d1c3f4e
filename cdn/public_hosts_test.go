package cdn_test

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
)

// offered returns the addresses that the node's new sessions are told.
func offered(t *testing.T, n *cdn.Node) (all []string) {
	t.Helper()
	for _, c := range n.Internal().Candidates() {
		udp := c.(*net.UDPAddr)
		require.Equal(t, n.Addr().(*net.UDPAddr).Port, udp.Port)
		all = append(all, udp.IP.String())
	}
	return all
}

func TestSetPublicIPs(t *testing.T) {
	network := addresses{Network: cdn.SystemNetwork(), all: addrs("192.0.2.9", "127.0.0.1")}
	dir := cdn.NewMemory()
	node, err := cdn.Listen(cdn.Config{Addr: ":0", Net: network, PublicIPs: addrs("198.51.100.1"), Directory: dir, URL: "http://a.test"})
	require.NoError(t, err)
	defer node.Close()
	require.Equal(t, []string{"198.51.100.1"}, offered(t, node))
	before := node.Internal().Candidates()

	require.NoError(t, node.SetPublicIPs(addrs("198.51.100.2", "2001:db8::1")))
	require.Equal(t, []string{"198.51.100.2", "2001:db8::1"}, offered(t, node))
	require.Equal(t, "198.51.100.1", before[0].(*net.UDPAddr).IP.String(), "what a session has been told does not change")
	require.Len(t, node.Entry().Addrs, 2)
	require.Equal(t, netip.MustParseAddr("198.51.100.2"), node.Entry().Addrs[0].Addr())

	for _, bad := range [][]netip.Addr{{{}}, addrs("192.0.2.1", "0.0.0.0"), addrs("::"), addrs("224.0.0.1"), addrs("ff02::1")} {
		require.ErrorIs(t, node.SetPublicIPs(bad), cdn.ErrInvalid, "%v", bad)
	}
	require.Equal(t, []string{"198.51.100.2", "2001:db8::1"}, offered(t, node), "a refused list changes nothing")

	require.NoError(t, node.SetPublicIPs(nil))
	require.Equal(t, []string{"192.0.2.9", "127.0.0.1"}, offered(t, node), "those of the interfaces")
}

func TestSetPublicIPsWhileSessionsBegin(t *testing.T) {
	node, err := cdn.Listen(cdn.Config{Addr: "127.0.0.1:0"})
	require.NoError(t, err)
	defer node.Close()
	var work sync.WaitGroup
	for i := range 4 {
		work.Go(func() {
			for range 200 {
				assert.NoError(t, node.SetPublicIPs([]netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)})}))
				assert.Len(t, node.Internal().Candidates(), 1)
				assert.Len(t, node.Entry().Addrs, 1)
			}
		})
	}
	work.Wait()
}

// hostsTest is a node in a bubble whose public hosts are looked up.
type hostsTest struct {
	t     *testing.T
	names *cdntest.Names
	node  *cdn.Node
	hosts *cdn.PublicHosts
	log   *bytes.Buffer
}

func newHostsTest(t *testing.T, addr string, names *cdntest.Names, hosts ...string) *hostsTest {
	t.Helper()
	network := cdntest.NewNetwork(t, cdntest.NetworkConfig{Seed: 1})
	host := network.Host("a", cdntest.Path{})
	h := &hostsTest{t: t, names: names, log: &bytes.Buffer{}}
	if addr == "" {
		addr = host.IP().String() + ":7000"
	}
	var err error
	h.node, err = cdn.Listen(cdn.Config{Addr: addr, Net: host.Net(), Logger: slog.New(slog.NewTextHandler(h.log, nil))})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.node.Close()) })
	h.hosts, err = cdn.KeepPublicHosts(t.Context(), h.node, cdn.PublicHostsConfig{Hosts: hosts, Resolver: names})
	require.NoError(t, err)
	return h
}

// lines returns how many lines of the log contain text.
func (h *hostsTest) lines(text string) int {
	synctest.Wait()
	return strings.Count(h.log.String(), text)
}

func TestPublicHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		names := &cdntest.Names{}
		names.Set("cam.delta.test", addrs("2001:db8::1", "192.0.2.2", "192.0.2.1")...)
		h := newHostsTest(t, ":7000", names, "203.0.113.9", "cam.delta.test", "192.0.2.2")
		require.Equal(t, []string{"203.0.113.9", "192.0.2.1", "192.0.2.2"}, offered(t, h.node), "the port has no IPv6")

		names.Set("cam.delta.test", addrs("192.0.2.7")...)
		time.Sleep(34 * time.Second)
		require.Equal(t, []string{"203.0.113.9", "192.0.2.7", "192.0.2.2"}, offered(t, h.node))
		require.Equal(t, 1, h.lines("public addresses have changed"))

		// DNS is away for a day, in one way and another.
		names.Fail(errors.New("connection refused"))
		time.Sleep(12 * time.Hour)
		names.Fail(nil)
		names.Hang(true)
		time.Sleep(12 * time.Hour)
		names.Hang(false)
		names.Set("cam.delta.test")
		time.Sleep(24 * time.Hour)
		require.Equal(t, []string{"203.0.113.9", "192.0.2.7", "192.0.2.2"}, offered(t, h.node), "the last answer stands")
		require.InDelta(t, 52, h.lines("level=WARN"), 2, "one at once, then seldom")

		names.Set("cam.delta.test", addrs("192.0.2.8")...)
		time.Sleep(34 * time.Second)
		require.Equal(t, addrs("203.0.113.9", "192.0.2.8", "192.0.2.2"), h.hosts.Addrs())
		require.Equal(t, 1, h.lines("can be looked up again"))
		lookups := names.Lookups()
		require.NoError(t, h.node.Close())
		time.Sleep(time.Hour)
		require.Equal(t, lookups, names.Lookups(), "a closed node looks nothing up")
	})
}

// A node starts without DNS, offers what it has, and is right when DNS comes.
func TestPublicHostsWithoutDNS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		names := &cdntest.Names{}
		names.Hang(true)
		begun := time.Now()
		h := newHostsTest(t, "", names, "cam.delta.test")
		require.LessOrEqual(t, time.Since(begun), 5*time.Second)
		own := offered(t, h.node)
		require.Len(t, own, 1)
		require.Empty(t, h.hosts.Addrs())
		time.Sleep(time.Second)
		require.Equal(t, 1, h.lines("level=WARN"))
		names.Hang(false)
		names.Set("cam.delta.test", addrs("192.0.2.1", "2001:db8::1")...)
		time.Sleep(30 * time.Second)
		require.Equal(t, []string{"192.0.2.1"}, offered(t, h.node), "the port has no IPv6")
		require.Equal(t, 1, h.lines("level=WARN"))
	})
}

func TestPublicHostOfTheMachineItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		names := &cdntest.Names{}
		names.Set("this.delta.test", addrs("127.0.1.1")...)
		h := newHostsTest(t, "", names, "this.delta.test")
		time.Sleep(4 * time.Minute)
		require.Equal(t, 1, h.lines("level=WARN"))
		require.Equal(t, 1, h.lines("cause=public-name-loopback"))
	})
}

func TestNoPublicHosts(t *testing.T) {
	node, err := cdn.Listen(cdn.Config{Addr: "127.0.0.1:0"})
	require.NoError(t, err)
	defer node.Close()
	for _, hosts := range [][]string{
		nil, {""}, {"https://a.test"}, {"a.test:8080"}, {"a.test/x"}, {"a b"}, {"_delta._tcp.a.test"}, {"0.0.0.0"}, {"224.0.0.1"}, {"192.0.2.1", "-", "*"}, {"[::1]"},
	} {
		_, err := cdn.KeepPublicHosts(t.Context(), node, cdn.PublicHostsConfig{Hosts: hosts})
		require.ErrorIs(t, err, cdn.ErrInvalid, "%q", hosts)
	}
	// Addresses alone need no resolver.
	hosts, err := cdn.KeepPublicHosts(t.Context(), node, cdn.PublicHostsConfig{Hosts: []string{"192.0.2.1", "2001:db8::1"}})
	require.NoError(t, err)
	require.Equal(t, addrs("192.0.2.1", "2001:db8::1"), hosts.Addrs())
}

// Go's resolver and a DNS server that changes its mind, fails and comes back.
func TestPublicHostsByADNSServer(t *testing.T) {
	t.Parallel()
	s := newDNSServer(t)
	s.set(func() { s.hosts["cam.delta.test"] = addrs("192.0.2.1", "2001:db8::1") })
	node, err := cdn.Listen(cdn.Config{Addr: ":0"})
	require.NoError(t, err)
	defer node.Close()
	_, err = cdn.KeepPublicHosts(t.Context(), node, cdn.PublicHostsConfig{
		Hosts: []string{"cam.delta.test"}, Resolver: s.resolver(), Refresh: time.Second, Timeout: 2 * time.Second,
	})
	require.NoError(t, err)
	require.Equal(t, []string{"192.0.2.1", "2001:db8::1"}, offered(t, node))
	s.set(func() { s.hosts["cam.delta.test"] = addrs("192.0.2.2") })
	become := func(want ...string) {
		t.Helper()
		require.Eventually(t, func() bool { return assert.ObjectsAreEqual(want, offered(t, node)) }, 10*time.Second, 20*time.Millisecond)
	}
	become("192.0.2.2")
	s.set(func() { clear(s.asked); s.rcode = dnsmessage.RCodeServerFailure })
	require.Eventually(t, func() (asked bool) {
		s.set(func() { asked = s.asked[dnsmessage.TypeA] > 1 })
		return asked
	}, 10*time.Second, 20*time.Millisecond)
	require.Equal(t, []string{"192.0.2.2"}, offered(t, node))
	s.set(func() { s.rcode, s.hosts["cam.delta.test"] = 0, addrs("192.0.2.3") })
	become("192.0.2.3")
}
