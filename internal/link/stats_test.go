package link

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
)

func TestRates(t *testing.T) {
	at := func(ms int) time.Time { return time.UnixMilli(int64(ms)) }
	r := rates{since: at(0)}
	r.count(at(500), 1000, 2000)
	require.Zero(t, r.in, "too early")
	r.count(at(2000), 1000, 2000)
	require.InDelta(t, 4000, r.in, 0)
	require.InDelta(t, 8000, r.out, 0)
	r.count(at(2500), 9000, 9000)
	require.InDelta(t, 4000, r.in, 0, "until the next is whole")
	r.count(at(4000), 2000, 2000)
	require.InDelta(t, 4000, r.in, 0)
	require.Zero(t, r.out)
}

// A node tells of each link once when it is up, and once when it is over and why;
// of those that never were up, nothing.
func TestEventsOfALink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := cdntest.NewNetwork(t, cdntest.NetworkConfig{Seed: 1})
		events := make(chan cdn.Event, 10)
		a := links(t, network, "one", func(c *cdn.Config) { c.OnEvent = func(e cdn.Event) { events <- e } })
		b := links(t, network, "two", func(c *cdn.Config) { c.URL, c.Limits.Sessions = "http://two", 4 })
		session, err := b.node.Authorize(t.Context(), cdn.AuthRequest{Action: cdn.ActionPlay})
		require.NoError(t, err)
		_, err = session.Enter(t.Context())
		require.NoError(t, err)
		defer session.Leave(nil)
		none, err := a.to(cdn.Entry{URL: "none"}, wires{to: map[string]*Links{"none": a}})
		require.NoError(t, err)
		none.start()
		<-none.Done()
		l, err := a.to(cdn.Entry{URL: "two"}, wires{to: map[string]*Links{"two": b}})
		require.NoError(t, err)
		l.start()
		<-l.up
		time.Sleep(3 * time.Second)
		require.Equal(t, cdn.LinkUp{Node: "two", URL: "two"}, <-events)
		require.Equal(t, "http://two", a.Stats()[0].PeerURL)
		require.InDelta(t, 0.25, a.Stats()[0].Load, 0)
		require.NoError(t, b.Close())
		<-l.Done()
		down := (<-events).(cdn.LinkDown)
		require.Equal(t, cdn.NodeID("two"), down.Node)
		require.ErrorIs(t, down.Err, cdn.ErrClosed)
		require.Greater(t, down.Lasted, 3*time.Second)
		require.Empty(t, events)
	})
}
