package cdntest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	cryptorand "crypto/rand"
	"hash/fnv"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/deltacdn/delta/internal/netem"
)

// A Network is an IPv4 network in memory: hosts, each behind an access path of
// its own, that exchange UDP packets through a core without limits. The delay
// from one host to another is what the one's path adds upward and the other's
// downward, unless [Network.Between] gave the two a path to themselves.
//
// It runs on real time as well as within a bubble of [testing/synctest], where
// delays are exact to the nanosecond; made within a bubble, it must be used and
// closed there. Chance comes from the seed, for each path separately, so one
// flow's losses do not depend on what others send. Methods may be called
// concurrently, while packets are on their way: those keep the fate that they
// met when they were sent.
//
// It is not built on pion's vnet, whose routers know one delay for all hosts, keep packets in order under
// jitter, draw it from unseeded chance while they hold up the whole queue, and
// whose closed sockets do not say [net.ErrClosed].
type Network struct {
	// Static after NewNetwork.
	seed        uint64
	mtu         int
	certificate func() (webrtc.Certificate, error)
	began       time.Time
	timer       *time.Timer // for the packet that is due first
	quit        chan struct{}
	stop        sync.Once
	running     sync.WaitGroup

	filter atomic.Pointer[Filter]

	mu     sync.Mutex
	closed bool
	names  map[string]*Host
	hosts  map[netip.Addr]*Host
	pairs  map[pairKey]*pair
	queue  dueQueue
	sent   uint64

	forwarding bool // packets are being moved on
}

// NetworkConfig sets up a [Network].
type NetworkConfig struct {
	// Seed is where chance starts from: equal seeds, equal losses.
	Seed uint64
	// MTU is the size in bytes, with IP and UDP headers, above which packets
	// are dropped, as where fragments do not pass. If zero, 1500.
	MTU int
}

// A Filter sees each packet that is sent, and drops it by returning false. It is
// called without locks, from the goroutine that sends, and may not keep or
// change payload.
type Filter func(src, dst netip.AddrPort, payload []byte) bool

// Traffic counts the packets from one host to another.
type Traffic struct {
	Sent      int // packets, whatever became of them
	SentBytes int // of payload
	Arrived   int // packets that a socket took
	Lost      int // by [Path].Loss
	QueueFull int // dropped ahead of a rate limit
	Cut       int // while one of the two hosts was cut off
	TooBig    int // over the MTU
	Filtered  int // by the [Filter]
	NoSocket  int // to a port on which nobody listens
	Overflow  int // to a socket whose buffer was full
}

// NewNetwork returns a running network, which is closed when t ends.
func NewNetwork(t testing.TB, c NetworkConfig) *Network {
	t.Helper()
	n := newNetwork(c)
	t.Cleanup(n.Close)
	return n
}

func newNetwork(c NetworkConfig) *Network {
	if c.MTU <= 0 {
		c.MTU = 1500
	}
	n := &Network{
		seed:        c.Seed,
		mtu:         c.MTU,
		certificate: sync.OnceValues(newCertificate),
		began:       time.Now(),
		timer:       time.NewTimer(time.Hour),
		quit:        make(chan struct{}),
		names:       map[string]*Host{},
		hosts:       map[netip.Addr]*Host{},
		pairs:       map[pairKey]*pair{},
	}
	n.timer.Stop() // nothing is due
	n.running.Go(n.run)
	return n
}

// Close closes all sockets, drops what is on its way and waits for the
// network's goroutine. It is idempotent.
func (n *Network) Close() {
	n.stop.Do(func() { close(n.quit) })
	n.running.Wait()
	n.mu.Lock()
	n.closed = true
	n.queue = nil
	var conns []*udpConn
	for _, h := range n.hosts {
		for _, c := range h.ports {
			conns = append(conns, c)
		}
	}
	n.mu.Unlock()
	for _, c := range conns {
		_ = c.Close() // already closed is as good
	}
}

// Between gives the packets between a and b a path of their own, each way, in
// place of both hosts' access paths.
func (n *Network) Between(a, b *Host, p Path) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, k := range []pairKey{{a, b}, {b, a}} {
		n.pairLocked(k).own = n.newLink(p, k.from.name, "to", k.to.name)
	}
}

// SetFilter lets f see every packet from now on; nil lets all pass unseen.
func (n *Network) SetFilter(f Filter) {
	if f == nil {
		n.filter.Store(nil)
		return
	}
	n.filter.Store(&f)
}

// Traffic returns what went from one host to another so far.
func (n *Network) Traffic(from, to *Host) Traffic {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.pairLocked(pairKey{from, to}).traffic
}

// newLink returns a link whose chance depends on the seed and its name alone.
func (n *Network) newLink(p Path, name ...string) *netem.Link {
	h := fnv.New64a()
	for _, part := range name {
		_, _ = h.Write([]byte(part)) // never fails
		_, _ = h.Write([]byte{0})
	}
	return netem.NewLink(netem.Path(p), rand.New(rand.NewPCG(n.seed, h.Sum64())))
}

type pairKey struct{ from, to *Host }

// A pair is what is known of the packets from one host to another.
type pair struct {
	own     *netem.Link // nil: the hosts' access paths
	traffic Traffic
}

func (n *Network) pairLocked(k pairKey) *pair {
	p := n.pairs[k]
	if p == nil {
		p = &pair{}
		n.pairs[k] = p
	}
	return p
}

// Certificate returns the one certificate that publishers and viewers on the
// network use unless they are given another: making one for each would be most
// of the cost of a join.
func (n *Network) Certificate() (webrtc.Certificate, error) { return n.certificate() }

func newCertificate() (webrtc.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), cryptorand.Reader)
	if err != nil {
		return webrtc.Certificate{}, err
	}
	cert, err := webrtc.GenerateCertificate(key)
	if err != nil {
		return webrtc.Certificate{}, err
	}
	return *cert, nil
}
