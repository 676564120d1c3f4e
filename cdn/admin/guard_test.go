package admin

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTokens(t *testing.T) {
	a, log := newAPI(t, withTokens)
	for _, tc := range []struct {
		name, method, path, authorization string
		status                            int
	}{
		{"none", "GET", "/network", "", 401},
		{"wrong", "GET", "/network", "Bearer wrong-0123456789abcdef", 401},
		{"a part", "GET", "/network", "Bearer " + looking[:20], 401},
		{"as a password", "GET", "/network", "Basic " + looking, 401},
		{"looks", "GET", "/network", "Bearer " + looking, 200},
		{"the scheme in small letters", "GET", "/network", "bearer " + looking, 200},
		{"looks at the description", "GET", "/openapi.json", "Bearer " + looking, 200},
		{"the description without", "GET", "/openapi.json", "", 401},
		{"looks, and would change", "POST", "/nodes/one/undrain", "Bearer " + looking, 403},
		{"changes", "POST", "/nodes/one/undrain", "Bearer " + changing, 200},
		{"changes can look", "GET", "/sessions", "Bearer " + changing, 200},
	} {
		r := local(tc.method, tc.path, "")
		r.RemoteAddr, r.Host = "203.0.113.7:40000", "delta.example"
		if tc.authorization != "" {
			r.Header.Set("Authorization", tc.authorization)
		}
		w := do(a, r)
		require.Equal(t, tc.status, w.Code, tc.name)
		if tc.status == 401 {
			require.Equal(t, "Bearer", w.Header().Get("WWW-Authenticate"))
		}
		for _, secret := range []string{looking, changing} {
			require.NotContains(t, w.Body.String(), secret)
			require.NotContains(t, w.Header(), secret)
		}
	}
	// With tokens, being on the machine is not enough.
	require.Equal(t, 401, do(a, local("GET", "/network", "")).Code)
	require.Contains(t, log.String(), "by=ops")
	require.NotContains(t, log.String(), changing)
}

// Wrong tokens are counted for each address, and right ones are not.
func TestWrongTokensAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &syncBuffer{}
		g := newGuard(Config{Logger: slog.New(slog.NewTextHandler(log, nil)), Tokens: []Token{{Name: "ops", Secret: changing, Write: true}}})
		try := func(from, token string) int {
			r := local("GET", "/network", "")
			r.RemoteAddr = from
			r.Header.Set("Authorization", "Bearer "+token)
			_, err := g.admit(r, false)
			if err == nil {
				return 200
			}
			return problemOf(err).Status
		}
		for range 1000 {
			require.Equal(t, 200, try("203.0.113.7:1", changing))
		}
		for range mostAttempts {
			require.Equal(t, 401, try("203.0.113.7:1", "wrong"))
			require.Equal(t, 401, try("[2001:db8::1]:1", "wrong"))
		}
		require.Equal(t, 2, strings.Count(log.String(), "many wrong tokens"), "once for each")
		require.Equal(t, 429, try("203.0.113.7:2", "wrong"))
		require.Equal(t, 200, try("203.0.113.7:2", changing), "others behind the same proxy are not locked out")
		require.Equal(t, 429, try("[2001:db8::ffff]:1", "wrong"), "one customer's network")
		require.Equal(t, 200, try("203.0.113.8:2", changing))
		time.Sleep(attemptEvery)
		require.Equal(t, 401, try("203.0.113.7:2", "wrong"))
		require.Equal(t, 429, try("203.0.113.7:2", "wrong"))
		time.Sleep(2 * attemptEvery)
		require.Equal(t, 200, try("203.0.113.7:2", changing))
	})
}

// What is protected as the API is takes the same tokens, and counts wrong ones with it.
func TestProtect(t *testing.T) {
	a, _ := newAPI(t, withTokens)
	ok := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	look, change := a.Protect(ok, false), a.Protect(ok, true)
	try := func(h http.Handler, token string) int {
		r := local("GET", "/network", "")
		r.RemoteAddr = "203.0.113.7:40000"
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code
	}
	require.Equal(t, []int{200, 200, 403, 200}, []int{try(look, looking), try(look, changing), try(change, looking), try(change, changing)})
	for range mostAttempts {
		require.Equal(t, 401, try(look, "wrong-0123456789abcdef"))
	}
	require.Equal(t, 429, try(a, "wrong-0123456789abcdef"), "the API counts them, too")
	require.Equal(t, 200, try(look, looking))

	a, _ = newAPI(t, func(*Config) {})
	w := httptest.NewRecorder()
	a.Protect(ok, true).ServeHTTP(w, local("GET", "/metrics", ""))
	require.Equal(t, 200, w.Code)
	r := local("GET", "/metrics", "")
	r.Header.Set("X-Forwarded-For", "203.0.113.7")
	w = httptest.NewRecorder()
	a.Protect(ok, false).ServeHTTP(w, r)
	require.Equal(t, 403, w.Code)
}

// What is kept of addresses is bounded.
func TestAttemptsAreBounded(t *testing.T) {
	a := attempts{by: map[netip.Prefix]*bucket{}}
	now := time.Now()
	for i := range 3 * mostBuckets {
		a.note(now, "10."+strconv.Itoa(i>>16)+"."+strconv.Itoa(i>>8&255)+"."+strconv.Itoa(i&255)+":1")
		require.LessOrEqual(t, len(a.by), mostBuckets)
	}
	for i := 0; len(a.by) < mostBuckets; i++ {
		a.note(now, "11."+strconv.Itoa(i>>16)+"."+strconv.Itoa(i>>8&255)+"."+strconv.Itoa(i&255)+":1")
	}
	a.note(now.Add(time.Hour), "192.0.2.1:1")
	require.Equal(t, 1, len(a.by), "those who have waited are forgotten")
}

// Without tokens, only clients on the machine are let in, and nothing that a page of
// another site can have their browser send.
func TestWithoutTokens(t *testing.T) {
	a, _ := newAPI(t, func(c *Config) { c.Hosts = []string{"Console.Example"} })
	for _, tc := range []struct {
		name   string
		edit   func(r *http.Request)
		look   int
		change int
	}{
		{"as it should be", func(*http.Request) {}, 200, 200},
		{"IPv6", func(r *http.Request) { r.RemoteAddr, r.Host = "[::1]:40000", "[::1]:8080" }, 200, 200},
		{"IPv4 in IPv6", func(r *http.Request) { r.RemoteAddr, r.Host = "[::ffff:127.0.0.1]:40000", "127.0.0.1" }, 200, 200},
		{"a configured name", func(r *http.Request) { r.Host = "console.example:8080" }, 200, 200},
		{"from elsewhere", func(r *http.Request) { r.RemoteAddr = "203.0.113.7:40000" }, 403, 403},
		{"from nowhere", func(r *http.Request) { r.RemoteAddr = "@" }, 403, 403},
		{"through a proxy", func(r *http.Request) { r.Header.Set("X-Forwarded-For", "203.0.113.7") }, 403, 403},
		{"through a proxy that says so as it should", func(r *http.Request) { r.Header.Set("Forwarded", "for=203.0.113.7") }, 403, 403},
		{"through a proxy with an empty header", func(r *http.Request) { r.Header.Set("Via", "") }, 403, 403},
		{"through a proxy that does not say so", func(r *http.Request) { r.Proto, r.ProtoMinor = "HTTP/1.0", 0 }, 403, 403},
		{"DNS rebinding", func(r *http.Request) { r.Host = "rebind.attacker.example:8080" }, 421, 421},
		{"DNS rebinding, of one origin", func(r *http.Request) {
			r.Host = "rebind.attacker.example:8080"
			r.Header.Set("Origin", "http://rebind.attacker.example:8080")
			r.Header.Set("Sec-Fetch-Site", "same-origin")
		}, 421, 421},
		{"a name that begins like ours", func(r *http.Request) { r.Host = "localhost.attacker.example" }, 421, 421},
		{"a name that ends like ours", func(r *http.Request) { r.Host = "notlocalhost" }, 421, 421},
		{"no name", func(r *http.Request) { r.Host = "" }, 421, 421},
		{"an address that is everywhere", func(r *http.Request) { r.Host = "0.0.0.0:8080" }, 421, 421},
		{"a page of ours", func(r *http.Request) {
			r.Header.Set("Origin", "http://localhost:8080")
			r.Header.Set("Sec-Fetch-Site", "same-origin")
		}, 200, 200},
		{"a page of another site", func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }, 403, 403},
		{"a page of another port", func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-site") }, 403, 403},
		{"a page of another origin in an old browser", func(r *http.Request) { r.Header.Set("Origin", "http://attacker.example") }, 403, 403},
		{"a page of another port in an old browser", func(r *http.Request) { r.Header.Set("Origin", "http://localhost:9999") }, 403, 403},
		{"a page in a sandbox", func(r *http.Request) { r.Header.Set("Origin", "null") }, 403, 403},
		{"a form", func(r *http.Request) { r.Header.Set("Content-Type", "application/x-www-form-urlencoded") }, 200, 415},
		{"a form of text", func(r *http.Request) { r.Header.Set("Content-Type", "text/plain; application/json") }, 200, 415},
		{"no type", func(r *http.Request) { r.Header.Del("Content-Type") }, 200, 415},
		{"no type but our header", func(r *http.Request) {
			r.Header.Del("Content-Type")
			r.Header.Set(RequestHeader, "1")
		}, 200, 200},
	} {
		look, change := local("GET", "/network", ""), local("POST", "/nodes/one/undrain", "")
		tc.edit(look)
		tc.edit(change)
		w := do(a, look)
		require.Equal(t, tc.look, w.Code, tc.name)
		require.Empty(t, w.Header().Get("Access-Control-Allow-Origin"))
		require.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"))
		require.Equal(t, tc.change, do(a, change).Code, tc.name)
	}
	preflight := local("OPTIONS", "/nodes/one/undrain", "")
	preflight.Header.Set("Origin", "http://attacker.example")
	preflight.Header.Set("Access-Control-Request-Method", "POST")
	w := do(a, preflight)
	require.Equal(t, 405, w.Code)
	require.Empty(t, w.Header().Get("Access-Control-Allow-Origin"))
}
