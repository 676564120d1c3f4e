package inproc_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/signal"
	"github.com/deltacdn/delta/signal/inproc"
)

func TestConformance(t *testing.T) {
	cdntest.TestSignaling(t, func(_ *testing.T, h signal.Handler) (signal.Dialer, string) {
		n := inproc.New(inproc.Config{})
		n.Handle("http://server/whep/", h)
		return n, "http://server/whep/"
	}, cdntest.SignalingOptions{})
}

// noLinks is a handler that knows none.
type noLinks struct{ signal.Handler }

func TestLinks(t *testing.T) {
	cdntest.TestLinkDialer(t, func(_ *testing.T, h signal.LinkHandler) (signal.LinkDialer, string) {
		n := inproc.New(inproc.Config{})
		if h == nil {
			n.Handle("http://server/link/", noLinks{})
			return n, "http://server"
		}
		n.Handle("http://server/link/", struct {
			signal.Handler
			signal.LinkHandler
		}{nil, h})
		return n, "http://server"
	})
}

func TestTheLongestPrefixAnswers(t *testing.T) {
	n := inproc.New(inproc.Config{})
	short, long := &cdntest.ScriptedHandler{}, &cdntest.ScriptedHandler{}
	n.Handle("http://a/", short)
	n.Handle("http://a/whip/", long)
	_, err := n.Dial(t.Context(), "http://a/whip/live/one", signal.Offer{SDP: "v=0"})
	require.NoError(t, err)
	require.Empty(t, short.Sessions())
	require.Equal(t, cdn.StreamID("live/one"), long.Sessions()[0].Asked().Stream)
	n.Handle("http://a/whip/", nil)
	n.Handle("http://a/", nil)
	_, err = n.Dial(t.Context(), "http://a/whip/live", signal.Offer{SDP: "v=0"})
	require.ErrorIs(t, err, cdn.ErrPeerLost)
}

func TestDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := inproc.New(inproc.Config{Delay: 50 * time.Millisecond})
		n.Handle("http://a/", &cdntest.ScriptedHandler{})
		begun := time.Now()
		s, err := n.Dial(context.Background(), "http://a/live", signal.Offer{SDP: "v=0"})
		require.NoError(t, err)
		_, err = s.Patch(context.Background(), "a=x")
		require.NoError(t, err)
		require.Equal(t, 100*time.Millisecond, time.Since(begun))
	})
}
