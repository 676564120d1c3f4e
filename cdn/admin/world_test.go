package admin

import (
	"cmp"
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/access"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/relay"
	"github.com/deltacdn/delta/signal/inproc"
)

// world is a network of nodes with their APIs, in memory.
type world struct {
	t       *testing.T
	network *cdntest.Network
	dialer  *inproc.Network
	nodes   map[string]*node
	ended   []cdn.SessionEnded // at any node
	mu      chan struct{}      // a lock of ended
}

type node struct {
	*cdn.Node
	api  *API
	log  *syncBuffer
	host *cdntest.Host
}

func newWorld(t *testing.T) *world {
	w := &world{
		t: t, network: cdntest.NewNetwork(t, cdntest.NetworkConfig{Seed: 1}), dialer: inproc.New(inproc.Config{}),
		nodes: map[string]*node{}, mu: make(chan struct{}, 1),
	}
	return w
}

// start starts a node that plays to viewers and serves nodes; with upstreams it fetches
// from them, and without it is an origin.
func (w *world) start(name string, upstreams ...string) *node {
	return w.startIn(nil, name, upstreams...)
}

// startIn starts a node that is announced in a directory, and finds others in it if that
// is not nil.
func (w *world) startIn(dir cdn.Directory, name string, upstreams ...string) *node {
	t := w.t
	n := &node{log: &syncBuffer{}, host: w.network.Host(name, cdntest.Path{Delay: 10 * time.Millisecond})}
	list, err := access.New(cdn.AuthorizerFunc(func(_ context.Context, r cdn.AuthRequest) (cdn.Grant, error) {
		return cdn.Grant{ID: r.Credential, Subject: "subject of " + r.Credential, Tag: "tag of " + r.Credential}, nil
	}), access.Policy{})
	require.NoError(t, err)
	n.Node, err = cdn.Listen(cdn.Config{
		ID: cdn.NodeID(name), URL: "http://" + name, Addr: netip.AddrPortFrom(n.host.IP(), 7000).String(), Net: n.host.Net(),
		Trust: cdn.Trust{Secret: "known to nodes"}, Authorizer: list, Directory: dir,
		OnEvent: func(e cdn.Event) {
			if e, ok := e.(cdn.SessionEnded); ok {
				w.mu <- struct{}{}
				w.ended = append(w.ended, e)
				<-w.mu
			}
		},
	})
	require.NoError(t, err)
	list.Bind(n.Node)
	c := Config{Node: n.Node, Access: list, Dialer: w.dialer, Version: "test", Logger: slog.New(slog.NewTextHandler(n.log, nil))}
	var source cdn.Source
	if len(upstreams) == 0 {
		c.Origin, err = origin.New(n.Node, origin.Config{})
		require.NoError(t, err)
		w.dialer.Handle(n.URL()+"/whip/", c.Origin)
		source = c.Origin
	} else {
		for i := range upstreams {
			upstreams[i] = "http://" + upstreams[i]
		}
		f, err := relay.NewLink(n.Node, relay.LinkConfig{Dialer: w.dialer})
		require.NoError(t, err)
		c.Relay, err = relay.New(n.Node, relay.Config{Directory: cmp.Or(dir, cdn.Static(upstreams...)), Fetcher: f})
		require.NoError(t, err)
		source = c.Relay
	}
	c.Server, err = relay.NewServer(n.Node, source)
	require.NoError(t, err)
	w.dialer.Handle(n.URL()+relay.Prefix, c.Server)
	c.Edge, err = edge.New(n.Node, edge.Config{Source: source})
	require.NoError(t, err)
	w.dialer.Handle(n.URL()+"/whep/", c.Edge)
	n.api, err = New(c)
	require.NoError(t, err)
	w.nodes[name] = n
	t.Cleanup(func() {
		if w.nodes[name] == n {
			require.NoError(t, n.Close())
		}
	})
	return n
}

// kill has a node die as in a power cut.
func (w *world) kill(name string) {
	n := w.nodes[name]
	delete(w.nodes, name)
	n.host.Cut()
	require.NoError(w.t, n.Close())
}

func (w *world) publish(at string, stream cdn.StreamID) *cdntest.Publisher {
	return cdntest.Publish(w.t, cdntest.PublisherConfig{
		Net: w.network.Host("publisher of "+string(stream), cdntest.Path{}).Net(), Dialer: w.dialer, URL: "http://" + at + "/whip/" + string(stream), Stream: stream,
		Video: &cdntest.Video{Bitrate: 300_000, FPS: 10},
	})
}

// view plays a stream on a host of that name, with the name as the credential.
func (w *world) view(at string, stream cdn.StreamID, name string) *cdntest.Viewer {
	return cdntest.View(w.t, cdntest.ViewerConfig{
		Credential: name,
		Net:        w.network.Host(name, cdntest.Path{}).Net(), Dialer: w.dialer, URL: "http://" + at + "/whep/" + string(stream), Stream: stream,
	})
}

func (w *world) within(d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	w.t.Cleanup(cancel)
	return ctx
}

// reports returns what a node knows, by the others' IDs.
func (w *world) reports(at string) map[string]Report {
	n, err := w.nodes[at].api.Network(w.t.Context())
	require.NoError(w.t, err)
	require.Equal(w.t, at, n.Via)
	all := map[string]Report{}
	var ids []string
	for _, r := range n.Nodes {
		all[r.Node.ID] = r
		ids = append(ids, r.Node.ID)
	}
	require.True(w.t, slices.IsSorted(ids))
	require.Len(w.t, all, len(ids))
	return all
}

// chain is an origin, a relay, two edges behind that, and an edge behind one of them, so
// that two nodes are three links apart.
func (w *world) chain() {
	w.start("origin")
	w.start("relay", "origin")
	w.start("edge-1", "relay")
	w.start("edge-2", "relay")
	w.start("far", "edge-1")
	time.Sleep(5 * time.Second)
}

// Each node sees all others, with their links, streams and sessions.
func TestTheWholeNetworkFromEachNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.chain()
		p := w.publish("origin", "live/one")
		require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
		v := w.view("far", "live/one", "viewer")
		require.NoError(t, v.WaitFrames(w.within(10*time.Second), 20))
		for at := range w.nodes {
			all := w.reports(at)
			require.Len(t, all, 5, "as %s sees it", at)
			for id, r := range all {
				require.Equal(t, Current, r.State, "%s, as %s sees it: %s", id, at, r.Problem)
				require.NotNil(t, r.Time)
				require.Equal(t, "test", r.Node.Version)
			}
			require.Equal(t, 0, all[at].Hops)
			require.Equal(t, []string{"origin", "edge"}, all["origin"].Node.Roles)
			require.Equal(t, []string{"relay", "edge"}, all["relay"].Node.Roles)
			require.Len(t, all["relay"].Links, 3)
			require.Equal(t, 1, all["origin"].Sessions.Publishers)
			require.Equal(t, 1, all["far"].Sessions.Viewers)
			require.Equal(t, []string{"origin", "relay", "edge-1"}, all["far"].Streams[0].Path)
			require.Equal(t, 1, all["far"].Streams[0].Viewers)
			require.Equal(t, "edge-1", all["far"].Streams[0].Upstream.Node)
			require.True(t, all["origin"].Streams[0].Published)
			require.Empty(t, all["edge-2"].Streams)
			require.Greater(t, all["origin"].Totals.BitrateOut, int64(200_000))
			require.Greater(t, all["relay"].Totals.BytesIn, uint64(50_000))
			require.Greater(t, all["relay"].Totals.BytesOut, uint64(50_000))
			require.Equal(t, uint64(1), all["far"].Totals.SessionsStarted)
			require.Equal(t, map[string]int{"origin": 3, "relay": 2, "edge-1": 1, "edge-2": 3}[at], all["far"].Hops)

			page, err := w.nodes[at].api.Sessions(t.Context(), SessionQuery{})
			require.NoError(t, err)
			require.Empty(t, page.Silent)
			require.Len(t, page.Sessions, 5, "a publisher, a viewer, and three fetches")
		}
	})
}

// endings returns how sessions ended, by stream and action.
func (w *world) endings(stream cdn.StreamID, action cdn.Action) (all []cdn.SessionEnded) {
	w.mu <- struct{}{}
	defer func() { <-w.mu }()
	for _, e := range w.ended {
		if e.Stream == stream && e.Action == action {
			all = append(all, e)
		}
	}
	return all
}

// session returns the only session that is selected.
func (w *world) session(at string, q SessionQuery) Session {
	w.t.Helper()
	page, err := w.nodes[at].api.Sessions(w.t.Context(), q)
	require.NoError(w.t, err)
	require.Len(w.t, page.Sessions, 1)
	return page.Sessions[0]
}

// A node that dies is stale once its links are given up, with the age of what was last
// known of it, and gone after a minute.
func TestANodeThatDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start("origin")
		w.start("edge", "origin")
		w.start("other", "origin")
		time.Sleep(5 * time.Second)
		require.Equal(t, Current, w.reports("edge")["other"].State)
		w.kill("other")
		died := time.Now()
		for w.reports("edge")["other"].State == Current {
			require.Less(t, time.Since(died), 6*time.Second)
			time.Sleep(100 * time.Millisecond)
		}
		stale := w.reports("edge")["other"]
		require.Equal(t, Stale, stale.State)
		require.NotEmpty(t, stale.Problem)
		require.NotNil(t, stale.Time)
		require.InDelta(t, time.Since(*stale.Time).Seconds(), stale.AgeSeconds, 0.01)
		require.Equal(t, []string{"relay", "edge"}, stale.Node.Roles, "what was last known")
		time.Sleep(30 * time.Second)
		require.Greater(t, w.reports("edge")["other"].AgeSeconds, 30.0)
		list, err := w.nodes["edge"].api.Nodes(t.Context())
		require.NoError(t, err)
		require.Len(t, list.Nodes, 3)
		page, err := w.nodes["edge"].api.Sessions(t.Context(), SessionQuery{})
		require.NoError(t, err)
		require.Equal(t, []string{"other"}, page.Silent, "its sessions are not known")
		time.Sleep(30 * time.Second)
		require.NotContains(t, w.reports("edge"), "other")

		// It comes back under its name.
		w.start("other-again", "origin")
		time.Sleep(5 * time.Second)
		require.Equal(t, Current, w.reports("edge")["other-again"].State)
	})
}

// A node that hangs does not hold up what is known of the others.
func TestANodeThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start("origin")
		w.start("edge", "origin")
		w.start("other", "origin")
		time.Sleep(5 * time.Second)
		w.reports("edge")
		w.nodes["other"].api.network.calls.Handle(method, func(ctx context.Context, _ relay.Call) ([]byte, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		time.Sleep(2 * time.Second)
		begun := time.Now()
		all := w.reports("edge")
		require.LessOrEqual(t, time.Since(begun), 2500*time.Millisecond)
		require.Equal(t, Stale, all["other"].State)
		require.Equal(t, "The node does not answer.", all["other"].Problem)
		require.Equal(t, Current, all["origin"].State)
	})
}

// A node that has no API is named by the others, and nothing is known of it.
func TestANodeWithoutAnAPI(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start("origin")
		w.start("edge", "origin")
		w.start("other", "origin")
		require.NoError(t, w.nodes["other"].api.Close())
		time.Sleep(5 * time.Second)
		r := w.reports("edge")["other"]
		require.Equal(t, Unknown, r.State)
		require.Equal(t, "The node has no admin API.", r.Problem)
		require.Nil(t, r.Time)
		_, err := w.nodes["edge"].api.Drain(t.Context(), "test", "other", Drain{})
		require.ErrorIs(t, err, cdn.ErrUnsupported)
	})
}

// A block ends the publisher and all viewers within a second, also of a stream that was
// A page has as many sessions as are asked for, and the pages together all of them, once.
func TestPagesOfSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start("origin")
		w.start("edge", "origin")
		time.Sleep(5 * time.Second)
		p := w.publish("origin", "live")
		require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
		for i := range 5 {
			for _, at := range []string{"origin", "edge"} {
				w.view(at, "live", at+string(rune('0'+i)))
			}
		}
		time.Sleep(5 * time.Second)
		for limit := 1; limit <= 13; limit++ {
			var all []string
			q := SessionQuery{Limit: limit}
			for pages := 0; ; pages++ {
				require.Less(t, pages, 13)
				page, err := w.nodes["edge"].api.Sessions(t.Context(), q)
				require.NoError(t, err)
				require.LessOrEqual(t, len(page.Sessions), limit)
				require.True(t, slices.IsSortedFunc(page.Sessions, func(x, y Session) int {
					return cmp.Or(cmp.Compare(x.Node, y.Node), x.Begun.Compare(y.Begun))
				}))
				for _, s := range page.Sessions {
					all = append(all, s.ID)
				}
				if q.After = page.Next; q.After == "" {
					break
				}
				require.Len(t, page.Sessions, limit, "only the last page is short")
			}
			slices.Sort(all)
			require.Len(t, slices.Compact(all), 12, "with pages of %d", limit)
		}
	})
}

// Nodes that a directory knows, and that have nothing to do with each other, are seen, too.
func TestNodesOfADirectory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		dir := cdn.NewMemory()
		w.startIn(dir, "origin")
		for _, name := range []string{"edge-1", "edge-2", "edge-3"} {
			w.startIn(dir, name, "origin")
		}
		time.Sleep(5 * time.Second)
		require.Empty(t, relay.Links(w.nodes["edge-3"].Node), "nobody wants anything")
		all := w.reports("edge-1")
		require.Len(t, all, 4)
		for id, r := range all {
			require.Equal(t, Current, r.State, "%s: %s", id, r.Problem)
		}
		require.Len(t, w.reports("edge-2"), 4)
		require.LessOrEqual(t, len(relay.Links(w.nodes["edge-2"].Node)), 2, "it asks the others over edge-1")
	})
}
