package delta_test

import (
	"fmt"
	"net/netip"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
)

// wire counts the SRTP packets that a network carries, by who sends them to whom.
type wire struct {
	mu    sync.Mutex
	flows map[[2]netip.AddrPort]cdn.Flow
}

func (w *wire) count(src, dst netip.AddrPort, payload []byte) bool {
	if len(payload) < 12 || payload[0]>>6 != 2 || payload[1] >= 192 && payload[1] < 224 { // RFC 7983, RFC 5761
		return true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.flows[[2]netip.AddrPort{src, dst}]
	f.Packets++
	f.Bytes += uint64(len(payload))
	w.flows[[2]netip.AddrPort{src, dst}] = f
	return true
}

// from sums up what left from, to those that ok holds for.
func (w *wire) from(from *node, ok func(netip.AddrPort) bool) (sum cdn.Flow) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for k, f := range w.flows {
		if k[0] == from.port() && ok(k[1]) {
			sum.Packets += f.Packets
			sum.Bytes += f.Bytes
		}
	}
	return sum
}

// to sums up what went to a node from those that ok holds for.
func (w *wire) to(to *node, ok func(netip.AddrPort) bool) (sum cdn.Flow) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for k, f := range w.flows {
		if k[1] == to.port() && ok(k[0]) {
			sum.Packets += f.Packets
			sum.Bytes += f.Bytes
		}
	}
	return sum
}

func (n *node) port() netip.AddrPort { return netip.AddrPortFrom(n.host.IP(), 7000) }

// watchTotals reads a node's totals again and again, from several goroutines, and
// fails when a counter falls.
func watchTotals(t *testing.T, n *cdn.Node) (stop func()) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			last := reflect.ValueOf(n.Stats().Totals)
			for {
				select {
				case <-done:
					return
				case <-time.After(time.Duration(3+2*i) * time.Millisecond):
				}
				now := reflect.ValueOf(n.Stats().Totals)
				if what := fallen("Totals", last, now); what != "" {
					t.Errorf("%s: %s", n.ID(), what)
					return
				}
				last = now
			}
		})
	}
	return func() { close(done); wg.Wait() }
}

// fallen says which counter is less than it was, "" if none is.
func fallen(name string, before, after reflect.Value) string {
	switch before.Kind() {
	case reflect.Struct:
		for i := range before.NumField() {
			if what := fallen(name+"."+before.Type().Field(i).Name, before.Field(i), after.Field(i)); what != "" {
				return what
			}
		}
	case reflect.Array:
		for i := range before.Len() {
			if what := fallen(fmt.Sprintf("%s[%d]", name, i), before.Index(i), after.Index(i)); what != "" {
				return what
			}
		}
	case reflect.Map:
		for _, k := range before.MapKeys() {
			now := after.MapIndex(k)
			if !now.IsValid() || now.Uint() < before.MapIndex(k).Uint() {
				return fmt.Sprintf("%s[%v] fell", name, k)
			}
		}
	case reflect.Uint64:
		if after.Uint() < before.Uint() {
			return fmt.Sprintf("%s fell from %d to %d", name, before.Uint(), after.Uint())
		}
	case reflect.Int64:
		if after.Int() < before.Int() {
			return fmt.Sprintf("%s fell from %d to %d", name, before.Int(), after.Int())
		}
	default:
		return name + " is of a kind that is not looked at"
	}
	return ""
}

func TestFallen(t *testing.T) {
	a := cdn.Totals{Shed: 2, LinksDown: map[string]uint64{"closed": 1}}
	a.Play.Ended = map[string]uint64{"left": 2}
	same := a
	require.Empty(t, fallen("", reflect.ValueOf(a), reflect.ValueOf(same)))
	for _, change := range []func(*cdn.Totals){
		func(t *cdn.Totals) { t.Shed = 1 },
		func(t *cdn.Totals) { t.LinksDown = nil },
		func(t *cdn.Totals) { t.Play.Ended = map[string]uint64{"left": 1} },
		func(t *cdn.Totals) { t.AnswerTimes.Sum = -1 },
	} {
		b := a
		change(&b)
		require.NotEmpty(t, fallen("", reflect.ValueOf(a), reflect.ValueOf(b)))
	}
}

// While publishers, viewers and links come and go, a node's totals never fall, and at
// the end they are what the network carried.
func TestTotalsAddUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		carried := &wire{flows: make(map[[2]netip.AddrPort]cdn.Flow)}
		w.network.SetFilter(carried.count)
		path := cdntest.Path{Delay: ms(5)}
		o := w.origin("origin", path, origin.Config{Grace: -1})
		r := w.relay("relay", path, o)
		e := w.edge("edge", path, edge.Config{Wait: 5 * time.Second}, r)
		nodes := []*node{o, r, e}
		var stops []func()
		for _, n := range nodes {
			stops = append(stops, watchTotals(t, n.Node))
		}

		var wg sync.WaitGroup
		started := 0
		for round := range 4 {
			p := w.publishFrom(o, "live", cdntest.PublisherConfig{
				Net:   w.network.Host(fmt.Sprint("publisher ", round), path).Net(),
				Video: &cdntest.Video{Bitrate: 300_000, FPS: 20}, Audio: &cdntest.Audio{},
			})
			require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
			for i := range 12 {
				n := []*node{e, o, e}[i%3]
				v := w.view(n, "live", fmt.Sprint("viewer ", round, " ", i), path, cdntest.ViewerConfig{})
				started++
				wg.Go(func() {
					time.Sleep(time.Duration(200+150*i) * time.Millisecond)
					if i%2 == 0 {
						_ = v.Close()
					} else {
						v.Kill() // it goes without a word, and is missed later
					}
				})
			}
			time.Sleep(1500 * time.Millisecond)
			require.NoError(t, p.Stop(w.within(time.Second)))
			time.Sleep(time.Second)
		}
		wg.Wait()
		time.Sleep(20 * time.Second) // those that went without a word have been missed
		for _, stop := range stops {
			stop()
		}

		isNode := func(a netip.AddrPort) bool { return a == o.port() || a == r.port() || a == e.port() }
		isClient := func(a netip.AddrPort) bool { return !isNode(a) }
		var played uint64
		for _, n := range nodes {
			total := n.Stats().Totals
			played += total.Play.Started
			require.Equal(t, total.Play.Started, sumOf(total.Play.Ended))
			require.Equal(t, total.StreamsStarted, total.StreamsEnded)
			require.Equal(t, n != o, total.Publishers.Received == cdn.Flow{})
			if peerConnections { // they have sockets of their own where they dial
				continue
			}
			requireFlow(t, carried.from(n, isClient), total.Viewers.Sent, n.name+" to viewers")
			requireFlow(t, carried.from(n, isNode), total.Links.Sent, n.name+" to nodes")
			requireFlow(t, carried.to(n, isNode), total.Links.Received, n.name+" from nodes")
			require.Zero(t, total.Nodes)
		}
		require.Equal(t, uint64(started), played)
		total := o.Stats().Totals
		got, sent := total.Publishers.Received, carried.to(o, isClient)
		require.LessOrEqual(t, got.Packets+got.Dropped, sent.Packets)
		require.GreaterOrEqual(t, got.Packets+got.Dropped, sent.Packets-4*3, "what was on its way when a publisher stopped is not received")
		require.Equal(t, uint64(4), total.Publish.Started)
		require.Equal(t, uint64(4), total.Publish.Ended["left"], "%v", total.Publish)
		require.Zero(t, o.Stats().Sessions)
	})
}

// requireFlow asserts that a node has counted what was carried.
func requireFlow(t *testing.T, carried, counted cdn.Flow, what string) {
	t.Helper()
	require.Equal(t, carried.Packets, counted.Packets+counted.Dropped, what)
	if counted.Dropped == 0 {
		require.Equal(t, carried.Bytes, counted.Bytes, what)
	}
}

func sumOf(m map[string]uint64) (sum uint64) {
	for _, n := range m {
		sum += n
	}
	return sum
}

// A request that does not become a session counts as refused, for its reason, once.
func TestRefusalsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		path := cdntest.Path{Delay: ms(5)}
		o := w.origin("origin", path, origin.Config{}, func(c *cdn.Config) { c.Limits.Sessions = 2 })
		require.ErrorIs(t, w.refusal(o, "nothing"), cdn.ErrNotFound)
		w.publish(o, "live", path, cdntest.PublisherConfig{})
		v := w.view(o, "live", "viewer", path, cdntest.ViewerConfig{})
		require.NoError(t, v.WaitFrames(w.within(5*time.Second), 1))
		require.ErrorIs(t, w.refusal(o, "live"), cdn.ErrOverLimit)
		total := o.Stats().Totals
		require.Equal(t, map[string]uint64{"not-found": 1, "over-limit": 1}, total.Play.Refused)
		require.Equal(t, uint64(1), total.Play.Started)
		require.Empty(t, total.Play.Ended)
		require.Equal(t, cdn.SessionTotals{Started: 1}, total.Publish)
	})
}
