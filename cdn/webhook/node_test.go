package webhook_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/cdn/webhook"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/signal/inproc"
)

// A real node tells a real server, over TLS, what a real publisher and viewer do.
func TestNode(t *testing.T) {
	got := make(chan webhook.Message, 100)
	server := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var m webhook.Message
		if err != nil || webhook.Verify(secret, r.Header, body, time.Now()) != nil || json.Unmarshal(body, &m) != nil {
			t.Errorf("%q: %v", body, r.Header)
		}
		got <- m
	}))
	defer server.Close()
	hooks, err := webhook.New(webhook.Config{
		Node: "edge-1", Transport: server.Client().Transport,
		Endpoints: []webhook.Endpoint{{URL: server.URL, Secrets: []string{secret}}},
	})
	require.NoError(t, err)
	tagged := cdn.AuthorizerFunc(func(_ context.Context, r cdn.AuthRequest) (cdn.Grant, error) {
		return cdn.Grant{Subject: r.Credential, ID: r.Credential + "-1", Tag: "acme"}, nil
	})
	node, err := cdn.Listen(cdn.Config{ID: "edge-1", Addr: "127.0.0.1:0", OnEvent: hooks.Event, Authorizer: tagged})
	require.NoError(t, err)
	defer node.Close()
	live, err := origin.New(node, origin.Config{})
	require.NoError(t, err)
	out, err := edge.New(node, edge.Config{Source: live})
	require.NoError(t, err)
	dialer := inproc.New(inproc.Config{})
	dialer.Handle("http://edge-1/whip/", live)
	dialer.Handle("http://edge-1/whep/", out)
	next := func() webhook.Message {
		select {
		case m := <-got:
			require.Equal(t, cdn.NodeID("edge-1"), m.Node)
			require.Equal(t, cdn.StreamID("live/a"), m.Data.Stream)
			require.Equal(t, "acme", m.Data.Tag)
			return m
		case <-time.After(10 * time.Second):
			t.Fatal("no message")
			return webhook.Message{}
		}
	}
	p, err := cdntest.NewPublisher(t.Context(), cdntest.PublisherConfig{
		Dialer: dialer, URL: "http://edge-1/whip/live/a", Stream: "live/a", Credential: "ann",
	})
	require.NoError(t, err)
	published := next()
	require.Equal(t, webhook.TypePublish, published.Type)
	require.Equal(t, "ann", published.Data.Subject)
	require.Equal(t, "ann-1", published.Data.Grant)
	v, err := cdntest.NewViewer(t.Context(), cdntest.ViewerConfig{
		Dialer: dialer, URL: "http://edge-1/whep/live/a", Stream: "live/a", Credential: "bob",
	})
	require.NoError(t, err)
	played := next()
	require.Equal(t, webhook.TypePlay, played.Type)
	require.NoError(t, v.Close())
	ended := next()
	require.Equal(t, webhook.TypeEnded, ended.Type)
	require.Equal(t, played.Data.Session, ended.Data.Session)
	require.Equal(t, "play", ended.Data.Action)
	require.Equal(t, "left", ended.Data.Reason)
	require.NoError(t, p.Stop(t.Context()))
	ended = next()
	require.Equal(t, published.Data.Session, ended.Data.Session)
	require.Equal(t, "publish", ended.Data.Action)
	require.Equal(t, "ann-1", ended.Data.Grant)
	require.NotNil(t, ended.Data.LastedMS)
	require.NoError(t, node.Close())
	require.NoError(t, hooks.Close(t.Context()))
}
