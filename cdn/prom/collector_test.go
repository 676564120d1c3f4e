package prom_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/prom"
)

// Open implements [cdn.Source].
func (s source) Open(_ context.Context, r cdn.Request) (*cdn.Subscription, error) {
	stream := s.streams[r.Stream]
	if stream == nil {
		return nil, &cdn.Error{Op: "open", Stream: r.Stream, Err: cdn.ErrNotFound}
	}
	return cdn.NewSubscription(stream, nil), nil
}

// Names, units and help are as Prometheus wants them, and what is collected is what was
// described.
func TestConventions(t *testing.T) {
	s := newSite(t)
	s.publish(t, "live/one", 1)
	s.view(t, "live/one", 2, offerOf(t))
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(s.collector)
	problems, err := testutil.GatherAndLint(r)
	require.NoError(t, err)
	require.Empty(t, problems)
}

// What the metrics say is so.
func TestValues(t *testing.T) {
	s := newSite(t)
	s.publish(t, "live/one", 2)
	all := s.view(t, "live/one", 3, offerOf(t))
	require.NoError(t, all[0].Close())
	_, err := s.edge.Offer(t.Context(), offerFor("nothing", offerOf(t)))
	require.ErrorIs(t, err, cdn.ErrNotFound)
	text := scrape(t, prom.Handler(s.collector))
	for _, line := range []string{
		`delta_node_info{group="test",node="node"} 1`,
		`delta_sessions{action="play"} 2`,
		`delta_sessions{action="publish"} 0`,
		`delta_sessions_started_total{action="play"} 3`,
		`delta_sessions_ended_total{action="play",reason="left"} 1`,
		`delta_sessions_refused_total{action="play",reason="not-found"} 1`,
		`delta_sessions_limit 6000`,
		`delta_answer_duration_seconds_count 3`,
		`delta_streams 1`,
		`delta_stream_live{stream="live/one"} 1`,
		`delta_stream_viewers{stream="live/one"} 2`,
		`delta_stream_nodes{stream="live/one"} 0`,
		`delta_layer_packets_total{kind="video",layer="l1",stream="live/one",track="1"} 1`,
		`delta_layer_bytes_total{kind="audio",layer="",stream="live/one",track="0"} 6`,
		`delta_keyframes_total 2`,
	} {
		require.True(t, strings.Contains(text, line+"\n"), line)
	}
	require.True(t, strings.Contains(text, "go_goroutines"))
}

// A stream has a bounded number of series, whatever its tracks, and none is left of
// those that are gone.
func TestSeriesAreBounded(t *testing.T) {
	s := newSite(t)
	s.publish(t, "small", 1)
	s.publish(t, "simulcast", 3)
	s.publish(t, "huge", 8, 8, 8, 8, 8, 8, 8)
	s.view(t, "huge", 5, offerOf(t))
	h := prom.Handler(s.collector)
	text := scrape(t, h)
	for id, most := range map[string]int{"small": 20, "simulcast": 34, "huge": 60} {
		n := strings.Count(text, fmt.Sprintf(`stream="%s"`, id))
		t.Logf("%s: %d series", id, n)
		require.LessOrEqual(t, n, most)
		require.Positive(t, n)
	}
	require.True(t, strings.Contains(text, `delta_layer_packets_total{kind="",layer="others",stream="huge",track=""} 51`), "57 layers, of which 6 stand alone")
	before := len(strings.Split(text, "\n"))
	for range 20 { // that come and go
		for _, st := range s.streams {
			st.End(cdn.ErrEnded)
		}
		clear(s.streams)
		s.publish(t, "small", 1)
		s.publish(t, "simulcast", 3)
		s.publish(t, "huge", 8, 8, 8, 8, 8, 8, 8)
	}
	require.LessOrEqual(t, len(strings.Split(scrape(t, h), "\n")), before+3, "another reason or two for which sessions end")
	for _, st := range s.streams {
		st.End(cdn.ErrEnded)
	}
	require.False(t, strings.Contains(scrape(t, h), `stream="`))
}

// Of many sessions there is no series more than of few.
func TestNoSeriesForViewers(t *testing.T) {
	s := newSite(t)
	s.publish(t, "live", 1)
	h, offer := prom.Handler(s.collector), offerOf(t)
	s.view(t, "live", 1, offer)
	before := strings.Count(scrape(t, h), "\n")
	s.view(t, "live", 100, offer)
	require.InDelta(t, before, strings.Count(scrape(t, h), "\n"), 1)
}

// The bar: a scrape with 5,000 sessions and 200 streams costs at most 20 ms of CPU. The
// test allows a busy machine more.
func TestScrapeIsCheap(t *testing.T) {
	if testing.Short() {
		t.Skip("makes 5,000 sessions")
	}
	h := busy(t)
	scrape(t, h)
	const scrapes = 10
	least := time.Hour
	var size int
	for range scrapes {
		runtime.GC() // not that of the sessions' garbage
		begun := cpu(t)
		size = discard(t, h)
		least = min(least, cpu(t)-begun)
	}
	t.Logf("5,000 sessions, 200 streams: %v of CPU, the least of %d scrapes, of %d KB", least, scrapes, size/1000)
	require.Less(t, least, 200*time.Millisecond)
}

func BenchmarkScrape(b *testing.B) {
	h := busy(b)
	begun := cpu(b)
	for b.Loop() {
		discard(b, h)
	}
	b.ReportMetric(float64((cpu(b)-begun).Microseconds())/float64(b.N)/1000, "cpu-ms/op")
}

// busy returns the handler of a node with 5,000 viewers of 200 streams.
func busy(t testing.TB) http.Handler {
	t.Helper()
	s := newSite(t)
	offer := offerOf(t)
	for i := range 200 {
		id := cdn.StreamID(fmt.Sprint("live/", i))
		s.publish(t, id, 1+i%3)
		s.view(t, id, 25, offer)
	}
	st := s.node.Stats()
	require.Equal(t, 5000, st.Sessions)
	require.Len(t, st.Streams, 200)
	return prom.Handler(s.collector)
}

// cpu returns what the process has used.
func cpu(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// nowhere is a client that counts what it is sent.
type nowhere struct {
	header http.Header
	bytes  int
}

func (n *nowhere) Header() http.Header { return n.header }
func (n *nowhere) WriteHeader(int)     {}
func (n *nowhere) Write(b []byte) (int, error) {
	n.bytes += len(b)
	return len(b), nil
}

// discard makes a scrape whose answer is not kept, and returns its length.
func discard(t testing.TB, h http.Handler) int {
	t.Helper()
	w := &nowhere{header: make(http.Header)}
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
	return w.bytes
}

func scrape(t testing.TB, h http.Handler) string {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
	require.Equal(t, http.StatusOK, w.Code, w.Body.String())
	return w.Body.String()
}

// The table of docs/metrics.md is made of the families: with DELTA_UPDATE_DOCS=1 it is
// written anew.
func TestDocs(t *testing.T) {
	const file, begin, end = "../../docs/metrics.md", "<!-- metrics -->\n", "<!-- /metrics -->\n"
	raw, err := os.ReadFile(file)
	require.NoError(t, err)
	before, rest, ok := strings.Cut(string(raw), begin)
	require.True(t, ok)
	_, after, ok := strings.Cut(rest, end)
	require.True(t, ok)
	want := before + begin + table() + end + after
	if os.Getenv("DELTA_UPDATE_DOCS") != "" {
		require.NoError(t, os.WriteFile(file, []byte(want), 0o600))
		return
	}
	require.Equal(t, want, string(raw), "DELTA_UPDATE_DOCS=1 go -C cdn/prom test -run Docs . writes it anew")
}

func table() string {
	var b strings.Builder
	b.WriteString("| metric | type | labels | what it is |\n|---|---|---|---|\n")
	for _, f := range prom.Families() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.Name, f.Type, strings.Join(f.Labels, ", "), f.Help)
	}
	return b.String()
}

// name finds metrics in queries.
var name = regexp.MustCompile(`\bdelta_[a-z0-9_]+`)

// known reports whether a query may use a name.
func known(metric string) bool {
	return slices.ContainsFunc(prom.Families(), func(f prom.Family) bool {
		if f.Type != "histogram" {
			return f.Name == metric
		}
		rest, ok := strings.CutPrefix(metric, f.Name)
		return ok && (rest == "_bucket" || rest == "_sum" || rest == "_count")
	})
}

// Whatever docs/metrics.md says of metrics, it says of those that there are.
func TestDocsKnowTheirMetrics(t *testing.T) {
	f, err := os.Open("../../docs/metrics.md")
	require.NoError(t, err)
	defer func() { _ = f.Close() }()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		for _, m := range name.FindAllString(lines.Text(), -1) {
			histogram := slices.ContainsFunc(prom.Families(), func(f prom.Family) bool { return f.Name == m })
			require.True(t, histogram || known(m), "%s in: %s", m, lines.Text())
		}
	}
}
