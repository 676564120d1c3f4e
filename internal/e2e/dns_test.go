package delta_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/relay"
)

// A relay whose point of entry is a name goes over to new addresses of that name without
// a restart, and what runs is not touched: not by the change, not by a resolver that is
// dead, and by the end of the old node as little as with any directory.
func TestPointOfEntryGetsAnotherAddress(t *testing.T) {
	needLinks(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		path := cdntest.Path{Delay: ms(10)}
		o := w.origin("origin", path, origin.Config{})
		relays := map[string]*node{"a": w.relay("a", path, o), "b": w.relay("b", path, o)}
		names := &cdntest.Names{}
		for _, r := range relays {
			w.dialer.Handle("http://"+r.host.IP().String()+relay.Prefix, r.server)
		}
		dns, err := cdn.NewDNS(cdn.DNSConfig{Names: []string{"http://entry.example.com"}, Resolver: names})
		require.NoError(t, err)
		defer dns.Close()
		names.Set("entry.example.com", relays["a"].host.IP())
		e := w.node("edge", path)
		e.relay, err = relay.New(e.Node, relay.Config{Directory: dns, Fetcher: w.fetcher(e)})
		require.NoError(t, err)
		w.serveViewers(e, e.relay, edge.Config{})
		for _, id := range []cdn.StreamID{"one", "two", "three"} {
			p := w.publish(o, id, path, cdntest.PublisherConfig{Video: &cdntest.Video{Bitrate: 100_000}})
			require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
		}
		comesFrom := func(id cdn.StreamID) cdn.NodeID {
			for _, st := range e.relay.Stats() {
				if st.Stream == id {
					return st.Node
				}
			}
			return ""
		}
		links := func() (with []cdn.NodeID) {
			for _, l := range relay.Links(e.Node) {
				with = append(with, l.Node)
			}
			return with
		}

		require.True(t, func() bool { time.Sleep(time.Second); return e.relay.Ready() }())
		require.Equal(t, []cdn.NodeID{"a"}, links())
		one := w.view(e, "one", "viewer one", path, cdntest.ViewerConfig{})
		require.NoError(t, one.WaitFrames(w.within(5*time.Second), 30))
		require.Equal(t, cdn.NodeID("a"), comesFrom("one"))

		names.Set("entry.example.com", relays["b"].host.IP())
		time.Sleep(40 * time.Second) // a refresh, and what is between two questions of the relay
		require.ElementsMatch(t, []cdn.NodeID{"a", "b"}, links(), "the link with the new node is there before it is needed")
		two := w.view(e, "two", "viewer two", path, cdntest.ViewerConfig{})
		require.NoError(t, two.WaitFrames(w.within(5*time.Second), 30))
		require.Equal(t, cdn.NodeID("b"), comesFrom("two"))
		require.Equal(t, cdn.NodeID("a"), comesFrom("one"), "what runs stays")

		names.Fail(errors.New("no DNS server can be reached"))
		time.Sleep(2 * time.Minute)
		w.kill(relays["a"])
		time.Sleep(5 * time.Second)
		require.Equal(t, cdn.NodeID("b"), comesFrom("one"))
		three := w.view(e, "three", "viewer three", path, cdntest.ViewerConfig{})
		require.NoError(t, three.WaitFrames(w.within(5*time.Second), 30))
		for _, v := range []*cdntest.Viewer{one, two, three} {
			r := v.Report()
			require.Less(t, gap(r.Video(), r.Connected), 1500*time.Millisecond)
			last := r.Video().Frames[len(r.Video().Frames)-1]
			require.Less(t, time.Since(last.Done), ms(150), "it plays")
		}
		require.NoError(t, relays["a"].Close())
		relays["a"].Node = nil
	})
}
