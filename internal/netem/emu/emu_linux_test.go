package emu

import (
	"encoding/binary"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/netem"
)

const ms = time.Millisecond

// requireRoot skips where namespaces cannot be made, and says why.
func requireRoot(t *testing.T) {
	t.Helper()
	skip := func(why string) {
		if os.Getenv("DELTA_REQUIRE_EMU") != "" {
			t.Fatalf("%s, and DELTA_REQUIRE_EMU is set", why)
		}
		t.Skip("skipped: " + why)
	}
	if os.Geteuid() != 0 {
		skip("network namespaces take root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		skip("no ip (Debian: apt-get install iproute2)")
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		skip("this system has no TUN devices")
	}
}

// A pair is a path with a socket at each end.
type pair struct {
	path *Path
	a, b *net.UDPConn
	to   netip.AddrPort // of b
}

func newPair(t *testing.T) *pair {
	requireRoot(t)
	ends := make([]End, 2)
	p := &pair{}
	for i, at := range []string{"10.9.0.1", "10.9.0.2"} {
		n, err := NewNamespace()
		require.NoError(t, err)
		t.Cleanup(n.Close)
		ends[i] = End{Namespace: n, Device: "tun0", Addr: netip.MustParseAddr(at), Default: i == 1}
	}
	var err error
	p.path, err = Join(ends[0], ends[1], 1)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.path.Close()) })
	for i, c := range []**net.UDPConn{&p.a, &p.b} {
		require.NoError(t, ends[i].Namespace.Do(func() (err error) {
			*c, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(ends[i].Addr, 0)))
			return err
		}))
		t.Cleanup(func() { _ = (*c).Close() })
	}
	p.to = p.b.LocalAddr().(*net.UDPAddr).AddrPort()
	return p
}

// A carried datagram is its number, when it was sent, and how long it took.
type carried struct {
	number int
	took   time.Duration
}

// send sends count datagrams of size bytes from a to b, one every interval, and
// returns those that come within a second after the last.
func (p *pair) send(t *testing.T, count, size int, interval time.Duration) (all []carried) {
	t.Helper()
	sent := make([]time.Time, count)
	done := make(chan []carried)
	begun := time.Now()
	require.NoError(t, p.b.SetReadDeadline(time.Time{}))
	go func() {
		var got []carried
		b := make([]byte, 1500)
		for {
			n, err := p.b.Read(b)
			if err != nil {
				done <- got
				return
			}
			if n == size {
				got = append(got, carried{int(binary.BigEndian.Uint32(b)), time.Since(begun)})
			}
		}
	}()
	b := make([]byte, size)
	for i := range sent {
		time.Sleep(time.Until(begun.Add(time.Duration(i) * interval)))
		binary.BigEndian.PutUint32(b, uint32(i))
		sent[i] = time.Now()
		_, err := p.a.WriteToUDPAddrPort(b, p.to)
		require.NoError(t, err)
	}
	require.NoError(t, p.b.SetReadDeadline(time.Now().Add(time.Second)))
	all = <-done
	for i := range all {
		all[i].took -= sent[all[i].number].Sub(begun)
	}
	return all
}

func inOrder(all []carried) bool {
	return slices.IsSortedFunc(all, func(a, b carried) int { return a.number - b.number })
}

// complete checks that all that should leave did, and logs how late the machine was with it.
func (p *pair) complete(t *testing.T) {
	t.Helper()
	there, _ := p.path.Stats()
	t.Logf("a packet left %v late on average", there.Late/time.Duration(max(there.Passed, 1)))
	require.Zero(t, there.Refused)
}

func TestDelay(t *testing.T) {
	p := newPair(t)
	p.path.Set(netem.Path{Delay: 40 * ms}, netem.Path{})
	all := p.send(t, 50, 200, 4*ms)
	require.Len(t, all, 50)
	require.True(t, inOrder(all))
	for _, c := range all {
		require.GreaterOrEqual(t, c.took, 40*ms)
	}
	p.complete(t)
}

// crowd sends count packets of 1000 bytes at once, and returns when those leave that are
// not dropped. All of that is as the model has it for the times at which the packets came:
// a busy machine sends slowly, and then fewer are dropped.
func (p *pair) crowd(t *testing.T, how netem.Path, count int) (dues []time.Time) {
	t.Helper()
	p.path.Set(how, netem.Path{})
	var entered []Packet
	p.path.Observe(func(p Packet) { entered = append(entered, p) }, nil)
	const size = 1000 - netem.Overhead
	all := p.send(t, count, size, 0)
	p.path.Observe(nil, nil)
	require.Len(t, entered, count)
	model := netem.NewLink(how, rand.New(rand.NewPCG(1, 1)))
	for i, e := range entered {
		require.Equal(t, 1000, e.Size)
		due, fate := model.Carry(e.At, size)
		require.Equal(t, fate, e.Fate, "packet %d", i)
		if fate == netem.Passed {
			dues = append(dues, due)
		}
	}
	require.Less(t, len(dues), count)
	require.Len(t, all, len(dues))
	require.True(t, inOrder(all))
	return dues
}

// What comes faster than the rate waits in the queue, and what does not fit in is dropped.
func TestRateAndQueue(t *testing.T) {
	p := newPair(t)
	const count = 250
	dues := p.crowd(t, netem.Path{Rate: 1_000_000, Queue: 200 * ms}, count)
	require.Greater(t, len(dues), 24, "that many wait in 200 ms")
	for i := 1; i < len(dues); i++ {
		require.GreaterOrEqual(t, dues[i].Sub(dues[i-1]), 8*ms, "the time of 1000 bytes at the rate")
	}
	there, _ := p.path.Stats()
	require.Equal(t, Stats{Packets: count, Bytes: count * 1000, Passed: uint64(len(dues)), Dropped: uint64(count - len(dues)), Late: there.Late}, there)
	p.complete(t)
}

func TestQueueInBytes(t *testing.T) {
	p := newPair(t)
	dues := p.crowd(t, netem.Path{Rate: 200_000, Queue: 2 * time.Second, QueueBytes: 10_000}, 250)
	require.GreaterOrEqual(t, len(dues), 10, "that many wait in 10,000 bytes")
}

// Jitter of each packet reorders; jitter with a period does not, and moves evenly.
func TestJitter(t *testing.T) {
	p := newPair(t)
	p.path.Set(netem.Path{Delay: 10 * ms, Jitter: 40 * ms}, netem.Path{})
	all := p.send(t, 200, 200, 2*ms)
	require.Len(t, all, 200)
	require.False(t, inOrder(all))
	p.path.Set(netem.Path{Delay: 10 * ms, Jitter: 40 * ms, JitterPeriod: 50 * ms}, netem.Path{})
	all = p.send(t, 200, 200, 2*ms)
	require.Len(t, all, 200)
	require.True(t, inOrder(all))
	p.path.Set(netem.Path{Delay: 10 * ms, Reorder: 0.2, ReorderBy: 15 * ms}, netem.Path{})
	all = p.send(t, 200, 200, 2*ms)
	require.Len(t, all, 200)
	require.False(t, inOrder(all))
}

func TestLoss(t *testing.T) {
	p := newPair(t)
	p.path.Set(netem.Path{Loss: 0.1}, netem.Path{})
	all := p.send(t, 600, 200, ms)
	require.InDelta(t, 540, len(all), 30)
	there, _ := p.path.Stats()
	require.Equal(t, uint64(600-len(all)), there.Lost)
}

// Both directions work, for TCP and with the namespaces' own listeners.
func TestBack(t *testing.T) {
	p := newPair(t)
	p.path.Set(netem.Path{}, netem.Path{Delay: 30 * ms})
	begun := time.Now()
	_, err := p.b.WriteToUDPAddrPort([]byte("back"), p.a.LocalAddr().(*net.UDPAddr).AddrPort())
	require.NoError(t, err)
	b := make([]byte, 10)
	require.NoError(t, p.a.SetReadDeadline(begun.Add(5*time.Second)))
	n, err := p.a.Read(b)
	require.NoError(t, err)
	require.Equal(t, "back", string(b[:n]))
	require.GreaterOrEqual(t, time.Since(begun), 30*ms)
}

func TestTCP(t *testing.T) {
	requireRoot(t)
	a, err := NewNamespace()
	require.NoError(t, err)
	defer a.Close()
	b, err := NewNamespace()
	require.NoError(t, err)
	defer b.Close()
	path, err := Join(End{a, "to-b", netip.MustParseAddr("10.9.0.1"), false}, End{b, "tun0", netip.MustParseAddr("10.9.0.2"), true}, 1)
	require.NoError(t, err)
	defer func() { require.NoError(t, path.Close()) }()
	path.Set(netem.Path{Delay: 20 * ms}, netem.Path{Delay: 20 * ms})
	l, err := a.Listen("10.9.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	begun := time.Now()
	c, err := b.Dial(t.Context(), l.Addr().String())
	require.NoError(t, err)
	defer c.Close()
	require.GreaterOrEqual(t, time.Since(begun), 40*ms)
	_, err = os.Stat(b.File())
	require.NoError(t, err)
	_, err = dialFromElsewhere(t, l.Addr().String())
	require.Error(t, err, "another namespace has no way there")
}

// dialFromElsewhere dials from a namespace of its own.
func dialFromElsewhere(t *testing.T, address string) (net.Conn, error) {
	n, err := NewNamespace()
	require.NoError(t, err)
	defer n.Close()
	return n.Dial(t.Context(), address)
}
