package link

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
)

// Nodes at the ends of the world, or behind a satellite, have a link, and a stream
// asked for at once.
func TestNodesFarApart(t *testing.T) {
	for _, trip := range []time.Duration{600, 700, 800} {
		synctest.Test(t, func(t *testing.T) { testFarApart(t, trip*time.Millisecond) })
	}
}

func testFarApart(t *testing.T, trip time.Duration) {
	network := cdntest.NewNetwork(t, cdntest.NetworkConfig{Seed: 1})
	a, b := links(t, network, "one", trusting(cdn.Trust{Secret: "s"})), links(t, network, "two", trusting(cdn.Trust{Secret: "s"}))
	network.Between(network.Host("one", cdntest.Path{}), network.Host("two", cdntest.Path{}), cdntest.Path{Delay: trip / 2})
	ofB, err := b.node.NewStream("live")
	require.NoError(t, err)
	input, err := ofB.NewInput(cdn.InputConfig{})
	require.NoError(t, err)
	require.NoError(t, input.Start([]cdn.TrackInfo{{ID: "v", Kind: cdn.Video, Codec: cdn.Codec{MimeType: "video/VP8", ClockRate: 90000}}}))
	b.Serve(gives{ofB})
	ofA, err := a.node.NewStream("live")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		_ = a.Fetch(ctx, cdn.Entry{URL: "two"}, FetchConfig{
			Request: cdn.Request{Stream: "live"}, Dialer: wires{map[string]*Links{"two": b}, "192.0.2.7:1"}, Silence: time.Hour,
		}, ofA)
	}()
	within, stop := context.WithTimeout(t.Context(), 8*trip)
	defer stop()
	require.NoError(t, ofA.Ready(within), "at a round trip of %v", trip)
	time.Sleep(time.Minute)
	for _, ls := range []*Links{a, b} {
		require.Len(t, ls.Stats(), 1)
		require.InDelta(t, trip, ls.Stats()[0].RTT, float64(10*time.Millisecond))
		require.Greater(t, time.Since(ls.Stats()[0].Up), time.Minute-10*trip)
	}
}
