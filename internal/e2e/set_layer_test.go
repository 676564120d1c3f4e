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
	"github.com/deltacdn/delta/signal"
)

// nameOf returns the name of the only viewer of an edge.
func nameOf(t *testing.T, e *edge.Edge) string {
	all := e.Stats().Sessions
	require.Len(t, all, 1)
	return all[0].Session
}

// A viewer is given another layer while it plays, behind two hops, with nothing lost and
// no new negotiation, and is bounded to less, and let go again.
func TestAViewerIsGivenAnotherLayer(t *testing.T) {
	onLadder(t, func(t *testing.T, w *ladder) {
		v := w.view(w.edge, "live", "viewer", w.path, cdntest.ViewerConfig{})
		require.NoError(t, v.WaitFrames(w.within(5*time.Second), 60))
		time.Sleep(2 * time.Second)
		name := nameOf(t, w.edge.edge)
		for _, step := range []struct {
			what string
			do   func() error
			want int
		}{
			{"named", func() error { return w.edge.edge.SetLayer(name, "l") }, 0},
			{"the other", func() error { return w.edge.edge.SetLayer(name, "h") }, 1},
			{"bounded", func() error { return w.edge.edge.SetMaxBitrate(name, 2*lowRate) }, 0},
			{"the best, bounded", func() error { return w.edge.edge.SetLayer(name, "") }, 0},
			{"the best", func() error { return w.edge.edge.SetMaxBitrate(name, 0) }, 1},
		} {
			begun := time.Now()
			require.NoError(t, step.do(), step.what)
			time.Sleep(4 * time.Second)
			first, last := layerAt(v, step.want, begun)
			require.Equal(t, step.want, last, step.what)
			t.Logf("%s: after %v", step.what, first)
			require.Less(t, first, 500*time.Millisecond, step.what)
		}
		requireWhole(t, v)
		require.ErrorIs(t, w.edge.edge.SetLayer(name, "x"), cdn.ErrNotFound)
		require.ErrorIs(t, w.edge.edge.SetLayer("nobody", "l"), cdn.ErrNotFound)
		require.ErrorIs(t, w.edge.edge.SetMaxBitrate(name, -1), cdn.ErrInvalid)
		require.ErrorIs(t, w.edge.edge.SetMaxBitrate("nobody", 1), cdn.ErrNotFound)
		require.Equal(t, "", w.edge.edge.Stats().Sessions[0].Named)
	})
}

// A tapped is the edge of a node whose sessions the test sees.
type tapped struct {
	signal.Handler
	session signal.Session
}

func (t *tapped) Offer(ctx context.Context, o signal.Offer) (signal.Session, error) {
	s, err := t.Handler.Offer(ctx, o)
	t.session = s
	return s, err
}

// The client is told by its status when another layer is sent.
func TestAViewerIsToldOfItsLayer(t *testing.T) {
	onLadder(t, func(t *testing.T, w *ladder) {
		tap := &tapped{Handler: w.edge.edge}
		w.dialer.Handle(w.edge.url()+"/whep/", tap)
		v := w.view(w.edge, "live", "viewer", w.path, cdntest.ViewerConfig{Layer: "h"})
		require.NoError(t, v.WaitFrames(w.within(5*time.Second), 30))
		status := tap.session.(signal.StatusSession)
		seen := status.Status()
		until := func(layer string) {
			begun := time.Now()
			for seen.Layer != layer {
				seen = status.AwaitStatus(w.within(time.Second), seen)
				require.Less(t, time.Since(begun), 500*time.Millisecond, layer)
			}
		}
		// The frames of its first picture may be those of the layer that was there.
		until("h")
		synctest.Wait()
		require.NoError(t, tap.session.(signal.LayerSession).SetLayer("l"))
		until("l")
	})
}
