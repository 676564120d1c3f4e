package cdntest

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/transport/v5"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/netem"
)

// arrival is a numbered packet at its receiver.
type arrival struct {
	number  uint32
	latency time.Duration
}

// wire sends numbered packets from one host to another.
type wire struct {
	t        *testing.T
	network  *Network
	from, to *Host
	in       transport.UDPConn
	out      transport.UDPConn
}

func newWire(t *testing.T, c NetworkConfig, from, to Path) *wire {
	t.Helper()
	n := NewNetwork(t, c)
	w := &wire{t: t, network: n, from: n.Host("from", from), to: n.Host("to", to)}
	var err error
	w.in, err = w.to.pion().ListenUDP("udp4", &net.UDPAddr{Port: 7000})
	require.NoError(t, err)
	w.out, err = w.from.pion().ListenUDP("udp4", nil)
	require.NoError(t, err)
	return w
}

// exchange sends count packets of size bytes, one every interval, and returns
// those that arrive within a second after the last.
func (w *wire) exchange(count, size int, interval time.Duration) []arrival {
	w.t.Helper()
	var sender sync.WaitGroup
	start := time.Now()
	sender.Go(func() {
		p := make([]byte, size)
		to := &net.UDPAddr{IP: w.to.IP().AsSlice(), Port: 7000}
		for i := range count {
			time.Sleep(time.Until(start.Add(time.Duration(i) * interval)))
			binary.BigEndian.PutUint32(p, uint32(i))
			if _, err := w.out.WriteTo(p, to); err != nil {
				w.t.Error(err)
			}
		}
	})
	defer sender.Wait()
	last := start.Add(time.Duration(count) * interval)
	require.NoError(w.t, w.in.SetReadDeadline(last.Add(time.Second)))
	var got []arrival
	for buf := make([]byte, 1500); ; {
		n, _, err := w.in.ReadFrom(buf)
		if err != nil {
			require.ErrorIs(w.t, err, os.ErrDeadlineExceeded)
			return got
		}
		require.Equal(w.t, size, n)
		number := binary.BigEndian.Uint32(buf)
		sent := start.Add(time.Duration(number) * interval)
		got = append(got, arrival{number, time.Since(sent)})
	}
}

func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

func TestNetworkDelay(t *testing.T) {
	tests := []struct {
		name     string
		from, to Path
		want     time.Duration
	}{
		{"None", Path{}, Path{}, 0},
		{"Up", Path{Delay: 20 * time.Millisecond}, Path{}, 20 * time.Millisecond},
		{"Down", Path{}, Path{Delay: 20 * time.Millisecond}, 20 * time.Millisecond},
		{"Both", Path{Delay: 20 * time.Millisecond}, Path{Delay: 7 * time.Millisecond}, 27 * time.Millisecond},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				got := newWire(t, NetworkConfig{}, test.from, test.to).exchange(50, 100, 3*time.Millisecond)
				require.Len(t, got, 50)
				for i, a := range got {
					require.Equal(t, arrival{uint32(i), test.want}, a)
				}
			})
		})
	}
}

func TestNetworkKeepsOrderOfOneInstant(t *testing.T) {
	bubble(t, func(t *testing.T) {
		got := newWire(t, NetworkConfig{}, Path{Delay: time.Millisecond}, Path{Delay: time.Millisecond}).exchange(500, 10, 0)
		require.Len(t, got, 500)
		for i, a := range got {
			require.EqualValues(t, i, a.number)
		}
	})
}

func TestNetworkLoss(t *testing.T) {
	run := func(t *testing.T, seed uint64) (got []arrival) {
		bubble(t, func(t *testing.T) {
			w := newWire(t, NetworkConfig{Seed: seed}, Path{Loss: 0.1}, Path{})
			got = w.exchange(5000, 100, time.Millisecond)
			traffic := w.network.Traffic(w.from, w.to)
			require.Equal(t, 5000, traffic.Sent)
			require.Equal(t, 500_000, traffic.SentBytes)
			require.Equal(t, len(got), traffic.Arrived)
			require.Equal(t, 5000-len(got), traffic.Lost)
		})
		return got
	}
	first := run(t, 1)
	require.InDelta(t, 4500, len(first), 90) // four standard deviations
	require.Equal(t, first, run(t, 1), "the same seed must lose the same packets")
	require.NotEqual(t, first, run(t, 2))
}

func TestNetworkLossBothWays(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWire(t, NetworkConfig{}, Path{Loss: 0.5}, Path{Loss: 0.5})
		require.InDelta(t, 500, len(w.exchange(2000, 100, time.Millisecond)), 80)
	})
}

func TestNetworkJitterReorders(t *testing.T) {
	bubble(t, func(t *testing.T) {
		got := newWire(t, NetworkConfig{}, Path{Delay: 10 * time.Millisecond, Jitter: 20 * time.Millisecond}, Path{}).
			exchange(1000, 100, 5*time.Millisecond)
		require.Len(t, got, 1000)
		var overtaken int
		var sum time.Duration
		for i, a := range got {
			require.GreaterOrEqual(t, a.latency, 10*time.Millisecond)
			require.Less(t, a.latency, 30*time.Millisecond)
			sum += a.latency
			if i > 0 && a.number < got[i-1].number {
				overtaken++
			}
		}
		require.Greater(t, overtaken, 100)
		require.InDelta(t, 20, float64(sum)/1000/float64(time.Millisecond), 1)
	})
}

func TestNetworkRate(t *testing.T) {
	// With its headers each packet is 1000 bits: a millisecond.
	const size = 125 - netem.Overhead
	path := Path{Rate: 1_000_000, Queue: 10 * time.Millisecond}
	bubble(t, func(t *testing.T) {
		got := newWire(t, NetworkConfig{}, path, Path{}).exchange(20, size, time.Millisecond)
		require.Len(t, got, 20, "what the rate carries")
		for _, a := range got {
			require.Equal(t, time.Millisecond, a.latency)
		}
	})
	bubble(t, func(t *testing.T) {
		w := newWire(t, NetworkConfig{}, path, Path{})
		got := w.exchange(100, size, 0)
		require.Len(t, got, 11, "one on the wire, ten in the queue")
		for i, a := range got {
			require.Equal(t, arrival{uint32(i), time.Duration(i+1) * time.Millisecond}, a)
		}
		require.Equal(t, 89, w.network.Traffic(w.from, w.to).QueueFull)
	})
}

func TestNetworkDownRateCountsWhatArrives(t *testing.T) {
	bubble(t, func(t *testing.T) {
		// Packets that wait for the access path of one host arrive spread at
		// the other's, where they wait no more.
		path := Path{Delay: 5 * time.Millisecond, Rate: 1_000_000}
		got := newWire(t, NetworkConfig{}, path, path).exchange(20, 125-netem.Overhead, 0)
		require.Len(t, got, 20)
		for i, a := range got {
			require.Equal(t, time.Duration(i+2+10)*time.Millisecond, a.latency)
		}
	})
}

func TestNetworkChangesWhileRunning(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWire(t, NetworkConfig{}, Path{}, Path{})
		w.from.SetPath(Path{Delay: time.Millisecond})
		w.to.SetUplink(Path{Delay: time.Hour})
		require.Equal(t, []arrival{{0, time.Millisecond}}, w.exchange(1, 10, 0))
		w.to.SetDownlink(Path{Delay: 2 * time.Millisecond})
		require.Equal(t, []arrival{{0, 3 * time.Millisecond}}, w.exchange(1, 10, 0))
		w.network.Between(w.to, w.from, Path{Delay: 7 * time.Millisecond})
		require.Equal(t, []arrival{{0, 7 * time.Millisecond}}, w.exchange(1, 10, 0))
	})
}

func TestNetworkCutAndHeal(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWire(t, NetworkConfig{}, Path{Delay: 10 * time.Millisecond}, Path{})
		w.to.Cut()
		require.Empty(t, w.exchange(5, 10, 0))
		w.to.Heal()
		require.Len(t, w.exchange(5, 10, 0), 5)
		time.AfterFunc(5*time.Millisecond, w.from.Cut)
		require.Empty(t, w.exchange(5, 10, 0), "what was on its way")
		require.Equal(t, 10, w.network.Traffic(w.from, w.to).Cut)
	})
}

func TestNetworkFilter(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWire(t, NetworkConfig{}, Path{}, Path{})
		var sent int
		w.network.SetFilter(func(src, dst netip.AddrPort, p []byte) bool {
			require.Equal(t, w.from.IP(), src.Addr())
			require.Equal(t, netip.AddrPortFrom(w.to.IP(), 7000), dst)
			sent++
			return sent%10 != 0
		})
		require.Len(t, w.exchange(100, 10, 0), 90)
		w.network.SetFilter(nil)
		require.Len(t, w.exchange(100, 10, 0), 100)
		require.Equal(t, 10, w.network.Traffic(w.from, w.to).Filtered)
	})
}

func TestNetworkDropsWhatIsTooBig(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWire(t, NetworkConfig{MTU: 1200}, Path{}, Path{})
		require.Len(t, w.exchange(1, 1172, 0), 1)
		require.Empty(t, w.exchange(1, 1173, 0))
		require.Equal(t, 1, w.network.Traffic(w.from, w.to).TooBig)
	})
}

func TestNetworkCopiesPackets(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWire(t, NetworkConfig{}, Path{Delay: time.Millisecond}, Path{})
		p := []byte("before")
		_, err := w.out.WriteTo(p, &net.UDPAddr{IP: w.to.IP().AsSlice(), Port: 7000})
		require.NoError(t, err)
		copy(p, "after!")
		n, _, err := w.in.ReadFrom(p)
		require.NoError(t, err)
		require.Equal(t, "before", string(p[:n]))
	})
}

func TestNetworkManyPackets(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWire(t, NetworkConfig{}, Path{Delay: time.Millisecond, Jitter: time.Millisecond}, Path{Delay: time.Millisecond})
		require.Len(t, w.exchange(20_000, 1200, 25*time.Microsecond), 20_000)
	})
}

func TestNetworkOnRealTime(t *testing.T) {
	w := newWire(t, NetworkConfig{}, Path{Delay: 5 * time.Millisecond}, Path{})
	start := time.Now()
	_, err := w.out.WriteTo([]byte("x"), &net.UDPAddr{IP: w.to.IP().AsSlice(), Port: 7000})
	require.NoError(t, err)
	_, _, err = w.in.ReadFrom(make([]byte, 1))
	require.NoError(t, err)
	require.GreaterOrEqual(t, time.Since(start), 4*time.Millisecond)
}

func TestNetworkSeedsPathsApart(t *testing.T) {
	n := newNetwork(NetworkConfig{Seed: 1})
	defer n.Close()
	fates := func(name ...string) (all []netem.Fate) {
		l := n.newLink(Path{Loss: 0.5}, name...)
		for range 64 {
			_, f := l.Carry(time.Unix(0, 0), 100)
			all = append(all, f)
		}
		return all
	}
	require.Equal(t, fates("a", "up"), fates("a", "up"))
	require.NotEqual(t, fates("a", "up"), fates("a", "down"))
	require.NotEqual(t, fates("ab", ""), fates("a", "b"))
}

func TestNetworkQueueInBytes(t *testing.T) {
	// With its headers each packet is 1000 bits: a millisecond.
	const size = 125 - netem.Overhead
	bubble(t, func(t *testing.T) {
		w := newWire(t, NetworkConfig{}, Path{Rate: 1_000_000, QueueBytes: 10 * 125}, Path{})
		got := w.exchange(100, size, 0)
		require.Len(t, got, 10)
		for i, a := range got {
			require.Equal(t, arrival{uint32(i), time.Duration(i+1) * time.Millisecond}, a)
		}
		require.Equal(t, 90, w.network.Traffic(w.from, w.to).QueueFull)
	})
}

func TestNetworkJitterThatKeepsOrder(t *testing.T) {
	path := Path{Delay: 10 * time.Millisecond, Jitter: 50 * time.Millisecond, JitterPeriod: 100 * time.Millisecond}
	bubble(t, func(t *testing.T) {
		got := newWire(t, NetworkConfig{}, path, Path{}).exchange(1000, 100, 5*time.Millisecond)
		require.Len(t, got, 1000)
		for i, a := range got {
			require.EqualValues(t, i, a.number)
			require.GreaterOrEqual(t, a.latency, 10*time.Millisecond)
			require.LessOrEqual(t, a.latency, 60*time.Millisecond)
			if i > 0 { // in 5 of 100 ms the jitter moves by 2.5 of 50 ms at most
				require.InDelta(t, got[i-1].latency, a.latency, float64(2500*time.Microsecond))
			}
		}
	})
}

func TestNetworkReorders(t *testing.T) {
	path := Path{Delay: 10 * time.Millisecond, Reorder: 0.1, ReorderBy: 30 * time.Millisecond}
	bubble(t, func(t *testing.T) {
		late := 0
		for _, a := range newWire(t, NetworkConfig{}, path, Path{}).exchange(1000, 100, 5*time.Millisecond) {
			if a.latency == 40*time.Millisecond {
				late++
				continue
			}
			require.Equal(t, 10*time.Millisecond, a.latency)
		}
		require.InDelta(t, 100, late, 38)
	})
}

func TestNetworkSharesWithTCP(t *testing.T) {
	path := Path{Delay: 20 * time.Millisecond, Rate: 2_000_000, Queue: 100 * time.Millisecond}
	mean := func(t *testing.T, p Path) (sum time.Duration) {
		bubble(t, func(t *testing.T) {
			got := newWire(t, NetworkConfig{}, p, Path{}).exchange(1000, 1000, 20*time.Millisecond)
			require.Greater(t, len(got), 900)
			for _, a := range got {
				sum += a.latency / time.Duration(len(got))
			}
		})
		return sum
	}
	alone := mean(t, path)
	require.Equal(t, 20*time.Millisecond+4112*time.Microsecond, alone)
	path.TCP = 1
	beside := mean(t, path)
	require.Greater(t, beside, alone+40*time.Millisecond)
	require.Equal(t, beside, mean(t, path), "equal seeds, equal fates")
}

func BenchmarkNetwork(b *testing.B) {
	n := NewNetwork(b, NetworkConfig{})
	from, to := n.Host("from", Path{}), n.Host("to", Path{})
	in, err := to.pion().ListenUDP("udp", &net.UDPAddr{Port: 7000})
	require.NoError(b, err)
	out, err := from.pion().DialUDP("udp", nil, &net.UDPAddr{IP: to.IP().AsSlice(), Port: 7000})
	require.NoError(b, err)
	p := make([]byte, 1200)
	for b.Loop() {
		for range 100 {
			_, err := out.Write(p)
			require.NoError(b, err)
		}
		for range 100 {
			_, err := in.Read(p)
			require.NoError(b, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100, "ns/packet")
}
