package web

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"path"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// get asks a handler for a path, as a page of the origin from.
func get(t *testing.T, h http.Handler, method, target, from string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, target, nil)
	if from != "" {
		r.Header.Set("Origin", from)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func example() Status {
	return Status{
		Node:       Node{ID: "n-1", Name: "edge-1", Role: Edge, URL: "http://127.0.0.1:8002", Since: time.Date(2026, 1, 2, 3, 4, 4, 0, time.UTC)},
		CanPlay:    true,
		CanPublish: false,
		Peers: []Peer{
			{Name: "origin", Role: Origin, URL: "http://127.0.0.1:8001/", Linked: true, RTTMillis: 0.5},
			{Name: "odd", Role: Relay, URL: "not a url"},
			{Name: "gone", Role: Relay, URL: "", Killed: true},
		},
		Links: []Link{{
			Peer: "origin", URL: "http://127.0.0.1:8001", Up: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), RTTMillis: 0.5, Loss: 0.25,
			BitrateIn: 510000, BitrateOut: 1000, BytesIn: 5, BytesOut: 6, Fetched: []string{"live/demo"},
		}},
		Fetches: []Fetch{{
			Stream: "live/demo", Node: "origin", URL: "http://127.0.0.1:8001", Standby: "odd", StandbyURL: "not a url",
			Since: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Changes: 1, Wanted: 3,
		}},
		Streams: []Stream{{
			ID: "live/demo", Source: "from origin", State: "live", Path: []string{"origin"}, Delays: []float64{0.25},
			Since: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
			Tracks: []Track{
				{Kind: "video", Codec: "VP8", Layers: []Layer{{Name: "h", Bitrate: 500000, Packets: 7, Keyframes: 2, Lost: 1}}},
				{Kind: "audio", Codec: "opus"},
			},
			Viewers: 3, Downstreams: 1,
		}},
		Sessions: Sessions{Viewers: 3, Links: 1},
		Totals:   Totals{BitrateIn: 500000, BitrateOut: 1500000, PacketsIn: 1, PacketsOut: 2, BytesIn: 3, BytesOut: 4},
	}
}

func TestHandlerServesPagesAndAssets(t *testing.T) {
	h := Handler(example)
	for target, want := range map[string]struct{ contentType, contains string }{
		"/":                     {"text/html; charset=utf-8", `id="streams"`},
		"/publish":              {"text/html; charset=utf-8", `id="preview"`},
		"/play?stream=a/b":      {"text/html; charset=utf-8", `id="video"`},
		"/twoway":               {"text/html; charset=utf-8", `id="publish-panel"`},
		"/assets/style.css":     {"text/css; charset=utf-8", ":root"},
		"/assets/whip.js":       {"text/javascript; charset=utf-8", "export class WhipClient"},
		"/assets/whep.js":       {"text/javascript; charset=utf-8", "export class WhepSession"},
		"/assets/icon.svg":      {"image/svg+xml", "<svg"},
		"/status.json":          {"application/json", `"node"`},
		"/status.json?anything": {"application/json", `"node"`},
	} {
		t.Run(target, func(t *testing.T) {
			w := get(t, h, http.MethodGet, target, "")
			assert.Equal(t, http.StatusOK, w.Code)
			assert.Equal(t, want.contentType, w.Header().Get("Content-Type"))
			assert.Contains(t, w.Body.String(), want.contains)
			assert.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"))
			assert.Contains(t, w.Header().Get("Cache-Control"), "no-")
		})
	}
}

func TestHandlerRefusesOtherPathsAndMethods(t *testing.T) {
	h := Handler(example)
	for _, test := range []struct {
		method, target string
		code           int
	}{
		{http.MethodGet, "/nothing", http.StatusNotFound},
		{http.MethodGet, "/assets/", http.StatusNotFound},
		{http.MethodGet, "/assets/nothing.js", http.StatusNotFound},
		{http.MethodGet, "/assets/%2e%2e/web.go", http.StatusNotFound},
		{http.MethodGet, "/index.html", http.StatusNotFound},
		{http.MethodPost, "/", http.StatusMethodNotAllowed},
		{http.MethodPost, "/status.json", http.StatusMethodNotAllowed},
	} {
		w := get(t, h, test.method, test.target, "")
		assert.Equal(t, test.code, w.Code, "%s %s", test.method, test.target)
	}
}

func TestPolicyAllowsTheNodeAndItsPeers(t *testing.T) {
	w := get(t, Handler(example), http.MethodGet, "/", "")
	policy := w.Header().Get("Content-Security-Policy")
	assert.Contains(t, policy, "default-src 'self'")
	assert.True(t, strings.HasSuffix(policy, "connect-src 'self' http://127.0.0.1:8001"), policy)
}

// A player may be sent to a sibling. What is no URL of one changes nothing: they may come
// from anybody who announces himself.
func TestPolicyAllowsSiblings(t *testing.T) {
	siblings := []string{
		"https://E2.example.com/base", "http://[2001:db8::1]:80", "http://127.0.0.1:8001", "https://*.example.org",
		"", "nats://broker", "https://a.example;script-src *", "https://a.example https://b.example", "https://u:p@c.example'", "javascript:alert(1)",
		"https://*", "https://*.*.example.com", "https://d.example\r\nX: y", "https://e.example,f",
	}
	h := Handler(func() Status {
		status := example()
		status.Siblings, status.Domains = siblings, []string{"https://*.example.com", "*", "https://*", "https://*.a; script-src *"}
		return status
	})
	policy := get(t, h, http.MethodGet, "/play", "").Header().Get("Content-Security-Policy")
	assert.True(t, strings.HasSuffix(policy,
		"connect-src 'self' https://*.example.com http://127.0.0.1:8001 https://e2.example.com"), policy)
	for from, want := range map[string]string{"https://e2.example.com": "https://e2.example.com", "https://e3.example.com": ""} {
		assert.Equal(t, want, get(t, h, http.MethodGet, "/status.json", from).Header().Get("Access-Control-Allow-Origin"))
	}

	siblings = nil
	for i := range 1000 {
		siblings = append(siblings, fmt.Sprintf("https://edge-%d.example.com", i))
	}
	time.Sleep(fresh)
	policy = get(t, h, http.MethodGet, "/play", "").Header().Get("Content-Security-Policy")
	assert.Equal(t, 100, strings.Count(policy, " http"), "a header has an end")
}

func TestStatusCanBeReadByPagesOfPeersOnly(t *testing.T) {
	h := Handler(example)
	for from, want := range map[string]string{
		"":                      "",
		"http://127.0.0.1:8001": "http://127.0.0.1:8001",
		"http://127.0.0.1:8003": "",
		"https://example.com":   "",
		"null":                  "",
	} {
		w := get(t, h, http.MethodGet, "/status.json", from)
		assert.Equal(t, want, w.Header().Get("Access-Control-Allow-Origin"), "asked from %q", from)
		assert.Equal(t, "Origin", w.Header().Get("Vary"))
	}
}

// The pages read these names.
func TestStatusJSON(t *testing.T) {
	status := example()
	status.Time = time.Date(2026, 1, 2, 3, 4, 6, 0, time.UTC)
	w := get(t, Handler(func() Status { return status }), http.MethodGet, "/status.json", "")
	assert.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	assert.JSONEq(t, `{
		"node": {"id": "n-1", "name": "edge-1", "role": "edge", "url": "http://127.0.0.1:8002", "since": "2026-01-02T03:04:04Z"},
		"can_publish": false, "can_play": true, "can_kill": false, "network": "",
		"peers": [
			{"name": "origin", "role": "origin", "url": "http://127.0.0.1:8001/", "linked": true, "rtt_ms": 0.5},
			{"name": "odd", "role": "relay", "url": "not a url", "linked": false},
			{"name": "gone", "role": "relay", "url": "", "linked": false, "killed": true}
		],
		"links": [{"peer": "origin", "url": "http://127.0.0.1:8001", "up": "2026-01-02T03:04:05Z", "rtt_ms": 0.5, "loss": 0.25,
			"bitrate_in_bps": 510000, "bitrate_out_bps": 1000, "bytes_in": 5, "bytes_out": 6, "fetched": ["live/demo"], "served": []}],
		"fetches": [{"stream": "live/demo", "node": "origin", "url": "http://127.0.0.1:8001", "standby": "odd", "standby_url": "not a url",
			"since": "2026-01-02T03:04:05Z", "changes": 1, "wanted": 3}],
		"streams": [{
			"id": "live/demo", "source": "from origin", "state": "live", "path": ["origin"], "delays_ms": [0.25], "since": "2026-01-02T03:04:05Z",
			"tracks": [
				{"kind": "video", "codec": "VP8", "layers": [
					{"name": "h", "bitrate_bps": 500000, "packets": 7, "keyframes": 2, "lost": 1}]},
				{"kind": "audio", "codec": "opus", "layers": []}
			],
			"viewers": 3, "downstreams": 1
		}],
		"sessions": {"publishers": 0, "viewers": 3, "links": 1},
		"totals": {"bitrate_in_bps": 500000, "bitrate_out_bps": 1500000,
			"packets_in": 1, "packets_out": 2, "bytes_in": 3, "bytes_out": 4},
		"time": "2026-01-02T03:04:06Z"
	}`, w.Body.String())
	assert.Nil(t, status.Streams[0].Tracks[1].Layers, "the caller's value is not changed")
}

func TestStatusHasNoNull(t *testing.T) {
	h := Handler(func() Status { return Status{} })
	w := get(t, h, http.MethodGet, "/status.json", "")
	assert.NotContains(t, w.Body.String(), "null")
	var got Status
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &got))
	assert.WithinDuration(t, time.Now(), got.Time, time.Minute)
}

func TestHandlerIsConcurrent(t *testing.T) {
	shared := example()
	h := Handler(func() Status { return shared })
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for _, target := range []string{"/", "/status.json", "/assets/play.js"} {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
				if w.Code != http.StatusOK {
					t.Errorf("%s: %d", target, w.Code)
				}
			}
		})
	}
	wg.Wait()
}

// each calls f with every embedded file.
func each(t *testing.T, f func(name, content string)) {
	t.Helper()
	require.NoError(t, fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := fs.ReadFile(files, name)
		f(name, string(content))
		return err
	}))
}

func TestNothingIsLoadedFromElsewhere(t *testing.T) {
	external := regexp.MustCompile(`(?i)(?:https?|wss?)://[^\s"'<>)]+`)
	each(t, func(name, content string) {
		for _, found := range external.FindAllString(content, -1) {
			assert.True(t, strings.HasPrefix(found, "http://www.w3.org/"), "%s refers to %s", name, found)
		}
		assert.NotRegexp(t, `(?:src|href)="//`, content, name)
	})
}

// What the pages and modules refer to is there, and nothing runs inline: the
// policy would forbid it.
func TestReferencesResolve(t *testing.T) {
	attribute := regexp.MustCompile(`(?:src|href)="(/assets/[^"]+)"`)
	module := regexp.MustCompile(`(?:from |new URL\()'(\./[^']+)'`)
	known := map[string]bool{}
	each(t, func(name, _ string) { known["/"+name] = true })
	each(t, func(name, content string) {
		for _, m := range attribute.FindAllStringSubmatch(content, -1) {
			assert.True(t, known[m[1]], "%s refers to %s", name, m[1])
		}
		for _, m := range module.FindAllStringSubmatch(content, -1) {
			assert.True(t, known[path.Join("/", path.Dir(name), m[1])], "%s refers to %s", name, m[1])
		}
		if strings.HasSuffix(name, ".html") {
			assert.NotRegexp(t, `<script>|<style>| style="| on[a-z]+="`, content, name)
		}
	})
}

// Every id that a module looks up is in the page that it belongs to.
func TestScriptsFindTheirIDs(t *testing.T) {
	looked := regexp.MustCompile(`(?:\$|figure)\('([a-z0-9-]+)'`)
	defined := regexp.MustCompile(` id="([^"]+)"`)
	shared := []string{"assets/format.js", "assets/node.js"}
	for page, script := range map[string]string{
		"index.html": "assets/console.js", "publish.html": "assets/publish.js", "play.html": "assets/play.js",
		"twoway.html": "assets/twoway.js",
	} {
		html, err := files.ReadFile(page)
		require.NoError(t, err)
		ids := map[string]bool{}
		for _, m := range defined.FindAllStringSubmatch(string(html), -1) {
			assert.False(t, ids[m[1]], "%s has the id %s twice", page, m[1])
			ids[m[1]] = true
		}
		for _, name := range append(shared, script) {
			code, err := files.ReadFile(name)
			require.NoError(t, err)
			for _, m := range looked.FindAllStringSubmatch(string(code), -1) {
				assert.True(t, ids[m[1]], "%s looks for #%s in %s", name, m[1], page)
			}
		}
	}
}
