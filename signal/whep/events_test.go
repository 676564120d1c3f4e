package whep_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/signal"
	"github.com/deltacdn/delta/signal/whep"
)

const (
	relEvents    = "urn:ietf:params:whep:ext:core:server-sent-events"
	relOwnEvents = "urn:deltacdn:whep:ext:events"
)

// play makes a session and returns its URL and that of its events.
func play(t *testing.T, s *httptest.Server) (session, events string) {
	t.Helper()
	resp := do(t, "POST", s.URL+"/whep/live", "v=0\r\n", "application/sdp")
	require.Equal(t, http.StatusCreated, resp.StatusCode)
	for _, link := range resp.Header.Values("Link") {
		target, _, _ := strings.Cut(strings.TrimPrefix(link, "<"), ">")
		if strings.Contains(link, `rel="`+relEvents+`"`) {
			events = s.URL + target
		}
	}
	return s.URL + resp.Header.Get("Location"), events
}

// subscribe makes an event stream and returns its URL.
func subscribe(t *testing.T, s *httptest.Server, events, names string) string {
	t.Helper()
	resp := do(t, "POST", events, names, "application/json")
	require.Equal(t, http.StatusCreated, resp.StatusCode)
	return s.URL + resp.Header.Get("Location")
}

// A listener reads an event stream.
type listener struct {
	t     *testing.T
	lines *bufio.Scanner
	end   context.CancelFunc
}

func listen(t *testing.T, url string) *listener {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	require.NoError(t, err)
	req.Header.Set("Accept", "text/event-stream")
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	t.Cleanup(func() { _ = resp.Body.Close() })
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Equal(t, "text/event-stream", resp.Header.Get("Content-Type"))
	return &listener{t, bufio.NewScanner(resp.Body), cancel}
}

// next returns the next event, its name and data, "" at the end of the stream.
func (l *listener) next() string {
	l.t.Helper()
	name := ""
	for l.lines.Scan() {
		line := l.lines.Text()
		if value, ok := strings.CutPrefix(line, "event: "); ok {
			name = value
		} else if data, ok := strings.CutPrefix(line, "data: "); ok {
			return name + " " + data
		}
	}
	return ""
}

// webrtc-http-egress-events.md, "Server Sent Events extension": "a "Link" header
// field with a "rel" attribute of "urn:ietf:params:whep:ext:core:server-sent-
// events" MUST be returned in the initial HTTP "201 Created" response", and "MAY
// also contain an "events" attribute with a coma separated list".
func TestEventsAreLinked(t *testing.T) {
	s := serve(t, &cdntest.ScriptedHandler{})
	links := do(t, "POST", s.URL+"/whep/live", "v=0\r\n", "application/sdp").Header.Values("Link")
	require.Equal(t, []string{
		`</whep/live/-/session-0/events>; rel="` + relEvents + `"; events="active,inactive,viewercount,reconnect"`,
		`</whep/live/-/session-0/events>; rel="` + relOwnEvents + `"; events="ended,layer,adaptation,codec"`,
	}, links)
	require.Empty(t, do(t, "POST", s.URL+"/whep/live", "", "").Header.Values("Link"), "a node listens to nothing")
	plain := serve(t, plainHandler{})
	links = do(t, "POST", plain.URL+"/whep/live", "v=0\r\n", "application/sdp").Header.Values("Link")
	require.Equal(t, []string{`</whep/live/-/plain/events>; rel="` + relOwnEvents + `"; events="ended"`}, links)
}

// plainHandler makes sessions that tell nothing of themselves.
type plainHandler struct{}

func (plainHandler) Offer(context.Context, signal.Offer) (signal.Session, error) {
	return plainSession{}, nil
}

type plainSession struct{ signal.Session }

func (plainSession) ID() string            { return "plain" }
func (plainSession) SDP() string           { return "v=0\r\n" }
func (plainSession) Done() <-chan struct{} { return nil }
func (plainSession) Close() error          { return nil }

// A stream tells what was asked for, and nothing else: "the WHEP Resource MUST
// check for each event stream if the type is on the list provided by the WHEP
// player".
func TestEventStreamTellsWhatChanges(t *testing.T) {
	h := &cdntest.ScriptedHandler{}
	s := serve(t, h)
	_, events := play(t, s)
	session := h.Sessions()[0]
	core := listen(t, subscribe(t, s, events, `["active","inactive","viewercount","reconnect"]`))
	own := listen(t, subscribe(t, s, events, `["layer","codec","ended"]`))

	// "The WHEP Resource MUST NOT send an initial "inactive" event".
	status := signal.Status{Active: true, Viewers: 3, Layer: "h"}
	session.SetStatus(status)
	require.Equal(t, `active {}`, core.next())
	require.Equal(t, `viewercount {"viewercount":3}`, core.next())
	require.Equal(t, `layer {"layer":"h","paused":false}`, own.next())
	status.Active, status.Viewers = false, 2
	session.SetStatus(status)
	require.Equal(t, `inactive {}`, core.next())
	require.Equal(t, `viewercount {"viewercount":2}`, core.next())
	status.Viewers = 9
	session.SetStatus(status)
	require.Equal(t, `viewercount {"viewercount":9}`, core.next(), "within a second, though that wakes nobody")
	status.Layer, status.Paused = "l", true
	session.SetStatus(status)
	require.Equal(t, `layer {"layer":"l","paused":true}`, own.next())
	status.Mismatch = signal.Mismatch{Kind: "video", Stream: "video/H264", Offered: "video/VP8, video/VP9"}
	session.SetStatus(status)
	require.Equal(t, `codec {"kind":"video","offered":"video/VP8, video/VP9","stream":"video/H264"}`, own.next())
	status.Reconnect, status.ReconnectURL = true, "https://other.example"
	session.SetStatus(status)
	require.Equal(t, `reconnect {"url":"https://other.example/whep/live"}`, core.next())
	session.End(&cdn.Error{Op: "play", Stream: "live", Err: cdn.ErrEnded})
	require.Equal(t, `ended {"code":"ended","detail":"The publisher has ended the stream."}`, own.next())
	require.Empty(t, own.next())
	require.Empty(t, core.next())
}

// Each step by which a viewer's video is fitted to its path is told, at once, and anew to a
// player that connects again.
func TestEventStreamTellsOfAdaptation(t *testing.T) {
	h := &cdntest.ScriptedHandler{}
	s := serve(t, h)
	_, events := play(t, s)
	session := h.Sessions()[0]
	status := signal.Status{Active: true, Layer: "h"}
	session.SetStatus(status)
	stream := subscribe(t, s, events, `["adaptation","ended"]`)
	l := listen(t, stream)
	for _, step := range []struct {
		to   signal.Adaptation
		told string
	}{
		{
			signal.Adaptation{Layer: "m", Mode: "full", Height: 360, Bitrate: 540_000, Limited: true, Reason: "congestion"},
			`{"layer":"m","height":360,"bitrate":540000,"mode":"full","paused":false,"limited":true,"reason":"congestion"}`,
		},
		{signal.Adaptation{Layer: "l", Mode: "partial", Limited: true, Reason: "loss"}, `{"layer":"l","mode":"partial","paused":false,"limited":true,"reason":"loss"}`},
		{signal.Adaptation{Layer: "l", Mode: "paused", Limited: true, Reason: "loss"}, `{"layer":"l","mode":"paused","paused":true,"limited":true,"reason":"loss"}`},
		{signal.Adaptation{Layer: "h", Mode: "full", Reason: "room"}, `{"layer":"h","mode":"full","paused":false,"limited":false,"reason":"room"}`},
	} {
		status.Adaptation = step.to
		session.SetStatus(status)
		require.Equal(t, "adaptation "+step.told, l.next())
	}
	again := listen(t, stream)
	require.Equal(t, `adaptation {"layer":"h","mode":"full","paused":false,"limited":false,"reason":"room"}`, again.next())
	require.Empty(t, l.next())
}

// A player that connects again is told the present anew, and its earlier request
// ends.
func TestEventStreamIsReadByOne(t *testing.T) {
	h := &cdntest.ScriptedHandler{}
	s := serve(t, h)
	_, events := play(t, s)
	h.Sessions()[0].SetStatus(signal.Status{Active: true})
	stream := subscribe(t, s, events, "")
	first := listen(t, stream)
	require.Equal(t, "active {}", first.next())
	second := listen(t, stream)
	require.Equal(t, "active {}", second.next())
	require.Empty(t, first.next())
	h.Sessions()[0].SetStatus(signal.Status{})
	require.Equal(t, "inactive {}", second.next())
	// The event may have been lost with the request that it was sent to.
	third := listen(t, stream)
	require.Equal(t, "inactive {}", third.next())
	h.Sessions()[0].SetStatus(signal.Status{Active: true})
	require.Equal(t, "active {}", third.next())
}

// A publisher may come or go while no request reads the stream.
func TestEventStreamTellsThePresent(t *testing.T) {
	h := &cdntest.ScriptedHandler{}
	s := serve(t, h)
	_, events := play(t, s)
	session := h.Sessions()[0]
	session.SetStatus(signal.Status{Active: true})
	stream := subscribe(t, s, events, `["active","inactive","ended"]`)
	session.SetStatus(signal.Status{})
	first := listen(t, stream)
	session.SetStatus(signal.Status{Active: true})
	require.Equal(t, "active {}", first.next(), "that nobody publishes is never told first")
	for range 2 {
		first.end()
		session.SetStatus(signal.Status{})
		first = listen(t, stream)
		require.Equal(t, "inactive {}", first.next())
		first.end()
		session.SetStatus(signal.Status{Active: true})
		first = listen(t, stream)
		require.Equal(t, "active {}", first.next())
	}
}

// "The WHEP player MAY destroy the event stream at anytime by sending a HTTP
// DELETE request [...] The WHEP Resource MUST [...] return a "404 Not found" if any
// further long pull request is received".
func TestEventStreamIsDeleted(t *testing.T) {
	h := &cdntest.ScriptedHandler{}
	s := serve(t, h)
	session, events := play(t, s)
	stream := subscribe(t, s, events, `["ended"]`)
	l := listen(t, stream)
	require.Equal(t, http.StatusNoContent, do(t, "DELETE", stream, "", "").StatusCode)
	require.Empty(t, l.next(), "the session goes on")
	require.Equal(t, http.StatusNotFound, do(t, "GET", stream, "", "").StatusCode)
	require.Equal(t, http.StatusNotFound, do(t, "DELETE", stream, "", "").StatusCode)
	require.Equal(t, http.StatusNoContent, do(t, "GET", session, "", "").StatusCode)
	// "All the event streams [...] MUST be destroyed when the WHEP Resource is
	// terminated."
	stream = subscribe(t, s, events, `["ended"]`)
	l = listen(t, stream)
	require.Equal(t, http.StatusOK, do(t, "DELETE", session, "", "").StatusCode)
	require.Equal(t, `ended {"code":"left","detail":"The client has ended the session."}`, l.next())
	require.Empty(t, l.next())
	require.Equal(t, http.StatusNotFound, do(t, "GET", stream, "", "").StatusCode)
	require.Equal(t, http.StatusNotFound, do(t, "POST", events, "[]", "application/json").StatusCode)
}

func TestRefusedEventStreams(t *testing.T) {
	h := &cdntest.ScriptedHandler{}
	s := serve(t, h)
	session, events := play(t, s)
	for _, c := range []struct {
		name, method, url, body, kind string
		status                        int
		code                          string
	}{
		{"unknown event", "POST", events, `["active","scte35"]`, "application/json", 422, "unknown-event"},
		{"no list", "POST", events, `{"a":1}`, "application/json", 400, "unknown-event"},
		{"no JSON", "POST", events, `active`, "application/json", 400, "unknown-event"},
		{"other type", "POST", events, `["active"]`, "text/plain", 415, "media-type"},
		{"too long", "POST", events, strings.Repeat(" ", 5<<10), "application/json", 413, "too-large"},
		{"no such stream", "GET", events + "/7", "", "", 404, "no-event-stream"},
		{"nothing below", "GET", events + "/1/2", "", "", 404, "no-resource"},
		{"no other resource", "GET", session + "/layer", "", "", 404, "no-resource"},
		{"method", "PUT", events, "", "", 405, "method"},
		{"method of a stream", "POST", events + "/1", "", "", 405, "method"},
	} {
		resp := do(t, c.method, c.url, c.body, c.kind)
		require.Equal(t, c.status, resp.StatusCode, c.name)
		require.Equal(t, c.code, codeOf(t, resp), c.name)
	}
	require.Equal(t, http.StatusNoContent, do(t, "GET", events, "", "").StatusCode)
	for range 4 {
		subscribe(t, s, events, "")
	}
	resp := do(t, "POST", events, "", "")
	require.Equal(t, http.StatusTooManyRequests, resp.StatusCode)
	require.Equal(t, "too-many-event-streams", codeOf(t, resp))
	require.Equal(t, http.StatusNoContent, do(t, "DELETE", events+"/2", "", "").StatusCode)
	subscribe(t, s, events, "")
	preflight := do(t, "OPTIONS", events, "", "")
	require.Equal(t, "application/json", preflight.Header.Get("Accept-Post"))
	require.Contains(t, preflight.Header.Get("Access-Control-Allow-Methods"), "POST")
	require.Contains(t, do(t, "OPTIONS", events+"/1", "", "").Header.Get("Access-Control-Allow-Methods"), "DELETE")
}

func codeOf(t *testing.T, resp *http.Response) string {
	t.Helper()
	require.Equal(t, "application/problem+json", resp.Header.Get("Content-Type"))
	var problem struct{ Code string }
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&problem))
	return problem.Code
}

// Pages of older releases listen at the session's own URL.
func TestOlderPlayersAreRedirectedToEvents(t *testing.T) {
	h := &cdntest.ScriptedHandler{}
	s := serve(t, h)
	session, _ := play(t, s)
	l := listen(t, session)
	h.Sessions()[0].End(&cdn.Error{Op: "play", Stream: "live", Err: cdn.ErrEnded})
	require.Equal(t, `ended {"code":"ended","detail":"The publisher has ended the stream."}`, l.next())
	require.Empty(t, l.next())
	for _, method := range []string{"GET", "PATCH", "DELETE"} {
		resp := do(t, method, session, "", "")
		require.Equal(t, http.StatusGone, resp.StatusCode)
		require.Equal(t, "ended", codeOf(t, resp))
	}
}

// Neither the handler's end nor the server's waits for players that listen.
func TestEventStreamsEndWithTheServer(t *testing.T) {
	for name, end := range map[string]func(*httptest.Server, *whep.Handler) error{
		"shutdown": func(s *httptest.Server, _ *whep.Handler) error {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			return s.Config.Shutdown(ctx)
		},
		"close of the handler": func(_ *httptest.Server, h *whep.Handler) error { return h.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			handler, err := whep.New(&cdntest.ScriptedHandler{}, whep.Config{})
			require.NoError(t, err)
			s := httptest.NewServer(handler)
			defer s.Close()
			defer func() { require.NoError(t, handler.Close()) }()
			_, events := play(t, s)
			l := listen(t, subscribe(t, s, events, ""))
			require.NoError(t, end(s, handler))
			for l.next() != "" {
			}
			require.NoError(t, l.lines.Err())
		})
	}
}
