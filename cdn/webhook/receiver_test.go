package webhook_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/webhook"
)

const (
	secret   = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	newer    = "whsec_c2VjcmV0IG9mIDI0IGJ5dGVzIG9yIG1vcmU="
	otherKey = "whsec_YW5vdGhlciBzZWNyZXQgb2YgMjQgYnl0ZXM="
)

// signedBy is Standard Webhooks' signature, written from its text and not with the
// package's code.
func signedBy(secret string, h http.Header, body []byte) bool {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		return false
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.%s", h.Get("webhook-id"), h.Get("webhook-timestamp"), body)
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	for _, s := range strings.Split(h.Get("webhook-signature"), " ") {
		if s == want {
			return true
		}
	}
	return false
}

// A delivery is a request that a receiver got.
type delivery struct {
	at      time.Time
	id      string
	header  http.Header
	body    []byte
	message webhook.Message
	status  int // that it was answered with
}

// A receiver is a server in memory.
type receiver struct {
	t       testing.TB
	pipes   chan net.Conn
	server  http.Server
	mu      sync.Mutex
	answer  func(w http.ResponseWriter, r *http.Request, m webhook.Message) int
	got     []delivery
	serving sync.WaitGroup
}

func takes(http.ResponseWriter, *http.Request, webhook.Message) int { return http.StatusNoContent }

func refuses(status int) func(http.ResponseWriter, *http.Request, webhook.Message) int {
	return func(http.ResponseWriter, *http.Request, webhook.Message) int { return status }
}

// hangs answers when the sender has lost patience.
func hangs(_ http.ResponseWriter, r *http.Request, _ webhook.Message) int {
	<-r.Context().Done()
	return http.StatusGatewayTimeout
}

func newReceiver(t testing.TB) *receiver {
	r := &receiver{t: t, pipes: make(chan net.Conn), answer: takes}
	r.server.Handler = http.HandlerFunc(r.serve)
	r.server.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	r.serving.Go(func() { _ = r.server.Serve(pipeListener{r.pipes, make(chan struct{})}) })
	t.Cleanup(func() {
		_ = r.server.Shutdown(context.Background()) // waits for handlers
		r.serving.Wait()
	})
	return r
}

type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
}

func (l pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}
func (l pipeListener) Close() error   { close(l.done); return nil }
func (l pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

// transport makes connections to the receiver.
func (r *receiver) transport() http.RoundTripper {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		a, b := net.Pipe()
		select {
		case r.pipes <- b:
			return a, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	tr := &http.Transport{DialTLSContext: dial} // of TLS only the scheme is here
	r.t.Cleanup(tr.CloseIdleConnections)
	return tr
}

func (r *receiver) serve(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	d := delivery{at: time.Now(), id: req.Header.Get("webhook-id"), header: req.Header, body: body}
	if err := json.Unmarshal(body, &d.message); err != nil {
		r.t.Errorf("%q: %v", body, err)
	}
	switch {
	case req.Method != http.MethodPost, req.Header.Get("Content-Type") != "application/json":
		r.t.Errorf("%s of %q", req.Method, req.Header.Get("Content-Type"))
	case !signedBy(secret, req.Header, body):
		r.t.Errorf("a request with a wrong signature: %v", req.Header)
	case req.Header.Get("webhook-timestamp") != strconv.FormatInt(d.at.Unix(), 10):
		r.t.Errorf("a request with another time: %v", req.Header)
	}
	if err := webhook.Verify(secret, req.Header, body, time.Now()); err != nil {
		r.t.Error(err)
	}
	r.mu.Lock()
	answer := r.answer
	r.mu.Unlock()
	d.status = answer(w, req, d.message)
	r.mu.Lock()
	r.got = append(r.got, d)
	r.mu.Unlock()
	w.WriteHeader(d.status)
}

func (r *receiver) answers(f func(http.ResponseWriter, *http.Request, webhook.Message) int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = f
}

// take returns the requests since the last call.
func (r *receiver) take() []delivery {
	r.mu.Lock()
	defer r.mu.Unlock()
	got := r.got
	r.got = nil
	return got
}

func sender(t testing.TB, r *receiver, set func(*webhook.Config)) *webhook.Sender {
	c := webhook.Config{
		Node: "edge-1", Transport: r.transport(),
		Endpoints: []webhook.Endpoint{{URL: "https://hooks.example/delta", Secrets: []string{secret}}},
	}
	if set != nil {
		set(&c)
	}
	s, err := webhook.New(c)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = s.Close(ctx)
	})
	return s
}

func joined(stream, session string) cdn.Event {
	return cdn.SessionStarted{Stream: cdn.StreamID(stream), Action: cdn.ActionPlay, Session: session}
}

func sessions(all []delivery) (names []string) {
	for _, d := range all {
		names = append(names, d.message.Data.Session)
	}
	return names
}

type logged struct {
	mu sync.Mutex
	bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(p)
}

func (l *logged) lines() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.String(), "\n")
}

func (l *logged) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }
