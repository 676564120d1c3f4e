package link

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/internal/bubble"
)

// slowSource opens streams that never get ready.
type slowSource struct{ node *cdn.Node }

func (s slowSource) Open(_ context.Context, r cdn.Request) (*cdn.Subscription, error) {
	stream, err := s.node.NewStream(r.Stream)
	if err != nil {
		return nil, err
	}
	return cdn.NewSubscription(stream, func() { stream.End(cdn.ErrClosed) }), nil
}

// A node that is trusted and broken, and subscribes and leaves without end, takes
// no place for longer than it is there, leaves nothing behind, and keeps no other
// node waiting.
func TestSubscriptionsWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := cdntest.NewNetwork(t, cdntest.NetworkConfig{Seed: 1})
		b := links(t, network, "two", trusting(secret), func(c *cdn.Config) { c.Limits = cdn.Limits{Sessions: 50, Streams: 50} })
		b.Serve(slowSource{b.node})
		connect := func(name string) *Link {
			l, err := links(t, network, name, trusting(secret)).to(cdn.Entry{URL: "two"}, wires{map[string]*Links{"two": b}, ""})
			require.NoError(t, err)
			l.start()
			<-l.up
			return l
		}
		broken, sound := connect("broken"), connect("sound")
		time.Sleep(time.Second)
		before := bubble.Goroutines()
		ask := func(l *Link, id cdn.StreamID) *inbound {
			s, err := l.links.node.NewStream(id)
			require.NoError(t, err)
			t.Cleanup(func() { s.End(nil) })
			f, err := l.subscribe(FetchConfig{Request: cdn.Request{Stream: id}}, s)
			require.NoError(t, err)
			return f
		}
		for round := range 20 {
			var all []*inbound
			for n := range 40 {
				all = append(all, ask(broken, cdn.StreamID(fmt.Sprint("flood/", round, "-", n))))
			}
			time.Sleep(20 * time.Millisecond)
			require.LessOrEqual(t, b.node.Stats().Sessions, 50)
			for _, f := range all {
				f.end(cdn.ErrClosed)
				f.stream.End(cdn.ErrClosed)
			}
		}
		f := ask(sound, "live")
		time.Sleep(100 * time.Millisecond)
		require.Equal(t, 1, b.node.Stats().Sessions)
		require.Equal(t, cdn.NodeID("sound"), b.node.Sessions()[0].Node)
		f.end(cdn.ErrClosed)
		f.stream.End(cdn.ErrClosed)
		time.Sleep(time.Second)
		left := bubble.Goroutines()
		require.Zero(t, b.node.Stats().Sessions)
		require.LessOrEqual(t, left, before)
	})
}

// What an Authorizer says when it fails stays in the log of its node.
func TestAnotherNodeIsToldAWord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := cdntest.NewNetwork(t, cdntest.NetworkConfig{Seed: 1})
		var log bytes.Buffer
		a := links(t, network, "one", trusting(secret))
		b := links(t, network, "two", trusting(secret), func(c *cdn.Config) {
			c.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))
			c.Authorizer = cdn.AuthorizerFunc(func(context.Context, cdn.AuthRequest) (cdn.Grant, error) {
				return cdn.Grant{}, errors.New("postgres at 10.0.0.7: password of cdn is wrong")
			})
		})
		b.Serve(slowSource{b.node})
		s, err := a.node.NewStream("live")
		require.NoError(t, err)
		err = a.Fetch(t.Context(), cdn.Entry{URL: "two"}, FetchConfig{
			Request: cdn.Request{Stream: "live"}, Dialer: wires{map[string]*Links{"two": b}, ""}, Silence: time.Second,
		}, s)
		require.Error(t, err)
		require.NotContains(t, err.Error(), "10.0.0.7")
		require.ErrorIs(t, err, cdn.ErrPeerLost, "it has failed, for all that this one knows")
		synctest.Wait()
		require.Contains(t, log.String(), "10.0.0.7")
		s.End(nil)
	})
}
