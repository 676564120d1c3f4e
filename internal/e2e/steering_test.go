package delta_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/signal"
	"github.com/deltacdn/delta/signal/whep"
)

// steeredEdge is an edge that sends viewers to its siblings.
func (w *foundWorld) steeredEdge(name string, group string, sessions int) *node {
	n := w.node(name, cdntest.Path{Delay: ms(1)}, w.announced(name), func(c *cdn.Config) {
		c.Group, c.Limits.Sessions = group, sessions
	})
	w.find(n)
	steerer, err := edge.Siblings(n.Node, w.dir)
	require.NoError(w.t, err)
	w.serveViewers(n, n.relay, edge.Config{Steerer: steerer})
	return n
}

// An edge that is full sends viewers to one of its group that has room, and refuses
// them, saying when to come again, if there is none.
func TestViewersAreSteered(t *testing.T) {
	needLinks(t)
	synctest.Test(t, func(t *testing.T) {
		w := newFoundWorld(t)
		o := w.originAt("origin", cdntest.Path{Delay: ms(1)}) // plays too, and is of no group
		e1, e2 := w.steeredEdge("edge1", "eu", 3), w.steeredEdge("edge2", "eu", 3)
		time.Sleep(12 * time.Second)
		p := w.publish(o, "live", cdntest.Path{}, sparse())
		require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
		for range 8 {
			v := w.view(e1, "live", "viewer", cdntest.Path{}, cdntest.ViewerConfig{Kinds: []cdn.Kind{cdn.Video}})
			require.NoError(t, v.WaitFrames(w.within(5*time.Second), 5))
			time.Sleep(500 * time.Millisecond)
		}
		count := func(n *node) int { return n.edge.Stats().Viewers["live"] }
		require.Equal(t, 8, count(e1)+count(e2)+count(o))
		require.GreaterOrEqual(t, count(e1), 2)
		require.GreaterOrEqual(t, count(e2), 2, "those of its group come first")
		st := e1.edge.Stats().Steered
		require.Equal(t, uint64(8-count(e1)), st.Arriving+st.Full)
		require.Zero(t, st.Leaving+st.Nowhere)

		for n := w.refused(e1); n == nil; n = w.refused(e1) { // fill them
			w.view(e1, "live", "viewer", cdntest.Path{}, cdntest.ViewerConfig{Kinds: []cdn.Kind{cdn.Video}})
			if count(o) > 5 {
				go func() { _ = o.Drain(w.within(time.Minute)) }()
				time.Sleep(time.Second)
			}
		}
		err := w.refused(e1)
		require.ErrorIs(t, err, cdn.ErrOverLimit)
		var refused *cdn.Error
		require.ErrorAs(t, err, &refused)
		require.Equal(t, 5*time.Second, refused.RetryAfter)
		require.Positive(t, e1.edge.Stats().Steered.Nowhere)
		o.Undrain()
		time.Sleep(time.Second)
	})
}

// A refuser refuses all offers.
type refuser func() error

func (r refuser) Offer(context.Context, signal.Offer) (signal.Session, error) { return nil, r() }

// Over HTTP it is a redirect to the same path of that node, which our client follows.
func TestARedirectIsFollowed(t *testing.T) {
	h := &cdntest.ScriptedHandler{}
	there, err := whep.New(h, whep.Config{})
	require.NoError(t, err)
	target := httptest.NewServer(there)
	defer target.Close()
	for url, follows := range map[string]bool{target.URL: true, target.URL + "/": true, "nats://broker": false, "": false, "javascript:alert(1)": false} {
		here, err := whep.New(refuser(func() error {
			return &signal.RedirectError{URL: url, Err: &cdn.Error{Op: "play", Err: cdn.ErrDraining, RetryAfter: 5 * time.Second}}
		}), whep.Config{})
		require.NoError(t, err)
		server := httptest.NewServer(here)
		resp, err := http.DefaultTransport.RoundTrip(post(t, server.URL+"/whep/live/one?layer=l"))
		require.NoError(t, err)
		_ = resp.Body.Close()
		if !follows {
			require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode, url)
			require.Equal(t, "5", resp.Header.Get("Retry-After"))
		} else {
			require.Equal(t, http.StatusTemporaryRedirect, resp.StatusCode)
			require.Equal(t, target.URL+"/whep/live/one?layer=l", resp.Header.Get("Location"))
			session, err := (&whep.Client{}).Dial(t.Context(), server.URL+"/whep/live/one", signal.Offer{SDP: "v=0\r\n", Layer: "l"})
			require.NoError(t, err)
			require.NoError(t, session.Close(t.Context()))
		}
		server.Close()
	}
}

func post(t *testing.T, url string) *http.Request {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader("v=0\r\n"))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/sdp")
	return req
}

// refused returns why a viewer is not taken, nil: it is.
func (w *world) refused(n *node) error {
	v, err := cdntest.NewViewer(w.within(10*time.Second), cdntest.ViewerConfig{
		Net: w.network.Host("refused", cdntest.Path{}).Net(), Dialer: w.dialer, URL: n.url() + "/whep/live", Stream: "live",
	})
	if err == nil {
		require.NoError(w.t, v.Close())
	}
	return err
}

// A node knows what it can send: what it is told, or what has turned out.
func TestCapacity(t *testing.T) {
	if peerConnections {
		t.Skip("what PeerConnections send is not counted")
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		o := w.origin("origin", cdntest.Path{}, origin.Config{}, func(c *cdn.Config) { c.Capacity.Packets = 400 })
		p := w.publish(o, "live", cdntest.Path{}, cdntest.PublisherConfig{Video: &cdntest.Video{Bitrate: 900_000}})
		require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
		admitted := 0
		for range 10 {
			if w.refused(o) == nil {
				v := w.view(o, "live", "viewer", cdntest.Path{}, cdntest.ViewerConfig{})
				require.NoError(t, v.WaitFrames(w.within(5*time.Second), 30))
				admitted++
			}
			time.Sleep(time.Second)
			o.Load()
			time.Sleep(2 * time.Second)
			o.Load() // of the time since
		}
		require.InDelta(t, 5, admitted, 1, "some 95 packets a second each")
		require.InDelta(t, 1, o.Load(), 0.01)
		require.ErrorIs(t, w.refused(o), cdn.ErrOverLimit)
	})
}
