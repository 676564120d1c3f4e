package delta_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/signal"
)

// sessions is a handler that passes on the sessions that another makes.
type sessions struct {
	signal.Handler
	made chan signal.StatusSession
}

func (h sessions) Offer(ctx context.Context, o signal.Offer) (signal.Session, error) {
	s, err := h.Handler.Offer(ctx, o)
	if err == nil {
		h.made <- s.(signal.StatusSession)
	}
	return s, err
}

// A viewer's session tells whether somebody publishes, how many watch, and what it
// is sent; where it was answered ahead of its stream, as soon as that is so.
func TestSessionsTellTheirStatus(t *testing.T) {
	skipPeerConnections(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		path := cdntest.Path{Delay: ms(5)}
		o := w.origin("origin", path, origin.Config{Grace: time.Minute})
		e := w.edge("edge", path, edge.Config{Wait: time.Minute}, o)
		all := make(chan signal.StatusSession, 1)
		for _, n := range []*node{o, e} {
			w.dialer.Handle(n.url()+"/whep/", sessions{n.edge, all})
		}
		play := func(n *node, name string) signal.StatusSession {
			w.view(n, "live", name, path, cdntest.ViewerConfig{})
			return <-all
		}
		waiting := play(e, "waiting")
		require.Equal(t, signal.Status{Viewers: 1}, waiting.Status(), "nobody publishes")
		begun := time.Now()
		require.Equal(t, waiting.Status(), waiting.AwaitStatus(w.within(time.Second), waiting.Status()))
		require.Equal(t, time.Second, time.Since(begun))

		p := w.publish(o, "live", path, cdntest.PublisherConfig{})
		begun = time.Now()
		require.True(t, waiting.AwaitStatus(w.within(5*time.Second), signal.Status{}).Active)
		require.Less(t, time.Since(begun), time.Second)

		near := play(o, "near")
		require.True(t, near.Status().Active)
		require.Equal(t, 1, near.Status().Viewers, "that watch at this node")
		play(o, "another")
		require.Equal(t, 2, near.Status().Viewers)
		time.Sleep(time.Second)
		require.False(t, near.Status().Paused)

		p.Kill()
		seen := near.Status()
		for seen.Active {
			seen = near.AwaitStatus(w.within(time.Minute), seen)
		}
		w.publishFrom(o, "live", cdntest.PublisherConfig{Net: w.network.Host("again", path).Net()})
		require.True(t, near.AwaitStatus(w.within(time.Second), seen).Active)
		require.NoError(t, near.Err(), "it is the same session")
		begun = time.Now()
		go func() { _ = near.Close() }()
		near.AwaitStatus(w.within(time.Minute), near.Status())
		require.Less(t, time.Since(begun), 5*time.Second, "it ends with the session")
		<-near.Done()
		require.ErrorIs(t, near.Err(), cdn.ErrClosed)
	})
}
