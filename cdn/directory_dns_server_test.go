package cdn_test

import (
	"context"
	"encoding/binary"
	"io"
	"maps"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/freeport"
)

// A dnsServer answers over UDP and TCP, on one port of the loopback.
type dnsServer struct {
	t   *testing.T
	udp net.PacketConn
	tcp net.Listener
	wg  sync.WaitGroup

	mu    sync.Mutex
	hosts map[string][]netip.Addr
	srv   map[string][]dnsmessage.SRVResource
	rcode dnsmessage.RCode // of all answers, unless success
	mute  bool
	wreck bool // answers are cut short
	asked map[dnsmessage.Type]int
	byTCP int
}

func newDNSServer(t *testing.T) *dnsServer {
	s := &dnsServer{
		t: t, hosts: map[string][]netip.Addr{}, srv: map[string][]dnsmessage.SRVResource{}, asked: map[dnsmessage.Type]int{},
	}
	var err error
	s.udp, err = net.ListenPacket("udp", freeport.Addr(t)) // whose number nobody has by TCP, either
	require.NoError(t, err)
	s.tcp, err = net.Listen("tcp", s.udp.LocalAddr().String())
	require.NoError(t, err)
	s.wg.Go(s.serveUDP)
	s.wg.Go(s.serveTCP)
	t.Cleanup(func() {
		_ = s.udp.Close()
		_ = s.tcp.Close()
		s.wg.Wait()
	})
	return s
}

// resolver returns Go's own resolver, asking this server.
func (s *dnsServer) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, s.udp.LocalAddr().String())
	}}
}

func (s *dnsServer) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *dnsServer) serveUDP() {
	buf := make([]byte, 4096)
	for {
		n, from, err := s.udp.ReadFrom(buf)
		if err != nil {
			return
		}
		if answer := s.answer(buf[:n], 1200); answer != nil {
			_, _ = s.udp.WriteTo(answer, from) // a client that is gone needs none
		}
	}
}

func (s *dnsServer) serveTCP() {
	for {
		conn, err := s.tcp.Accept()
		if err != nil {
			return
		}
		s.wg.Go(func() {
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
			var size [2]byte
			if _, err := io.ReadFull(conn, size[:]); err != nil {
				return
			}
			query := make([]byte, binary.BigEndian.Uint16(size[:]))
			if _, err := io.ReadFull(conn, query); err != nil {
				return
			}
			s.set(func() { s.byTCP++ })
			if answer := s.answer(query, 65535); answer != nil {
				_, _ = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...))
			}
		})
	}
}

// answer returns what a query is answered, nil for nothing. An answer of more than most
// bytes says that it is to be had by TCP.
func (s *dnsServer) answer(query []byte, most int) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	var p dnsmessage.Parser
	h, err := p.Start(query)
	if err != nil {
		return nil
	}
	q, err := p.Question()
	if err != nil {
		return nil
	}
	s.asked[q.Type]++
	if s.mute {
		return nil
	}
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: h.ID, Response: true, Authoritative: true, RecursionAvailable: true, RCode: s.rcode},
		Questions: []dnsmessage.Question{q},
	}
	if s.rcode == dnsmessage.RCodeSuccess {
		name := strings.ToLower(strings.TrimSuffix(q.Name.String(), "."))
		hosts, isHost := s.hosts[name]
		services, isService := s.srv[name]
		if !isHost && !isService {
			m.RCode = dnsmessage.RCodeNameError
		}
		m.Answers = records(q, hosts, services)
	}
	packed, err := m.Pack()
	if err != nil {
		return nil
	}
	if len(packed) > most {
		m.Truncated, m.Answers = true, nil
		packed, _ = m.Pack()
	}
	if s.wreck {
		packed = packed[:len(packed)-3]
	}
	return packed
}

func records(q dnsmessage.Question, hosts []netip.Addr, services []dnsmessage.SRVResource) (all []dnsmessage.Resource) {
	header := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: dnsmessage.ClassINET, TTL: 5}
	for _, a := range hosts {
		switch {
		case a.Is4() && q.Type == dnsmessage.TypeA:
			all = append(all, dnsmessage.Resource{Header: header, Body: &dnsmessage.AResource{A: a.As4()}})
		case a.Is6() && q.Type == dnsmessage.TypeAAAA:
			all = append(all, dnsmessage.Resource{Header: header, Body: &dnsmessage.AAAAResource{AAAA: a.As16()}})
		}
	}
	for _, r := range services {
		if q.Type == dnsmessage.TypeSRV {
			all = append(all, dnsmessage.Resource{Header: header, Body: &r})
		}
	}
	return all
}

// Go's resolver and a DNS server: what changes, and what fails, while the directory is in
// use.
func TestDNSServer(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("waits for real refreshes")
	}
	s := newDNSServer(t)
	s.set(func() {
		s.hosts["edge.delta.test"] = addrs("192.0.2.1", "2001:db8::1")
		s.hosts["near.delta.test"], s.hosts["far.delta.test"] = addrs("192.0.2.5"), addrs("192.0.2.6")
		s.srv["_delta._tcp.delta.test"] = []dnsmessage.SRVResource{
			{Priority: 20, Weight: 1, Port: 8443, Target: dnsmessage.MustNewName("far.delta.test.")},
			{Priority: 10, Weight: 1, Port: 443, Target: dnsmessage.MustNewName("near.delta.test.")},
			{Priority: 1, Weight: 1, Port: 443, Target: dnsmessage.MustNewName(`evil/path.`)},
		}
	})
	dns, err := cdn.NewDNS(cdn.DNSConfig{
		Names: []string{"https://edge.delta.test/delta", "_delta._tcp.delta.test"}, Resolver: s.resolver(),
		Refresh: time.Second, Timeout: 2 * time.Second,
	})
	require.NoError(t, err)
	defer dns.Close()
	d := &dnsTest{t: t, DNS: dns}
	services := []string{"https://near.delta.test:443 at 192.0.2.5", "https://far.delta.test:8443 at 192.0.2.6"}
	first := append([]string{"https://edge.delta.test/delta at 192.0.2.1", "https://edge.delta.test/delta at 2001:db8::1"}, services...)
	assert.Equal(t, first, d.places())

	s.set(func() { s.hosts["edge.delta.test"] = addrs("192.0.2.2") })
	second := append([]string{"https://edge.delta.test/delta at 192.0.2.2"}, services...)
	d.eventually(second)

	for what, fail := range map[string]func(){
		"NXDOMAIN":    func() { s.hosts, s.srv = map[string][]netip.Addr{}, map[string][]dnsmessage.SRVResource{} },
		"no data":     func() { s.hosts["edge.delta.test"], s.srv["_delta._tcp.delta.test"] = nil, nil },
		"SERVFAIL":    func() { s.rcode = dnsmessage.RCodeServerFailure },
		"REFUSED":     func() { s.rcode = dnsmessage.RCodeRefused },
		"no answer":   func() { s.mute = true },
		"half answer": func() { s.wreck = true },
	} {
		var hosts map[string][]netip.Addr
		var srv map[string][]dnsmessage.SRVResource
		s.set(func() {
			hosts, srv = maps.Clone(s.hosts), maps.Clone(s.srv)
			fail()
			clear(s.asked)
		})
		// A refresh comes a second after the last one has ended, which may wait for
		// answers that do not come, and on a machine that is busy.
		asked := false
		for begun := time.Now(); time.Since(begun) < 1500*time.Millisecond || !asked; time.Sleep(100 * time.Millisecond) {
			require.Equal(t, second, d.places(), what)
			require.Less(t, time.Since(begun), time.Minute, "%s: not all is asked for", what)
			s.set(func() {
				asked = s.asked[dnsmessage.TypeA] > 0 && s.asked[dnsmessage.TypeAAAA] > 0 && s.asked[dnsmessage.TypeSRV] > 0
			})
		}
		s.set(func() { s.rcode, s.mute, s.wreck, s.hosts, s.srv = 0, false, false, hosts, srv })
	}

	// Thousands of addresses come by TCP, and are bounded; they do not crowd out what
	// counts more.
	s.set(func() {
		var many []netip.Addr
		for i := range 4000 {
			many = append(many, netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}))
		}
		s.hosts["far.delta.test"] = many
	})
	for begun := time.Now(); len(d.places()) != 16; time.Sleep(100 * time.Millisecond) {
		require.Less(t, time.Since(begun), time.Minute, "%v", d.places())
	}
	assert.Equal(t, second[:2], d.places()[:2])
	s.set(func() { assert.NotZero(t, s.byTCP) })
}

func (d *dnsTest) eventually(want []string) {
	d.t.Helper()
	for begun := time.Now(); !assert.ObjectsAreEqual(want, d.places()); time.Sleep(50 * time.Millisecond) {
		require.Less(d.t, time.Since(begun), time.Minute, "%v, want %v", d.places(), want)
	}
}
