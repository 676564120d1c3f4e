package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/internal/demo/web"
	"github.com/deltacdn/delta/internal/freeport"
	"github.com/deltacdn/delta/internal/testmain"
	"github.com/deltacdn/delta/signal/whep"
	"github.com/deltacdn/delta/signal/whip"
)

// patience bounds every wait. It is not asserted: a slow machine only waits.
const patience = 30 * time.Second

// binary is the program: this one, which by asProgram is what it tests.
var binary string

// asProgram is no setting: the prefix of those is another.
const asProgram = "RUN_AS_DELTANODE"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Exit(command(os.Args[1:]))
	}
	var err error
	if binary, err = os.Executable(); err != nil {
		panic(err)
	}
	if err := os.Setenv(asProgram, "1"); err != nil {
		panic(err)
	}
	testmain.Run(m)
}

// process is a node that runs.
type process struct {
	*exec.Cmd
	url, admin string
	log        output
}

// launch starts a node on free ports, and returns when it says that it serves.
func launch(t *testing.T, args ...string) *process {
	return run(t, append([]string{"-http", "127.0.0.1:0", "-admin-http", "127.0.0.1:0"}, args...)...)
}

// run starts a node, and returns when it says that it serves.
func run(t *testing.T, args ...string) *process {
	p := &process{Cmd: exec.Command(binary, args...)}
	p.Stderr = &p.log
	out, err := p.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.Start())
	t.Cleanup(func() {
		_ = p.Process.Kill()
		_ = p.Wait()
		if t.Failed() {
			t.Logf("%v said:\n%s", args, &p.log)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(line, "serving name="), line)
	for field := range strings.FieldsSeq(line) {
		if url, ok := strings.CutPrefix(field, "http="); ok {
			p.url = url
		}
		if admin, ok := strings.CutPrefix(field, "admin="); ok {
			p.admin = admin
		}
	}
	require.NotEmpty(t, p.url, line)
	return p
}

func get(t *testing.T, url string) (int, string) {
	resp, err := http.Get(url)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(body)
}

func (p *process) waitReady(t *testing.T) {
	require.Eventually(t, func() bool { code, _ := get(t, p.url+"/readyz"); return code == http.StatusOK }, patience, 20*time.Millisecond)
}

// waitLinks waits until a node has links with those of these names. It is ready when it
// has one of them.
func (p *process) waitLinks(t *testing.T, names ...string) {
	require.Eventually(t, func() bool {
		for _, name := range names {
			up := func(l web.Link) bool { return l.Peer == name && !l.Up.IsZero() }
			if !slices.ContainsFunc(p.page(t).Links, up) {
				return false
			}
		}
		return true
	}, patience, 20*time.Millisecond, "%v", names)
}

func (p *process) upstream(t *testing.T) string {
	_, body := get(t, p.admin+"/status")
	var st Status
	require.NoError(t, json.Unmarshal([]byte(body), &st))
	if len(st.Fetched) == 0 {
		return ""
	}
	return st.Fetched[0].URL
}

// Four processes: the relay that the edge has the stream from is killed, and the
// viewer plays on, from the other one, over the session that it has.
func TestARelayIsKilled(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	const secret = "known to these four alone"
	o := launch(t, "-roles", "origin", "-name", "o", "-secret", secret)
	relays := map[string]*process{}
	var entry []string
	for _, name := range []string{"r1", "r2"} {
		r := launch(t, "-roles", "relay", "-name", name, "-entry", o.url, "-secret", secret)
		relays[r.url] = r
		entry = append(entry, r.url)
		r.waitReady(t)
	}
	e := launch(t, "-roles", "edge", "-name", "e", "-entry", strings.Join(entry, ","), "-secret", secret)
	e.waitLinks(t, "r1", "r2") // a stream has a standby then
	code, _ := get(t, e.url+"/healthz")
	require.Equal(t, http.StatusOK, code)

	pub, err := cdntest.NewPublisher(ctx, cdntest.PublisherConfig{Dialer: &whip.Client{}, URL: o.url + "/whip/live"})
	require.NoError(t, err)
	defer pub.Kill()
	require.NoError(t, pub.WaitConnected(ctx))
	v, err := cdntest.NewViewer(ctx, cdntest.ViewerConfig{Dialer: &whep.Client{}, URL: e.url + "/whep/live"})
	require.NoError(t, err)
	defer v.Kill()
	require.NoError(t, v.WaitFrames(ctx, 30))
	used := e.upstream(t)
	require.Contains(t, relays, used)
	require.NoError(t, relays[used].Process.Kill())
	before := len(v.Report().Video().Frames)
	require.NoError(t, v.WaitFrames(ctx, before+90))
	require.NotEqual(t, used, e.upstream(t))
	select {
	case <-v.Done():
		t.Fatal("the viewer lost its session")
	default:
	}
	require.Zero(t, v.Report().Video().FaultCount, v.Report().Video().Faults)
}

// One that does not know the secret gets no link, and says why not.
func TestAnotherSecret(t *testing.T) {
	o := launch(t, "-roles", "origin", "-name", "o", "-secret", "one")
	e := launch(t, "-roles", "edge", "-name", "e", "-entry", o.url, "-secret", "another")
	time.Sleep(500 * time.Millisecond) // in which a link would have been made many times over
	code, body := get(t, e.url+"/readyz")
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.Contains(t, body, "-entry")
	_, err := cdntest.NewViewer(t.Context(), cdntest.ViewerConfig{Dialer: &whep.Client{}, URL: e.url + "/whep/live"})
	require.Error(t, err)
}

// unready watches a node for longer than it would need to become ready.
func (p *process) unready(t *testing.T) {
	for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		code, _ := get(t, p.url+"/readyz")
		require.NotEqual(t, http.StatusOK, code)
	}
}

// The page of each node tells what there is to be seen of its links, and what its
// peers are.
func TestStatus(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	o := launch(t, "-roles", "origin", "-name", "o")
	r := launch(t, "-roles", "relay", "-name", "r", "-entry", o.url)
	e := launch(t, "-roles", "edge", "-name", "e", "-entry", r.url+","+o.url)
	pub, err := cdntest.NewPublisher(ctx, cdntest.PublisherConfig{Dialer: &whip.Client{}, URL: o.url + "/whip/live"})
	require.NoError(t, err)
	defer pub.Kill()
	r.waitLinks(t, "o")
	e.waitLinks(t, "r", "o") // otherwise it begins with the one that it has
	v, err := cdntest.NewViewer(ctx, cdntest.ViewerConfig{Dialer: &whep.Client{}, URL: e.url + "/whep/live"})
	require.NoError(t, err)
	defer v.Kill()
	require.NoError(t, v.WaitFrames(ctx, 60))

	roles := func(p *process) map[string]web.Role {
		all := map[string]web.Role{}
		for _, peer := range p.page(t).Peers {
			all[peer.Name] = peer.Role
		}
		return all
	}
	for p, want := range map[*process]map[string]web.Role{
		o: {"r": web.Relay, "e": web.Edge}, r: {"o": web.Origin, "e": web.Edge}, e: {"o": web.Origin, "r": web.Relay},
	} {
		require.Eventually(t, func() bool { return maps.Equal(want, roles(p)) }, patience, 100*time.Millisecond, "%v", want)
	}
	var st web.Status
	require.Eventually(t, func() bool {
		st = e.page(t)
		return len(st.Fetches) == 1 && st.Fetches[0].Standby != "" && slices.ContainsFunc(st.Links, func(l web.Link) bool {
			return l.Peer == st.Fetches[0].Node && l.BitrateIn > 100_000 && l.RTTMillis > 0 && slices.Equal(l.Fetched, []string{"live"})
		})
	}, patience, 100*time.Millisecond, "%+v", &st)
	require.False(t, st.Node.Since.IsZero())
	// It is the relay, unless that seems to be more than 20 ms farther: on a busy machine it may.
	require.ElementsMatch(t, []string{"o", "r"}, []string{st.Fetches[0].Node, st.Fetches[0].Standby})
	require.Equal(t, map[string][]string{"r": {"o", "r"}, "o": {"o"}}[st.Fetches[0].Node], st.Streams[0].Path)
	require.Equal(t, 1, st.Sessions.Viewers)
}

func (p *process) page(t *testing.T) (st web.Status) {
	_, body := get(t, p.url+"/status.json")
	require.NoError(t, json.Unmarshal([]byte(body), &st))
	return st
}

// What a node says that its URL is goes into a page, and its headers, only if it
// is one.
func TestWhatCanBeAPage(t *testing.T) {
	for _, good := range []string{"http://192.0.2.1:8080", "https://a.example/x", "http://[::1]:80"} {
		require.True(t, isPage(good), good)
	}
	for _, bad := range []string{"", "javascript:alert(1)", "http://a;script-src/", "http://u@a", "http://a'b", "//a", "http:///x"} {
		require.False(t, isPage(bad), bad)
	}
}

// A relay whose entry is not there is not ready, though another node has a link
// with it. That one is: it reaches its own.
func TestReadyIsWhoReachesAnEntry(t *testing.T) {
	r := launch(t, "-roles", "relay", "-name", "r", "-entry", "http://127.0.0.1:9")
	e := launch(t, "-roles", "edge", "-name", "e", "-entry", r.url)
	e.waitReady(t)
	r.unready(t)
}

// A server that knows no links, but WHEP, is an entry like any other.
func TestReadyByAForeignServer(t *testing.T) {
	l, err := net.Listen("tcp", freeport.Addr(t)) // where nobody else listens once it is closed
	require.NoError(t, err)
	foreign := httptest.NewUnstartedServer(http.NotFoundHandler())
	require.NoError(t, foreign.Listener.Close())
	foreign.Listener = l
	foreign.Start()
	defer foreign.Close()
	e := launch(t, "-roles", "edge", "-name", "e", "-entry", foreign.URL)
	e.waitReady(t)
	foreign.Close()
	late := launch(t, "-roles", "edge", "-name", "late", "-entry", foreign.URL)
	late.unready(t)
}

// It ends when it is told to, with 0.
func TestTerminated(t *testing.T) {
	p := launch(t, "-roles", "origin,edge", "-name", "n")
	p.waitReady(t)
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	require.NoError(t, p.Wait())
}

func TestBadFlags(t *testing.T) {
	for want, args := range map[string][]string{
		"-roles: \"king\"":      {"-roles", "king"},
		"-roles: there is none": {"-roles", ","},
		"-entry: a relay":       {"-roles", "edge"},
		"-entry":                {"-roles", "edge", "-entry", "nowhere"},
		"-http":                 {"-http", "8080"},
		"-udp":                  {"-udp", "x"},
		"-public":               {"-public", "0.0.0.0"},
		"-name":                 {"-name", "a b"},
		"-drain: -1s":           {"-drain", "-1s"},
		"-proxy":                {"-proxy", "10.0.0.1,nginx"},
		"flag provided but":     {"-nothing"},
		"unexpected argument":   {"more"},
	} {
		out, err := exec.Command(binary, args...).CombinedOutput()
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit, want)
		require.Equal(t, exitUsage, exit.ExitCode(), want)
		require.Contains(t, string(out), want)
	}
}
