package whip_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/signal"
	"github.com/deltacdn/delta/signal/whip"
)

func serve(t *testing.T, h signal.Handler, c whip.Config) *httptest.Server {
	handler, err := whip.New(h, c)
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.Handle("/whip/", handler)
	s := httptest.NewServer(mux)
	t.Cleanup(func() {
		require.NoError(t, handler.Close())
		s.Close()
	})
	return s
}

func TestConformance(t *testing.T) {
	cdntest.TestSignaling(t, func(t *testing.T, h signal.Handler) (signal.Dialer, string) {
		s := serve(t, h, whip.Config{})
		return &whip.Client{HTTP: s.Client()}, s.URL + "/whip"
	}, cdntest.SignalingOptions{PublishOnly: true})
}

// request makes one, with header lines of "Name: value".
func request(t *testing.T, method, url, body string, header ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	require.NoError(t, err)
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

const (
	sdp      = "Content-Type: application/sdp"
	fragment = "Content-Type: application/trickle-ice-sdpfrag"
)

// post makes a session and returns its URL and ETag.
func post(t *testing.T, s *httptest.Server) (url, etag string) {
	resp := request(t, "POST", s.URL+"/whip/live/one", "v=0\r\n", sdp)
	require.Equal(t, http.StatusCreated, resp.StatusCode)
	return s.URL + resp.Header.Get("Location"), resp.Header.Get("ETag")
}

// RFC 9725 section 4.2.
func TestCreated(t *testing.T) {
	h := &cdntest.ScriptedHandler{}
	s := serve(t, h, whip.Config{ICEServers: []string{`<stun:stun.example.com>; rel="ice-server"`}})
	resp := request(t, "POST", s.URL+"/whip/live/one", "v=0\r\n", sdp, "Authorization: bearer to.ken")
	require.Equal(t, http.StatusCreated, resp.StatusCode)
	require.Equal(t, "application/sdp", resp.Header.Get("Content-Type"))
	require.Equal(t, "/whip/live/one/-/session-0", resp.Header.Get("Location"))
	require.Equal(t, `"us00"`, resp.Header.Get("ETag"))
	require.Equal(t, "application/trickle-ice-sdpfrag", resp.Header.Get("Accept-Patch"))
	require.Regexp(t, `^offer;dur=\d+\.\d+$`, resp.Header.Get("Server-Timing"))
	require.Equal(t, `<stun:stun.example.com>; rel="ice-server"`, resp.Header.Get("Link"))
	require.Equal(t, "*", resp.Header.Get("Access-Control-Allow-Origin"))
	for _, name := range []string{"Location", "ETag", "Link", "Server-Timing"} {
		require.Contains(t, resp.Header.Get("Access-Control-Expose-Headers"), name)
	}
	require.Equal(t, "to.ken", h.Sessions()[0].Asked().Credential)
	require.NotEmpty(t, h.Sessions()[0].Asked().RemoteAddr)
}

func TestRefusedRequests(t *testing.T) {
	s := serve(t, &cdntest.ScriptedHandler{}, whip.Config{MaxBody: 100})
	session, _ := post(t, s)
	for _, c := range []struct {
		name, method, path, body string
		header                   []string
		status                   int
		allow                    string
	}{
		{name: "type", method: "POST", path: "/whip/live", body: "{}", header: []string{"Content-Type: application/json"}, status: 415},
		{name: "no type", method: "POST", path: "/whip/live", body: "v=0", status: 415},
		{name: "no offer", method: "POST", path: "/whip/live", header: []string{sdp}, status: 400},
		{name: "too long", method: "POST", path: "/whip/live", body: strings.Repeat("x", 101), header: []string{sdp}, status: 413},
		{name: "no stream", method: "POST", path: "/whip/", body: "v=0", header: []string{sdp}, status: 400},
		{name: "bad stream", method: "POST", path: "/whip/a%20b", body: "v=0", header: []string{sdp}, status: 400},
		{name: "reserved", method: "POST", path: "/whip/a/-", body: "v=0", header: []string{sdp}, status: 400},
		{name: "escaped slash", method: "POST", path: "/whip/a%2F%2Fb", body: "v=0", header: []string{sdp}, status: 400},
		{name: "method", method: "PUT", path: "/whip/live", status: 405, allow: "GET, HEAD, POST, OPTIONS"},
		{name: "PATCH of the endpoint", method: "PATCH", path: "/whip/live", body: "a=mid:0", header: []string{fragment}, status: 405, allow: "GET, HEAD, POST, OPTIONS"},
		{name: "DELETE of the endpoint", method: "DELETE", path: "/whip/live", status: 405, allow: "GET, HEAD, POST, OPTIONS"},
		{name: "unknown session", method: "PATCH", path: "/whip/live/one/-/nobody", status: 404},
		{name: "other stream's session", method: "DELETE", path: "/whip/live/two/-/session-0", status: 404},
		{name: "session method", method: "PUT", path: session, status: 405, allow: "GET, HEAD, PATCH, DELETE, OPTIONS"},
		{name: "no events", method: "POST", path: session + "/events", body: "[]", header: []string{"Content-Type: application/json"}, status: 404},
		{name: "no If-Match", method: "PATCH", path: session, body: "a=x", header: []string{fragment}, status: 428},
		{name: "stale If-Match", method: "PATCH", path: session, body: "a=x", header: []string{fragment, `If-Match: "old"`}, status: 412},
		{name: "fragment type", method: "PATCH", path: session, body: "v=0", header: []string{sdp, "If-Match: *"}, status: 415},
		{name: "nonsense", method: "PATCH", path: session, body: "nonsense", header: []string{fragment, "If-Match: *"}, status: 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			resp := request(t, c.method, s.URL+strings.TrimPrefix(c.path, s.URL), c.body, c.header...)
			require.Equal(t, c.status, resp.StatusCode)
			require.Equal(t, "application/problem+json", resp.Header.Get("Content-Type"))
			require.Equal(t, c.allow, resp.Header.Get("Allow"))
			var problem struct {
				Status             int
				Type, Code, Detail string
			}
			require.NoError(t, json.NewDecoder(resp.Body).Decode(&problem))
			require.Equal(t, c.status, problem.Status)
			require.NotEmpty(t, problem.Code)
			require.Equal(t, "urn:deltacdn:problem:"+problem.Code, problem.Type)
			require.Regexp(t, `^[A-Z].*\.$`, problem.Detail, "a sentence for people")
		})
	}
}

// RFC 9725 section 4.3.
func TestPatch(t *testing.T) {
	s := serve(t, &cdntest.ScriptedHandler{}, whip.Config{})
	session, etag := post(t, s)
	resp := request(t, "PATCH", session, "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n", fragment, "If-Match: "+etag)
	require.Equal(t, http.StatusNoContent, resp.StatusCode)
	require.Empty(t, resp.Header.Get("ETag"), "the ICE session is the same")
	resp = request(t, "PATCH", session, "a=mid:0\r\n", fragment+"; charset=utf-8", "If-Match: *")
	require.Equal(t, http.StatusNoContent, resp.StatusCode)
	resp = request(t, "PATCH", session, "a=ice-ufrag:new0\r\na=ice-pwd:x\r\n", fragment, `If-Match: "*"`)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Equal(t, "application/trickle-ice-sdpfrag", resp.Header.Get("Content-Type"))
	require.Equal(t, `"us01"`, resp.Header.Get("ETag"), "another ICE session")
	resp = request(t, "PATCH", session, "a=x\r\n", fragment, "If-Match: "+etag)
	require.Equal(t, http.StatusPreconditionFailed, resp.StatusCode)
}

func TestDelete(t *testing.T) {
	h := &cdntest.ScriptedHandler{}
	s := serve(t, h, whip.Config{})
	session, _ := post(t, s)
	require.Equal(t, http.StatusOK, request(t, "DELETE", session, "").StatusCode)
	require.Equal(t, http.StatusNotFound, request(t, "DELETE", session, "").StatusCode)
	<-h.Sessions()[0].Done()
}

func TestPreflight(t *testing.T) {
	s := serve(t, &cdntest.ScriptedHandler{}, whip.Config{AllowOrigin: "https://example.com"})
	session, _ := post(t, s)
	for url, methods := range map[string]string{s.URL + "/whip/live": "GET, HEAD, POST, OPTIONS", session: "GET, HEAD, PATCH, DELETE, OPTIONS"} {
		resp := request(t, "OPTIONS", url, "", "Origin: https://example.com", "Access-Control-Request-Method: POST")
		require.Equal(t, http.StatusNoContent, resp.StatusCode)
		require.Equal(t, "https://example.com", resp.Header.Get("Access-Control-Allow-Origin"))
		require.Equal(t, methods, resp.Header.Get("Access-Control-Allow-Methods"))
		for _, name := range []string{"Authorization", "Content-Type", "If-Match"} {
			require.Contains(t, resp.Header.Get("Access-Control-Allow-Headers"), name)
		}
	}
	require.Equal(t, "application/sdp", request(t, "OPTIONS", s.URL+"/whip/live", "").Header.Get("Accept-Post"))
}

// Strangers get a sentence and a code, and never the text of an error.
func TestErrorsAreProblems(t *testing.T) {
	h := &cdntest.ScriptedHandler{}
	s := serve(t, h, whip.Config{})
	secret := errors.New("dial tcp 10.1.2.3:8080: the password is swordfish")
	for _, c := range []struct {
		err    error
		status int
		code   string
		retry  string
		detail string
	}{
		{err: &cdn.Error{Op: "publish", Stream: "live/one", Err: cdn.ErrAlreadyPublishing, RetryAfter: 1500 * time.Millisecond}, status: 409, code: "already-publishing", retry: "2"},
		{err: &cdn.Error{Op: "publish", Err: fmt.Errorf("%w: %w", cdn.ErrStale, secret)}, status: 409, code: "stale"},
		{err: cdn.ErrOverLimit, status: 503, code: "over-limit", retry: "5"},
		{err: cdn.ErrNoCommonCodec, status: 422, code: "no-common-codec"},
		{err: fmt.Errorf("%w: %w", cdn.ErrUnsupported, secret), status: 422, code: "unsupported"},
		{err: cdn.ErrLoop, status: 508, code: "loop"},
		{err: fmt.Errorf("made: %w", context.DeadlineExceeded), status: 504, code: "timeout"},
		{err: &cdn.Error{Op: "fetch", Err: fmt.Errorf("%w: %w", cdn.ErrPeerLost, secret)}, status: 502, code: "peer-lost", retry: "5"},
		{err: &cdn.Error{Op: "play", Err: &cdn.Error{Op: "fetch", Node: "swordfish", Err: cdn.ErrNotFound}}, status: 404, code: "not-found"},
		{err: fmt.Errorf("%w: offer: %w", cdn.ErrInvalid, secret), status: 400, code: "invalid"},
		{err: fmt.Errorf("%w: %w", cdn.ErrClosed, secret), status: 503, code: "closed", retry: "5"},
		{err: fmt.Errorf("write 10.1.2.3: %w", net.ErrClosed), status: 500},
		{err: fmt.Errorf("%w: user swordfish is not in ldap://10.1.2.3", cdn.ErrUnauthorized), status: 401, code: "unauthorized"},
		{err: fmt.Errorf("%w: %w", cdn.ErrForbidden, secret), status: 403, code: "forbidden"},
		{err: secret, status: 500},
		// What another node was refused is not the client's fault.
		{err: &cdn.Error{Op: "play", Err: &cdn.Error{Op: "fetch", Err: fmt.Errorf("%w: swordfish: unauthorized", cdn.ErrUpstream)}}, status: 502, code: "upstream", retry: "5"},
		// What is for the client it gets.
		{err: &cdn.Error{Op: "publish", Err: fmt.Errorf("%w: %w", cdn.ErrInvalid, secret), Detail: "The offer sends nothing."}, status: 400, code: "invalid", detail: "The offer sends nothing."},
	} {
		h.Refuse(c.err)
		resp := request(t, "POST", s.URL+"/whip/live/one", "v=0", sdp)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, c.status, resp.StatusCode, c.err)
		require.Equal(t, c.retry, resp.Header.Get("Retry-After"), c.err)
		for _, leak := range []string{"swordfish", "10.1.2.3", "closed network", "dial", "ldap"} {
			require.NotContains(t, string(body), leak, "it is nobody's business")
		}
		var problem struct{ Code, Detail, Title string }
		require.NoError(t, json.Unmarshal(body, &problem))
		require.Equal(t, c.code, problem.Code)
		require.NotEmpty(t, problem.Title)
		if c.detail != "" {
			require.Equal(t, c.detail, problem.Detail)
		}
		if c.status == 401 {
			require.Equal(t, "Bearer", resp.Header.Get("WWW-Authenticate"))
		}
	}
}

// Whatever is no bearer token counts as none: a server that asks for nothing does
// not refuse for it, and one that asks for a token is not shown any.
func TestCredentials(t *testing.T) {
	h := &cdntest.ScriptedHandler{}
	s := serve(t, h, whip.Config{})
	for header, want := range map[string]string{
		"Bearer abc": "abc", "bearer abc": "abc", "BEARER  abc ": "abc",
		"": "", "Bearer": "", "Bearer ": "", "Basic dTpw": "", "Digest x": "", "abc": "", "Bearerabc": "",
	} {
		resp := request(t, "POST", s.URL+"/whip/live", "v=0\r\n", sdp, "Authorization: "+header)
		require.Equal(t, http.StatusCreated, resp.StatusCode, header)
		all := h.Sessions()
		require.Equal(t, want, all[len(all)-1].Asked().Credential, header)
	}
}

// A session that ended by itself is gone, and says why for a while.
func TestEndedSession(t *testing.T) {
	h := &cdntest.ScriptedHandler{}
	s := serve(t, h, whip.Config{})
	session, _ := post(t, s)
	h.Sessions()[0].End(cdn.ErrSuperseded)
	resp := request(t, "PATCH", session, "a=x", fragment, "If-Match: *")
	require.Equal(t, http.StatusGone, resp.StatusCode)
	body, _ := io.ReadAll(resp.Body)
	require.Contains(t, string(body), `"code":"superseded"`)
}

func TestCloseEndsSessions(t *testing.T) {
	h := &cdntest.ScriptedHandler{}
	handler, err := whip.New(h, whip.Config{})
	require.NoError(t, err)
	s := httptest.NewServer(handler)
	defer s.Close()
	for range 40 {
		require.Equal(t, http.StatusCreated, request(t, "POST", s.URL+"/whip/live", "v=0", sdp).StatusCode)
	}
	require.NoError(t, handler.Close())
	for _, session := range h.Sessions() {
		<-session.Done()
	}
	require.Equal(t, http.StatusServiceUnavailable, request(t, "POST", s.URL+"/whip/live", "v=0", sdp).StatusCode)
	<-h.Sessions()[40].Done()
}

// RFC 9725 section 4.5: the offer goes along, a token only to the same host.
func TestRedirects(t *testing.T) {
	h := &cdntest.ScriptedHandler{}
	target := serve(t, h, whip.Config{})
	hops := 0
	first := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hops++
		if r.URL.Path == "/whip/near" && hops < 3 {
			http.Redirect(w, r, "/whip/near", http.StatusTemporaryRedirect)
			return
		}
		if r.URL.Path == "/whip/loop" {
			http.Redirect(w, r, "/whip/loop", http.StatusPermanentRedirect)
			return
		}
		http.Redirect(w, r, target.URL+"/whip/live/one", http.StatusPermanentRedirect)
	}))
	defer first.Close()
	c := &whip.Client{}
	session, err := c.Dial(t.Context(), first.URL+"/whip/near", signal.Offer{SDP: "v=0\r\n", Credential: "secret"})
	require.NoError(t, err)
	require.Empty(t, h.Sessions()[0].Asked().Credential, "the other host is not shown the token")
	require.Equal(t, "v=0\r\n", h.Sessions()[0].Asked().SDP)
	require.NoError(t, session.Close(t.Context()))
	<-h.Sessions()[0].Done()
	_, err = c.Dial(t.Context(), first.URL+"/whip/loop", signal.Offer{SDP: "v=0\r\n"})
	require.ErrorIs(t, err, cdn.ErrInvalid)
}

func TestClientRefusesBadAnswers(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"no location": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/sdp")
			w.WriteHeader(http.StatusCreated)
		},
		"no sdp": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/x")
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, "<html>")
		},
		"endless": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/x")
			w.Header().Set("Content-Type", "application/sdp")
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, strings.Repeat("a", 300<<10))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(answer)
			defer s.Close()
			_, err := (&whip.Client{}).Dial(t.Context(), s.URL+"/whip/live", signal.Offer{SDP: "v=0\r\n"})
			require.ErrorIs(t, err, cdn.ErrInvalid)
		})
	}
	_, err := (&whip.Client{}).Dial(t.Context(), "http://127.0.0.1:1/whip/live", signal.Offer{SDP: "v=0\r\n"})
	require.ErrorIs(t, err, cdn.ErrPeerLost)
	_, err = (&whip.Client{}).Dial(t.Context(), "http://127.0.0.1:1/whip/live", signal.Offer{})
	require.ErrorIs(t, err, cdn.ErrInvalid)
	_, err = (&whip.Client{}).Dial(t.Context(), "::", signal.Offer{SDP: "v=0\r\n"})
	require.ErrorIs(t, err, cdn.ErrInvalid)
	_, err = whip.New(nil, whip.Config{})
	require.ErrorIs(t, err, cdn.ErrInvalid)
}
