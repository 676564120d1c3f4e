package browser

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/netem"
)

// impairment is what happens to datagrams between a browser and a node.
type impairment struct {
	delay time.Duration // each way
	loss  float64       // each way
	rate  int           // bits a second, each way; 0: there is no limit
}

// impaired returns the URL of a server that passes on to node, and has media
// go over a path with the impairment: it puts its own candidate into answers.
func impaired(t *testing.T, node string, how impairment) string {
	var varying atomic.Pointer[impairment]
	varying.Store(&how)
	return impairedBy(t, node, &varying)
}

// impairedBy is impaired with an impairment that may change.
func impairedBy(t *testing.T, node string, how *atomic.Pointer[impairment]) string {
	target, err := url.Parse(node)
	require.NoError(t, err)
	proxy := httputil.NewSingleHostReverseProxy(target)
	candidate := regexp.MustCompile(`(?m)^(a=candidate:\S+ 1 udp \d+) (\S+) (\d+) typ host`)
	proxy.ModifyResponse = func(r *http.Response) error {
		if r.Header.Get("Content-Type") != "application/sdp" {
			return nil
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return err
		}
		if m := candidate.FindSubmatch(body); m != nil {
			to, err := netip.ParseAddrPort(net.JoinHostPort(string(m[2]), string(m[3])))
			if err != nil {
				return err
			}
			port := newPath(t, to, how).listen.LocalAddr().(*net.UDPAddr).Port
			body = candidate.ReplaceAll(body, []byte("$1 127.0.0.1 "+strconv.Itoa(port)+" typ host"))
		}
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		r.Header.Set("Content-Length", strconv.Itoa(len(body)))
		return nil
	}
	s := httptest.NewServer(proxy)
	t.Cleanup(s.Close)
	return s.URL
}

// path passes datagrams on between whoever sends to listen and a node.
type path struct {
	how    *atomic.Pointer[impairment]
	listen *net.UDPConn
	to     netip.AddrPort
	wg     sync.WaitGroup

	mu    sync.Mutex
	conns map[netip.AddrPort]*net.UDPConn // towards the node, one for each sender
}

func newPath(t *testing.T, to netip.AddrPort, how *atomic.Pointer[impairment]) *path {
	listen, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	p := &path{how: how, listen: listen, to: to, conns: make(map[netip.AddrPort]*net.UDPConn)}
	p.wg.Go(p.forth)
	t.Cleanup(func() {
		_ = listen.Close()
		p.mu.Lock()
		for _, c := range p.conns {
			_ = c.Close()
		}
		p.mu.Unlock()
		p.wg.Wait()
	})
	return p
}

func (p *path) forth() {
	senders := make(map[netip.AddrPort]func([]byte))
	defer func() {
		for _, send := range senders {
			send(nil)
		}
	}()
	for buf := make([]byte, 1500); ; {
		n, from, err := p.listen.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		if senders[from] == nil {
			conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(p.to))
			if err != nil {
				return
			}
			p.mu.Lock()
			p.conns[from] = conn
			p.mu.Unlock()
			senders[from] = p.oneWay(func(b []byte) { _, _ = conn.Write(b) })
			p.wg.Go(func() { p.back(conn, from) })
		}
		senders[from](buf[:n])
	}
}

func (p *path) back(conn *net.UDPConn, to netip.AddrPort) {
	send := p.oneWay(func(b []byte) { _, _ = p.listen.WriteToUDPAddrPort(b, to) })
	defer send(nil)
	for buf := make([]byte, 1500); ; {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		send(buf[:n])
	}
}

// oneWay returns a function that has a copy of a datagram sent later, or never,
// in order. It ends with an empty one; what fails to be sent is lost.
func (p *path) oneWay(send func([]byte)) func([]byte) {
	type datagram struct {
		bytes []byte
		due   time.Time
	}
	queue := make(chan datagram, 1024)
	p.wg.Go(func() {
		for d := range queue {
			time.Sleep(time.Until(d.due))
			send(d.bytes)
		}
	})
	link, how := netem.NewLink(netem.Path{}, rand.New(rand.NewPCG(1, 2))), (*impairment)(nil)
	return func(b []byte) {
		if b == nil {
			close(queue)
			return
		}
		if now := p.how.Load(); now != how {
			how = now
			link.SetPath(netem.Path{Delay: how.delay, Loss: how.loss, Rate: how.rate, Queue: 300 * time.Millisecond})
		}
		if due, fate := link.Carry(time.Now(), len(b)); fate == netem.Passed {
			queue <- datagram{append([]byte(nil), b...), due}
		}
	}
}
