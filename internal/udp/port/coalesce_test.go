package port

import (
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/udp/socket"
)

// wire is a socket in memory.
type wire struct {
	datagramSocket
	datagrams chan []byte
}

var viewer = netip.MustParseAddrPort("192.0.2.1:5000")

func (w *wire) ReadBatch() ([]socket.Datagram, error) {
	d, ok := <-w.datagrams
	if !ok {
		return nil, net.ErrClosed
	}
	all := []socket.Datagram{{Bytes: d, From: viewer}}
	for len(w.datagrams) > 0 {
		all = append(all, socket.Datagram{Bytes: <-w.datagrams, From: viewer})
	}
	return all, nil
}

func (w *wire) ReadMore() []socket.Datagram { return nil }

func (w *wire) Pause() bool { return true }

// waits notes how long each datagram, which says when it was sent, has waited.
type waits struct {
	mu  sync.Mutex
	all []time.Duration
}

// take returns what was noted since the last time.
func (e *waits) take() []time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := e.all
	e.all = nil
	return all
}

const routine, media = 'r', 'm'

func (e *waits) Receive(now, _ time.Time, b []byte, _ netip.AddrPort) bool {
	var sent time.Time
	if err := sent.UnmarshalBinary(b[1:]); err != nil {
		panic(err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, now.Sub(sent))
	return b[0] == routine
}

func longest(all []time.Duration) (most time.Duration) {
	for _, one := range all {
		most = max(most, one)
	}
	return most
}

// waker sends datagrams to a Port that reads, and returns how long each waited.
func waker(t *testing.T) (send func(what byte, n int, every time.Duration) []time.Duration, p *Port) {
	w := &wire{datagrams: make(chan []byte, 100)}
	p, e := New(w, func() {}, nil), &waits{}
	p.Claim(viewer, e)
	var wg sync.WaitGroup
	wg.Go(func() { _, _, _ = p.ReadFrom(make([]byte, 100)) })
	t.Cleanup(func() {
		close(w.datagrams)
		wg.Wait()
	})
	return func(what byte, n int, every time.Duration) []time.Duration {
		e.take()
		for range n {
			stamp, err := time.Now().MarshalBinary()
			require.NoError(t, err)
			w.datagrams <- append([]byte{what}, stamp...)
			time.Sleep(every)
		}
		synctest.Wait()
		return e.take()
	}, p
}

// Where very much comes, what comes gathers for a millisecond; what is left of it when
// that is over does not.
func TestModeration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		send, _ := waker(t)
		require.Zero(t, longest(send(media, 500, 500*time.Microsecond)), "two thousand a second do not")
		send(media, 500, 100*time.Microsecond)
		all := send(media, 2000, 100*time.Microsecond)
		require.InDelta(t, moderateFor, longest(all), float64(100*time.Microsecond))
		require.Greater(t, len(all), 1980)
		send(media, 100, time.Millisecond)
		require.Zero(t, longest(send(media, 100, time.Millisecond)), "it is over")
		require.LessOrEqual(t, longest(send(media, 300, 100*time.Microsecond)), moderateFor, "the first that hurries")
		send(media, 1, time.Second)
		require.Zero(t, longest(send(media, 10, time.Second)), "a few after very many")
	})
}

// Sessions that only show that they live are left to gather, and nothing waits
// once one of them does more.
func TestLull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		send, p := waker(t)
		require.Zero(t, longest(send(media, 200, time.Millisecond)))
		require.Zero(t, longest(send(routine, 100, 5*time.Millisecond)), "a few, which nothing would be gained with")
		send(routine, 250, time.Millisecond)
		gathered := send(routine, 200, time.Millisecond)
		// A pause begins at the instant of one datagram: ahead of it, or behind it.
		require.InDelta(t, coalesceFor, longest(gathered), float64(time.Millisecond))
		require.Greater(t, len(gathered), 180)
		p.Kick()
		synctest.Wait()
		require.Zero(t, longest(send(media, 1, time.Millisecond)), "what is expected does not wait")
		send(routine, 250, time.Millisecond)
		require.LessOrEqual(t, longest(send(media, 1, time.Second)), coalesceFor, "the first that hurries")
		require.Zero(t, longest(send(routine, 90, time.Millisecond)), "others are likely to follow")
	})
}
