package whep_test

import (
	"bufio"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/signal"
	"github.com/deltacdn/delta/signal/whep"
)

func serve(t *testing.T, h signal.Handler) *httptest.Server {
	handler, err := whep.New(h, whep.Config{})
	require.NoError(t, err)
	s := httptest.NewServer(handler)
	t.Cleanup(func() {
		require.NoError(t, handler.Close())
		s.Close()
	})
	return s
}

func TestConformance(t *testing.T) {
	cdntest.TestSignaling(t, func(t *testing.T, h signal.Handler) (signal.Dialer, string) {
		s := serve(t, h)
		return &whep.Client{HTTP: s.Client()}, s.URL + "/whep"
	}, cdntest.SignalingOptions{})
}

func do(t *testing.T, method, url, body, kind string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

func TestPlayersThatLeaveIfMatchOutAreServed(t *testing.T) {
	s := serve(t, &cdntest.ScriptedHandler{})
	resp := do(t, "POST", s.URL+"/whep/live", "v=0\r\n", "application/sdp")
	resp = do(t, "PATCH", s.URL+resp.Header.Get("Location"), "a=mid:0\r\n", "application/trickle-ice-sdpfrag")
	require.Equal(t, http.StatusNoContent, resp.StatusCode)
}

// The event stream of a session tells its end, and why; afterwards the session
// is gone with the same reason.
func TestEventStreamTellsTheEnd(t *testing.T) {
	h := &cdntest.ScriptedHandler{}
	s := serve(t, h)
	session := s.URL + do(t, "POST", s.URL+"/whep/live", "v=0\r\n", "application/sdp").Header.Get("Location")
	require.Equal(t, http.StatusOK, do(t, "HEAD", session, "", "").StatusCode)
	events := do(t, "GET", session, "", "")
	require.Equal(t, "text/event-stream", events.Header.Get("Content-Type"))
	lines := bufio.NewScanner(events.Body)
	require.True(t, lines.Scan())
	require.Equal(t, ": connected", lines.Text())
	h.Sessions()[0].End(&cdn.Error{Op: "play", Stream: "live", Err: cdn.ErrEnded})
	rest := ""
	for lines.Scan() {
		rest += lines.Text() + "\n"
	}
	require.Equal(t, "\nevent: ended\ndata: {\"code\":\"ended\",\"detail\":\"play live: stream ended\"}\n\n", rest)
	for _, method := range []string{"GET", "PATCH", "DELETE"} {
		resp := do(t, method, session, "", "")
		require.Equal(t, http.StatusGone, resp.StatusCode)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Contains(t, string(body), `"code":"ended"`)
	}
}

// A handler that makes no offers wants one.
func TestEmptyPostNeedsAnOfferer(t *testing.T) {
	s := serve(t, struct{ signal.Handler }{&cdntest.ScriptedHandler{}})
	require.Equal(t, http.StatusBadRequest, do(t, "POST", s.URL+"/whep/live", "", "").StatusCode)
}

func TestAnswerToAnAnsweredSession(t *testing.T) {
	s := serve(t, &cdntest.ScriptedHandler{})
	resp := do(t, "POST", s.URL+"/whep/live", "v=0\r\n", "application/sdp")
	resp = do(t, "PATCH", s.URL+resp.Header.Get("Location"), "v=0\r\n", "application/sdp")
	require.Equal(t, http.StatusUnprocessableEntity, resp.StatusCode)
}

func TestOtherPrefix(t *testing.T) {
	h := &cdntest.ScriptedHandler{}
	handler, err := whep.New(h, whep.Config{Prefix: "link"})
	require.NoError(t, err)
	s := httptest.NewServer(handler)
	defer s.Close()
	defer func() { require.NoError(t, handler.Close()) }()
	resp := do(t, "POST", s.URL+"/link/a/b", "", "")
	require.Equal(t, "/link/a/b/-/session-0", resp.Header.Get("Location"))
	require.Equal(t, http.StatusNotFound, do(t, "POST", s.URL+"/whep/a", "", "").StatusCode)
	_, err = whep.New(nil, whep.Config{})
	require.ErrorIs(t, err, cdn.ErrInvalid)
}
