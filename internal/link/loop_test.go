package link

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
)

// gives is a source of one stream.
type gives struct{ stream *cdn.Stream }

func (g gives) Open(context.Context, cdn.Request) (*cdn.Subscription, error) {
	return cdn.NewSubscription(g.stream, func() {}), nil
}

// fetchInto fetches a stream from another node, and tells why that ended.
func fetchInto(from *Links, by *Links, s *cdn.Stream) <-chan error {
	done := make(chan error, 1)
	go func() {
		to := string(from.node.ID())
		done <- by.Fetch(context.Background(), cdn.Entry{Node: from.node.ID(), URL: to}, FetchConfig{
			Request: cdn.Request{Stream: s.ID()}, Dialer: wires{to: map[string]*Links{to: from}}, Silence: 5 * time.Second,
		}, s)
	}()
	return done
}

// Two nodes that ask each other for a stream at one moment have it neither.
func TestSubscriptionsThatCross(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, cdn.Trust{}, cdn.Trust{})
		ofA, err := a.node.NewStream("s")
		require.NoError(t, err)
		ofB, err := b.node.NewStream("s")
		require.NoError(t, err)
		a.Serve(gives{ofA})
		b.Serve(gives{ofB})
		l, err := a.to(cdn.Entry{URL: "two"}, wires{to: map[string]*Links{"two": b}})
		require.NoError(t, err)
		l.start()
		<-l.up
		time.Sleep(time.Second)
		begun := time.Now()
		x, y := fetchInto(b, a, ofA), fetchInto(a, b, ofB)
		require.ErrorIs(t, <-x, cdn.ErrLoop)
		require.ErrorIs(t, <-y, cdn.ErrLoop)
		require.Less(t, time.Since(begun), time.Second)
	})
}

// Whom a stream comes through, by what its path says now, is not given it any
// more; and a node that has some of it gets it only while it comes.
func TestAPathThatLoops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, cdn.Trust{}, cdn.Trust{})
		ofA, err := a.node.NewStream("s")
		require.NoError(t, err)
		input, err := ofA.NewInput(cdn.InputConfig{Path: []cdn.NodeID{"origin"}})
		require.NoError(t, err)
		require.NoError(t, input.Start([]cdn.TrackInfo{{ID: "v", Kind: cdn.Video, Codec: cdn.Codec{MimeType: "video/VP8", ClockRate: 90000}}}))
		a.Serve(gives{ofA})
		ofB, err := b.node.NewStream("s")
		require.NoError(t, err)
		got := fetchInto(a, b, ofB)
		require.NoError(t, ofB.Ready(t.Context()))
		a.breakLoops("other", []cdn.NodeID{"two"})
		a.breakLoops("s", []cdn.NodeID{"three"})
		time.Sleep(time.Second)
		require.Empty(t, got)
		a.breakLoops("s", []cdn.NodeID{"origin", "two", "three"})
		require.ErrorIs(t, <-got, cdn.ErrLoop)
	})
}
