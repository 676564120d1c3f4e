package delta_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
)

// A name that is published at a node cannot be published there by somebody else of
// the same process, until that stream has ended; it can be fetched beside that.
func TestANameIsPublishedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		o := w.origin("origin", cdntest.Path{}, origin.Config{})
		first, err := o.NewStream("ours")
		require.NoError(t, err)
		_, err = o.NewStream("ours")
		require.ErrorIs(t, err, cdn.ErrAlreadyPublishing)
		fetched, err := o.NewFetchedStream("ours")
		require.NoError(t, err)
		_, err = cdntest.NewPublisher(t.Context(), cdntest.PublisherConfig{
			Net: w.network.Host("publisher", cdntest.Path{}).Net(), Dialer: w.dialer, URL: o.url() + "/whip/ours", Stream: "ours",
		})
		require.ErrorIs(t, err, cdn.ErrAlreadyPublishing)

		first.End(nil)
		second, err := o.NewStream("ours")
		require.NoError(t, err)
		second.End(nil)
		fetched.End(nil)
		p := w.publish(o, "ours", cdntest.Path{}, cdntest.PublisherConfig{})
		require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
		_, err = o.NewStream("ours")
		require.ErrorIs(t, err, cdn.ErrAlreadyPublishing)
	})
}

// streamEvents returns what was told of streams since it was last called.
func (w *world) streamEvents() (all []cdn.Event) {
	synctest.Wait()
	for {
		select {
		case e := <-w.events:
			switch e.(type) {
			case cdn.StreamStarted, cdn.StreamEnded:
				all = append(all, e)
			}
		default:
			return all
		}
	}
}

// A stream starts when there is something of it, and ends once. A name that nobody
// publishes does neither, however often it is asked for.
func TestStreamsStartAndEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		path := cdntest.Path{Delay: ms(5)}
		o := w.origin("origin", path, origin.Config{})
		e := w.edge("edge", path, edge.Config{}, o)
		for range 3 {
			sub, err := e.relay.Open(t.Context(), cdn.Request{Stream: "live"})
			require.NoError(t, err)
			require.ErrorIs(t, sub.Stream().Ready(w.within(5*time.Second)), cdn.ErrNotFound)
			sub.Close()
			time.Sleep(2 * time.Second)
		}
		own, err := e.NewStream("of no input")
		require.NoError(t, err)
		own.End(nil)
		require.Empty(t, w.streamEvents())

		p := w.publish(o, "live", path, cdntest.PublisherConfig{})
		require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
		require.Equal(t, []cdn.Event{cdn.StreamStarted{Stream: "live"}}, w.streamEvents())
		v := w.view(e, "live", "viewer", path, cdntest.ViewerConfig{})
		require.NoError(t, v.WaitFrames(w.within(5*time.Second), 10))
		require.Equal(t, []cdn.Event{cdn.StreamStarted{Stream: "live"}}, w.streamEvents())
		require.NoError(t, p.Stop(w.within(5*time.Second)))
		time.Sleep(time.Second)
		ended := w.streamEvents()
		require.Len(t, ended, 2)
		for _, e := range ended {
			require.IsType(t, cdn.StreamEnded{}, e)
			require.ErrorIs(t, e.(cdn.StreamEnded).Err, cdn.ErrEnded)
		}
	})
}

// Whoever ends a stream does not forbid its name: the next publisher is let in at
// once, whatever the reason was, and though the last one is being told yet.
func TestANewPublisherAfterAStreamWasEnded(t *testing.T) {
	for _, why := range []error{cdn.ErrForbidden, cdn.ErrOverLimit, nil} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			path := cdntest.Path{Delay: ms(5)}
			o := w.origin("origin", path, origin.Config{})
			p := w.publish(o, "live", path, cdntest.PublisherConfig{})
			require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
			sub, err := o.origin.Open(t.Context(), cdn.Request{Stream: "live"})
			require.NoError(t, err)
			sub.Stream().End(why)
			_, err = o.origin.Open(t.Context(), cdn.Request{Stream: "live"})
			require.ErrorIs(t, err, cdn.ErrNotFound)
			second := w.publishFrom(o, "live", cdntest.PublisherConfig{Net: w.network.Host("second", path).Net()})
			require.NoError(t, second.WaitConnected(w.within(5*time.Second)))
			v := w.view(o, "live", "viewer", path, cdntest.ViewerConfig{})
			require.NoError(t, v.WaitFrames(w.within(5*time.Second), 30))
		})
	}
}

// A goodbye can be told from the end of the node, for publishers, viewers and other
// nodes alike.
func TestWhySessionsEnd(t *testing.T) {
	ends := func(w *world) map[cdn.Action]error {
		synctest.Wait()
		all := map[cdn.Action]error{}
		for {
			select {
			case e := <-w.events:
				if e, ok := e.(cdn.SessionEnded); ok {
					all[e.Action] = e.Err
				}
			default:
				return all
			}
		}
	}
	begin := func(t *testing.T) (w *world, o *node, p *cdntest.Publisher, v *cdntest.Viewer) {
		w = newWorld(t)
		path := cdntest.Path{Delay: ms(5)}
		o = w.origin("origin", path, origin.Config{})
		p = w.publish(o, "live", path, cdntest.PublisherConfig{})
		require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
		v = w.view(o, "live", "viewer", path, cdntest.ViewerConfig{})
		require.NoError(t, v.WaitFrames(w.within(5*time.Second), 10))
		return w, o, p, v
	}
	t.Run("goodbye", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w, _, p, v := begin(t)
			require.NoError(t, v.Close())
			require.NoError(t, p.Stop(w.within(time.Second)))
			got := ends(w)
			require.ErrorIs(t, got[cdn.ActionPlay], cdn.ErrLeft)
			require.ErrorIs(t, got[cdn.ActionPublish], cdn.ErrLeft)
		})
	})
	t.Run("the node closes", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w, o, _, _ := begin(t)
			require.NoError(t, o.Close())
			o.Node = nil
			got := ends(w)
			require.Len(t, got, 2)
			for _, err := range got {
				require.ErrorIs(t, err, cdn.ErrClosed)
				require.NotErrorIs(t, err, cdn.ErrLeft)
			}
		})
	})
}
