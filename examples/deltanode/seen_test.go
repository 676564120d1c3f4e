package main

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn/webhook"
)

// receiver is a server that notes what it is sent.
type receiver struct {
	*httptest.Server
	mu       sync.Mutex
	requests []received
}

type received struct {
	path   string
	header http.Header
	body   []byte
}

func receive(t *testing.T) *receiver {
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, _ := io.ReadAll(q.Body)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.requests = append(r.requests, received{q.URL.Path, q.Header, body})
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) all() []received {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]received(nil), r.requests...)
}

// Receivers are told what happens, signed, and what is left when the node ends; traces go
// to the collector, with the headers that it wants.
func TestWebhooksAndTraces(t *testing.T) {
	secret := "whsec_" + base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))
	hooks, collector := receive(t), receive(t)
	n := launch(
		t, "-name", "n", "-webhooks-urls", hooks.URL+"/told", "-webhooks-secrets-file", write(t, "hooks", secret+"\n"), "-webhooks-events", "publish,play,ended",
		"-tracing-endpoint", collector.URL, "-tracing-headers-file", write(t, "headers", "X-Key=k=1\n"),
	)
	ctx := within(t, time.Minute)
	n.publish(ctx, t)
	v := n.view(ctx, t)
	require.NoError(t, v.Close())
	require.Eventually(t, func() bool { return len(hooks.all()) >= 3 }, 10*time.Second, 20*time.Millisecond)
	n.stop(t)

	var told []string
	for _, r := range hooks.all() {
		require.NoError(t, webhook.Verify(secret, r.header, r.body, time.Now()))
		var m webhook.Message
		require.NoError(t, json.Unmarshal(r.body, &m))
		told = append(told, string(m.Type)+" "+m.Data.Action)
	}
	require.Equal(t, []string{"publish ", "play ", "ended play", "ended publish"}, told)
	sent := collector.all()
	require.NotEmpty(t, sent)
	var text strings.Builder
	for _, r := range sent {
		require.Equal(t, "/v1/traces", r.path)
		require.Equal(t, "k=1", r.header.Get("X-Key"))
		text.Write(r.body)
	}
	for _, name := range []string{"deltanode", "authorize"} {
		require.Contains(t, text.String(), name)
	}
}
