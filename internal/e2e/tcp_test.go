package delta_test

import (
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/signal/inproc"
)

// byTCP gives a node of a world a port for clients without UDP.
func byTCP(c *cdn.Config) {
	c.TCPAddr = netip.AddrPortFrom(netip.MustParseAddrPort(c.Addr).Addr(), 7001).String()
}

// needSessions skips where viewers and publishers have PeerConnections, which know no
// TCP.
func needSessions(t *testing.T) {
	if peerConnections {
		t.Skip("PeerConnections have UDP alone")
	}
}

// In a network where no UDP gets through between clients and nodes, a publisher and a
// viewer use TCP, and nobody else is troubled.
func TestClientsWithoutUDP(t *testing.T) {
	needSessions(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		path := cdntest.Path{Delay: ms(5)}
		o := w.origin("origin", path, origin.Config{}, byTCP)
		e := w.node("edge", path, byTCP)
		w.fetch(e, o)
		w.serveViewers(e, e.relay, edge.Config{})
		clients := []netip.Addr{w.network.Host("publisher of live", path).IP(), w.network.Host("tcp", path).IP()}
		w.network.SetFilter(func(src, dst netip.AddrPort, _ []byte) bool {
			return src.Addr() == dst.Addr() || !slices.Contains(clients, src.Addr()) && !slices.Contains(clients, dst.Addr())
		})
		p := w.publish(o, "live", path, cdntest.PublisherConfig{TCP: true})
		require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
		one := w.view(e, "live", "tcp", path, cdntest.ViewerConfig{TCP: true})
		two := w.view(e, "live", "udp", path, cdntest.ViewerConfig{})
		require.NoError(t, one.WaitConnected(w.within(5*time.Second)))
		require.NoError(t, two.WaitConnected(w.within(5*time.Second)))
		time.Sleep(5 * time.Second)
		for _, v := range []*cdntest.Viewer{one, two} {
			video := v.Report().Video()
			require.Zero(t, video.FaultCount, video.Faults)
			require.Greater(t, len(video.Frames), 130)
			require.Less(t, video.Latency(0.5), ms(50))
			require.Greater(t, v.Report().Audio().Packets, 200)
		}
		require.Equal(t, 1, o.Stats().TCP.Clients)
		require.Equal(t, 1, e.Stats().TCP.Clients)
		require.NoError(t, one.Close())
		time.Sleep(time.Second)
		require.Zero(t, e.Stats().TCP.Clients)
	})
}

// On real sockets, pion publishes and plays by TCP alone.
func TestPionByTCP(t *testing.T) {
	needSessions(t)
	t.Parallel()
	node, err := cdn.Listen(cdn.Config{Addr: "127.0.0.1:0", TCPAddr: "127.0.0.1:0"})
	require.NoError(t, err)
	defer func() { require.NoError(t, node.Close()) }()
	live, err := origin.New(node, origin.Config{})
	require.NoError(t, err)
	view, err := edge.New(node, edge.Config{Source: live})
	require.NoError(t, err)
	signaling := inproc.New(inproc.Config{})
	signaling.Handle("http://node/whip/", live)
	signaling.Handle("http://node/whep/", view)
	p := cdntest.Publish(t, cdntest.PublisherConfig{Dialer: signaling, URL: "http://node/whip/demo", TCP: true})
	require.NoError(t, p.WaitConnected(t.Context()))
	v := cdntest.View(t, cdntest.ViewerConfig{Dialer: signaling, URL: "http://node/whep/demo", TCP: true})
	require.NoError(t, v.WaitFrames(t.Context(), 30))
	require.Zero(t, v.Report().Video().FaultCount)
	require.Equal(t, 2, node.Stats().TCP.Clients)
}

// A viewer by TCP whose path is narrower than the stream skips from keyframe to keyframe
// and keeps its sound; what waits for it is bounded; and nobody else loses anything.
func TestANarrowViewerByTCP(t *testing.T) {
	needSessions(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		path := cdntest.Path{Delay: ms(5)}
		var slow atomic.Uint64
		var look func()
		n := w.origin("origin", path, origin.Config{}, byTCP, func(c *cdn.Config) {
			tell := c.OnEvent
			c.OnEvent = func(e cdn.Event) {
				if tell != nil {
					tell(e)
				}
				if _, ok := e.(cdn.ViewerSlow); ok {
					slow.Add(1)
					look() // no lock is held that it needs
				}
			}
		})
		w.serveViewers(n, n.origin, edge.Config{})
		look = func() { _, _ = n.Stats(), n.edge.Stats() }
		w.publish(n, "live", path, cdntest.PublisherConfig{Video: &cdntest.Video{KeyframeInterval: time.Second}, Audio: &cdntest.Audio{}})
		wide := w.view(n, "live", "wide", path, cdntest.ViewerConfig{TCP: true})
		byUDP := w.view(n, "live", "udp", path, cdntest.ViewerConfig{})
		narrow := w.view(n, "live", "narrow", cdntest.Path{Delay: ms(5), Rate: 600_000, Queue: time.Second}, cdntest.ViewerConfig{TCP: true})
		for _, v := range []*cdntest.Viewer{wide, byUDP, narrow} {
			require.NoError(t, v.WaitConnected(w.within(5*time.Second)))
		}
		most := 0
		for range 300 {
			time.Sleep(ms(100))
			most = max(most, n.Stats().TCP.Waiting)
		}
		require.Less(t, most, 128<<10)
		for _, v := range []*cdntest.Viewer{wide, byUDP} {
			video, audio := v.Report().Video(), v.Report().Audio()
			require.Zero(t, video.Missing+audio.Missing)
			require.Greater(t, len(video.Frames), 890)
			require.Less(t, video.Latency(1), ms(200))
		}
		video, audio := narrow.Report().Video(), narrow.Report().Audio()
		t.Logf("%d frames, %d decodable, late %v; sound %d packets, %d missing, late %v; %+v", len(video.Frames), decodable(video), video.Latency(1), audio.Packets, audio.Missing, audio.Latency(1), n.Stats().TCP)
		require.Greater(t, decodable(video), 200)
		require.GreaterOrEqual(t, decodable(video), len(video.Frames)*9/10, "what comes can be shown")
		require.Less(t, video.Latency(1), 4*time.Second)
		require.Greater(t, audio.Packets, 1400)
		require.Less(t, audio.Latency(1), 3*time.Second)
		synctest.Wait() // what happens at this instant has been counted and told
		require.Positive(t, n.Stats().Totals.Slow)
		require.Equal(t, n.Stats().Totals.Slow, slow.Load())
		skipped := 0
		for _, s := range n.edge.Stats().Sessions {
			require.Zero(t, s.Shed, "the node is not behind")
			skipped += int(s.Skipped)
		}
		require.EqualValues(t, n.Stats().Totals.Slow, skipped)
	})
}

func decodable(r cdntest.TrackReport) (n int) {
	for _, f := range r.Frames {
		if f.Decodable {
			n++
		}
	}
	return n
}
