package origin

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
)

// arriving returns an origin, and a stream at the moment at which its publisher has been
// let in and its tracks are not declared yet.
func arriving(t *testing.T) (*Origin, *published) {
	node, err := cdn.Listen(cdn.Config{Addr: "127.0.0.1:0"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, node.Close()) })
	o, err := New(node, Config{})
	require.NoError(t, err)
	p, err := o.stream("live")
	require.NoError(t, err)
	return o, p
}

// Whoever asks for a stream while its publisher arrives waits for the tracks, and is not
// told that nobody publishes it.
func TestOpenWhileThePublisherArrives(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	o, p := arriving(t)
	sub, err := o.Open(ctx, cdn.Request{Stream: "live"})
	require.NoError(t, err)
	defer sub.Close()
	require.False(t, sub.Stream().Stats().Live)
	input, err := p.newInput("", "", []cdn.TrackInfo{{ID: "v", Kind: cdn.Video, Codec: cdn.Codec{MimeType: "video/VP8", ClockRate: 90000}}})
	require.NoError(t, err)
	require.NoError(t, sub.Stream().Ready(ctx))
	require.True(t, sub.Stream().Stats().Live)
	p.leave(input, false, cdn.ErrEnded, nil)
}

// Whoever waits for the stream of a publisher that is then refused is told that nobody
// publishes it: what was wrong with the publisher's offer is none of the viewer's.
func TestOpenWhileThePublisherIsRefused(t *testing.T) {
	o, _ := arriving(t)
	sub, err := o.Open(t.Context(), cdn.Request{Stream: "live"})
	require.NoError(t, err)
	defer sub.Close()
	_, _, err = o.input("live", "", "", make([]cdn.TrackInfo, 1000))
	require.ErrorIs(t, err, cdn.ErrOverLimit)
	require.ErrorIs(t, sub.Stream().Ready(t.Context()), cdn.ErrNotFound)
	require.NotErrorIs(t, sub.Stream().Err(), cdn.ErrOverLimit)
	_, err = o.Open(t.Context(), cdn.Request{Stream: "live"})
	require.ErrorIs(t, err, cdn.ErrNotFound)
}
