package admin

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
)

// newAPI returns the API of a node of its own on loopback, and its log.
func newAPI(t *testing.T, tune ...func(*Config)) (*API, *syncBuffer) {
	t.Helper()
	node, err := cdn.Listen(cdn.Config{ID: "one", Addr: "127.0.0.1:0"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, node.Close()) })
	log := &syncBuffer{}
	c := Config{Node: node, Logger: slog.New(slog.NewTextHandler(log, nil))}
	for _, f := range tune {
		f(&c)
	}
	a, err := New(c)
	require.NoError(t, err)
	return a, log
}

// syncBuffer is a log that may be read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

const (
	looking  = "looks-0123456789abcdef"
	changing = "changes-0123456789abcdef"
)

func withTokens(c *Config) {
	c.Tokens = []Token{{Name: "eyes", Secret: looking}, {Name: "ops", Secret: changing, Write: true}}
}

// local is a request as a client on the node's machine sends it.
func local(method, path, body string) *http.Request {
	var in io.Reader
	if body != "" {
		in = strings.NewReader(body)
	}
	r := httptest.NewRequest(method, "http://localhost:8080"+Prefix+path, in)
	r.RemoteAddr = "127.0.0.1:40000"
	r.Header.Set("Content-Type", "application/json")
	return r
}

func do(a *API, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r)
	return w
}

func codeOf(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	if w.Code < 300 {
		return ""
	}
	require.Equal(t, problemType, w.Header().Get("Content-Type"))
	var p Problem
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &p))
	require.Equal(t, w.Code, p.Status)
	require.Equal(t, problemURN+p.Code, p.Type)
	return p.Code
}

// Every route answers as the description says, with success or with a problem.
func TestAnswersAgreeWithTheDescription(t *testing.T) {
	a, _ := newAPI(t)
	for _, r := range routes {
		for _, id := range []string{"one", "nobody", "ABCDEFGH@one", "live%2Fcam"} {
			path := strings.ReplaceAll(r.path, "{id}", id)
			body := ""
			if r.body != nil {
				body = "{}"
			}
			w := do(a, local(r.method, path, body))
			agrees(t, r.method, r.path, w.Code, w.Header().Get("Content-Type"), w.Body.Bytes())
		}
	}
}

// An answer to a drain says that the node drains by now, so that an undrain, however soon it
// follows, takes it back.
func TestUndrain(t *testing.T) {
	a, log := newAPI(t)
	for range 100 {
		require.Equal(t, http.StatusAccepted, do(a, local("POST", "/nodes/one/drain", `{"timeout_seconds": 60}`)).Code)
		require.True(t, a.node.Draining())
		require.Equal(t, http.StatusOK, do(a, local("POST", "/nodes/one/undrain", "")).Code)
		require.False(t, a.node.Draining())
	}
	require.Contains(t, log.String(), "op=undrain by=local result=done")
}

func TestRefusals(t *testing.T) {
	a, _ := newAPI(t)
	for _, tc := range []struct {
		method, path, body string
		status             int
		code               string
	}{
		{"GET", "/nothing", "", 404, "no-resource"},
		{"POST", "/streams/live/nothing", "", 404, "no-resource"},
		{"PATCH", "/network", "", 405, "method"},
		{"POST", "/network", "", 405, "method"},
		{"GET", "/network?more=1", "", 400, "invalid"},
		{"GET", "/sessions?limit=0", "", 400, "invalid"},
		{"GET", "/sessions?limit=1001", "", 400, "invalid"},
		{"GET", "/sessions?limit=many", "", 400, "invalid"},
		{"GET", "/sessions?action=steal", "", 400, "invalid"},
		{"GET", "/sessions?node=a&node=b", "", 400, "invalid"},
		{"GET", "/sessions?after=!", "", 400, "invalid"},
		{"GET", "/nodes/two", "", 404, "not-found"},
		{"DELETE", "/sessions/ABCDEFGH", "", 404, "not-found"},
		{"DELETE", "/sessions/ABCDEFGH@one", "", 404, "not-found"},
		{"DELETE", "/sessions/ABCDEFGH@two", "", 404, "not-found"},
		{"POST", "/streams/../block", "{}", 307, ""},
		{"POST", "/streams/a%20b/block", "{}", 400, "invalid"},
		{"POST", "/streams/live/block", `{"reason": 1}`, 400, "invalid"},
		{"POST", "/streams/live/block", `{"raison": ""}`, 400, "invalid"},
		{"POST", "/streams/live/block", `{"reason": "a", "Reason": "b"}`, 400, "invalid"},
		{"POST", "/streams/live/block", `{"reason": "a"}}`, 400, "invalid"},
		{"POST", "/streams/live/block", `{} {}`, 400, "invalid"},
		{"POST", "/streams/live/block", strings.Repeat(" ", maxBody+1), 413, "too-large"},
		{"POST", "/nodes/one/drain", `{"timeout_seconds": -1}`, 400, "invalid"},
		{"POST", "/nodes/one/drain", `{"timeout_seconds": 1e300}`, 400, "invalid"},
		{"POST", "/nodes/one/undrain", `{}`, 400, "invalid"},
	} {
		w := do(a, local(tc.method, tc.path, tc.body))
		require.Equal(t, tc.status, w.Code, "%s %s: %s", tc.method, tc.path, w.Body)
		if tc.code != "" {
			require.Equal(t, tc.code, codeOf(t, w), tc.path)
		}
	}
}

func TestConfig(t *testing.T) {
	node, err := cdn.Listen(cdn.Config{Addr: "127.0.0.1:0"})
	require.NoError(t, err)
	defer node.Close()
	for _, c := range []Config{
		{},
		{Node: node, Tokens: []Token{{Name: "ops", Secret: "short"}}},
		{Node: node, Tokens: []Token{{Secret: changing}}},
	} {
		_, err := New(c)
		require.ErrorIs(t, err, cdn.ErrInvalid)
		require.NotContains(t, err.Error(), changing)
	}
}
