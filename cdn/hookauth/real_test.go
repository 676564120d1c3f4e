package hookauth_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/hookauth"
	"github.com/deltacdn/delta/cdn/webhook"
)

// A hook as an operator would write it.
func hookServer(t *testing.T) *httptest.Server {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || webhook.Verify(secret, r.Header, body, time.Now()) != nil {
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		var q hookauth.Question
		if json.Unmarshal(body, &q) != nil || q.Version != hookauth.Version {
			http.Error(w, "what do you want?", http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if q.Credential != "good" {
			_, _ = io.WriteString(w, `{"allow":false,"reason":"unauthorized"}`)
			return
		}
		_, _ = io.WriteString(w, `{"allow":true,"subject":"ann","ttl":10}`)
	}))
	t.Cleanup(s.Close)
	return s
}

// Over TLS with a private CA, which has to be known.
func TestTLS(t *testing.T) {
	s := hookServer(t)
	s.StartTLS()
	a := authorizer(t, hookauth.Config{URL: s.URL, Secrets: []string{secret}, Transport: s.Client().Transport})
	g, err := a.Authorize(t.Context(), playing("good"))
	require.NoError(t, err)
	require.Equal(t, "ann", g.Subject)
	_, err = a.Authorize(t.Context(), playing("bad"))
	require.ErrorIs(t, err, cdn.ErrUnauthorized)

	b := authorizer(t, hookauth.Config{URL: s.URL, Secrets: []string{secret}})
	_, err = b.Authorize(t.Context(), playing("good"))
	require.ErrorIs(t, err, hookauth.ErrHook)
	require.ErrorContains(t, err, "certificate")
}

// A node with another secret is nobody to the hook; a redirect leads nowhere; a hook
// that is not there lets nobody in.
func TestRealFailures(t *testing.T) {
	s := hookServer(t)
	s.Start()
	a := authorizer(t, hookauth.Config{URL: s.URL, Secrets: []string{"whsec_YW5vdGhlciBzZWNyZXQgb2YgMjQgYnl0ZXM="}})
	_, err := a.Authorize(t.Context(), playing("good"))
	require.ErrorIs(t, err, hookauth.ErrHook)

	moved := httptest.NewServer(http.RedirectHandler(s.URL, http.StatusPermanentRedirect))
	defer moved.Close()
	a = authorizer(t, hookauth.Config{URL: moved.URL, Secrets: []string{secret}})
	_, err = a.Authorize(t.Context(), playing("good"))
	require.ErrorIs(t, err, hookauth.ErrHook)

	drips := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		for r.Context().Err() == nil {
			_, _ = io.WriteString(w, " ")
			_ = http.NewResponseController(w).Flush()
			time.Sleep(5 * time.Millisecond)
		}
	}))
	defer drips.Close()
	a = authorizer(t, hookauth.Config{URL: drips.URL, Secrets: []string{secret}, Timeout: 100 * time.Millisecond})
	_, err = a.Authorize(t.Context(), playing("good"))
	require.ErrorIs(t, err, hookauth.ErrHook)

	s.Close()
	a = authorizer(t, hookauth.Config{URL: s.URL, Secrets: []string{secret}})
	_, err = a.Authorize(t.Context(), playing("good"))
	require.ErrorIs(t, err, hookauth.ErrHook)
}
