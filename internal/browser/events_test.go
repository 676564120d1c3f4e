package browser

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/demo/web/webtest"
)

// A gateway is a proxy in front of a node that answers 502 at times.
type gateway struct {
	URL string
	// posts and gets are how many more requests for events fail, by their method.
	posts, gets atomic.Int32
	// gone has all requests about the session itself fail.
	gone atomic.Bool
	// failed is how many requests for event streams have failed.
	failed atomic.Int32

	mu  sync.Mutex
	cut context.CancelFunc // breaks the connection of the newest event stream
}

func newGateway(t *testing.T, node string) *gateway {
	target, err := url.Parse(node)
	require.NoError(t, err)
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.FlushInterval = -1
	proxy.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }
	g := &gateway{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" { // a page without timers of its own
			w.Header().Set("Content-Type", "text/html")
			_, _ = w.Write([]byte(`<!doctype html><link rel="icon" href="data:,"><body>`))
			return
		}
		if g.fails(r) {
			http.Error(w, "bad gateway", http.StatusBadGateway)
			return
		}
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		if isStream.MatchString(r.URL.Path) {
			g.mu.Lock()
			g.cut = cancel
			g.mu.Unlock()
		}
		proxy.ServeHTTP(w, r.WithContext(ctx))
	}))
	t.Cleanup(func() {
		s.CloseClientConnections() // event streams
		s.Close()
	})
	g.URL = s.URL
	return g
}

var isStream = regexp.MustCompile(`/events/\d+$`)

func (g *gateway) fails(r *http.Request) bool {
	switch stream := isStream.MatchString(r.URL.Path); {
	case stream && r.Method == http.MethodGet && g.gets.Add(-1) >= 0:
		g.failed.Add(1)
		return true
	case r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/events"):
		return g.posts.Add(-1) >= 0
	}
	return g.gone.Load() && r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/-/") && !strings.Contains(r.URL.Path, "/events")
}

// breakOff cuts the event stream, and has so many requests for it fail.
func (g *gateway) breakOff(failures int32) {
	g.gets.Store(failures)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.cut()
}

// listening plays without a page's own player, and notes what the server tells and the
// pauses, which it shortens.
const listening = `(async () => {
	const {WhepSession} = await import("/assets/whep.js");
	const later = window.setTimeout;
	Object.assign(window, {heard: [], pauses: [], end: null, later});
	const session = new WhepSession({url: location.origin + "/whep/demo", tell: (name) => heard.push(name)});
	window.setTimeout = (f, ms) => {
		if (ms < 500 || ms > 30000) return later(f, ms); // the test's own
		pauses.push(ms);
		return later(f, ms / 100);
	};
	session.ended.then((problem) => { window.end = problem; });
	await session.open();
	return true;
})()`

// requirePauses: each is half to all of a time that doubles, from a second to half a minute.
func requirePauses(t *testing.T, p *page, n int) {
	t.Helper()
	pauses := eval[[]float64](p, `pauses.splice(0)`)
	require.Len(t, pauses, n)
	for i, ms := range pauses {
		limit := min(1000*float64(int(1)<<i), 30000)
		require.GreaterOrEqual(t, ms, limit/2, "pause %d of %v", i, pauses)
		require.LessOrEqual(t, ms, limit, "pause %d of %v", i, pauses)
	}
}

// A browser gives an event stream up for good at a proxy's 502. The page opens it again, after
// pauses that grow, until the session is over.
func TestEventsAreOpenedAgain(t *testing.T) {
	chromium(t)
	n := webtest.New(t, "127.0.0.1:0")
	o, e := n.Origin("origin"), n.Viewing("edge")
	n.Publish(o, "demo")
	g := newGateway(t, e.URL)
	b := newBrowser(t)
	b.errors.allow(lost, refused, regexp.MustCompile(`^Failed to load resource: the server responded with a status of 502 `))
	p := b.open(g.URL + "/")

	g.posts.Store(1)
	g.gets.Store(7)
	require.True(t, eval[bool](p, listening))
	p.wait(`heard.includes("active")`)
	requirePauses(t, p, 8)

	// The browser itself tries again once, since the connection breaks.
	eval[any](p, `heard.length = 0`)
	g.breakOff(2)
	p.wait(`heard.includes("active")`)
	requirePauses(t, p, 2)

	// The server does not answer whether it has the session: that it has ended is learned
	// when the events are asked for.
	g.breakOff(1 << 30)
	failed := g.failed.Load()
	require.Eventually(t, func() bool { return g.failed.Load() > failed+1 }, patience, time.Millisecond)
	g.gone.Store(true)
	viewers := e.Node.Sessions()
	require.Len(t, viewers, 1)
	require.NoError(t, e.EndSession(viewers[0].Session, cdn.ErrTooSlow))
	p.wait(`end !== null`)
	require.Equal(t, "too-slow", eval[string](p, `end.code`))
	failed = g.failed.Load()
	eval[any](p, `new Promise((resolve) => { later(resolve, 1000); })`) // three of the longest pauses
	require.Equal(t, failed, g.failed.Load(), "the events of a session that is over were asked for")
}
