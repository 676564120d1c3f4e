package whep_test

import (
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

// A player hears of the end of its session, and so the test above tests it.
func TestSessionsNotify(t *testing.T) {
	s := serve(t, &cdntest.ScriptedHandler{})
	session, err := (&whep.Client{HTTP: s.Client()}).Dial(t.Context(), s.URL+"/whep/live", signal.Offer{SDP: "v=0\r\n"})
	require.NoError(t, err)
	require.Implements(t, (*signal.NotifyingSession)(nil), session)
	require.NoError(t, session.Close(t.Context()))
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

// draft-ietf-wish-whep, "Playback session set up": "the WHEP endpoint SHALL return a
// "409 Conflict" response [...] with a "Retry-After" header". Nodes, which send no
// offer, are told 404 as ever.
func TestNobodyPublishes(t *testing.T) {
	h := &cdntest.ScriptedHandler{}
	s := serve(t, h)
	for _, reason := range []error{cdn.ErrNotFound, cdn.ErrEnded} {
		h.Refuse(&cdn.Error{Op: "play", Stream: "live", Err: reason})
		resp := do(t, "POST", s.URL+"/whep/live", "v=0\r\n", "application/sdp")
		require.Equal(t, http.StatusConflict, resp.StatusCode)
		require.Equal(t, "2", resp.Header.Get("Retry-After"))
		_, err := (&whep.Client{}).Dial(t.Context(), s.URL+"/whep/live", signal.Offer{SDP: "v=0\r\n"})
		require.ErrorIs(t, err, reason)
	}
	h.Refuse(&cdn.Error{Op: "fetch", Stream: "live", Err: cdn.ErrNotFound})
	require.Equal(t, http.StatusNotFound, do(t, "POST", s.URL+"/whep/live", "", "").StatusCode)
	h.Refuse(&cdn.Error{Op: "play", Stream: "live", Err: cdn.ErrAlreadyPublishing})
	_, err := (&whep.Client{}).Dial(t.Context(), s.URL+"/whep/live", signal.Offer{SDP: "v=0\r\n"})
	require.ErrorIs(t, err, cdn.ErrAlreadyPublishing, "the code tells two conflicts apart")
}
