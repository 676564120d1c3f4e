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

// Sessions that only show that they live are left to gather, and nothing waits
// once one of them does more.
func TestLull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{datagrams: make(chan []byte, 100)}
		p, e := New(w, func() {}, nil), &waits{}
		p.Claim(viewer, e)
		var wg sync.WaitGroup
		wg.Go(func() { _, _, _ = p.ReadFrom(make([]byte, 100)) })
		send := func(what byte, n int, every time.Duration) []time.Duration {
			e.take()
			for range n {
				stamp, err := time.Now().MarshalBinary()
				require.NoError(t, err)
				w.datagrams <- append([]byte{what}, stamp...)
				time.Sleep(every)
			}
			synctest.Wait()
			return e.take()
		}
		longest := func(all []time.Duration) (most time.Duration) {
			for _, one := range all {
				most = max(most, one)
			}
			return most
		}
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
		close(w.datagrams)
		wg.Wait()
	})
}
