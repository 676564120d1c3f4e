package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/internal/demo/web"
	"github.com/deltacdn/delta/internal/freeport"
	"github.com/deltacdn/delta/internal/testmain"
	"github.com/deltacdn/delta/signal/whep"
)

func TestMain(m *testing.M) { testmain.Run(m) }

const patience = 20 * time.Second // bounds every wait

// output is what the program prints, while it runs.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// start3 runs the program on free ports, and returns its nodes' URLs by name.
func start3(t *testing.T, args ...string) map[string]string {
	for _, name := range []string{"-origin", "-edge1", "-edge2", "-relay-addr", "-relay2-addr"} {
		args = append(args, name, freeport.Addr(t)) // so that nobody else has it while a node is killed
	}
	ctx, cancel := context.WithCancel(context.Background())
	out, done := &output{}, make(chan error, 1)
	go func() { done <- run(ctx, args, out, io.Discard) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done, "an interrupt is no failure")
	})
	urls := map[string]string{}
	require.Eventually(t, func() bool { return strings.Contains(out.String(), "Ctrl-C") }, patience, 10*time.Millisecond)
	for _, m := range regexp.MustCompile(`(?m)^  (\w+) +(http\S+)/$`).FindAllStringSubmatch(out.String(), -1) {
		urls[m[1]] = m[2]
	}
	return urls
}

func get(t *testing.T, url string) (int, string) {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(body)
}

func status(t *testing.T, node string) (s web.Status) {
	_, body := get(t, node+"/status.json")
	require.NoError(t, json.Unmarshal([]byte(body), &s))
	return s
}

// waitLive waits until the clip is at a node.
func waitLive(t *testing.T, node string) {
	require.Eventually(t, func() bool {
		s := status(t, node)
		return len(s.Streams) == 1 && s.Streams[0].State == "live"
	}, patience, 50*time.Millisecond)
}

// waitLinks waits until a node has links with those of these names.
func waitLinks(t *testing.T, node string, names ...string) {
	require.Eventually(t, func() bool {
		links := status(t, node).Links
		return !slices.ContainsFunc(names, func(name string) bool {
			return !slices.ContainsFunc(links, func(l web.Link) bool { return l.Peer == name && !l.Up.IsZero() })
		})
	}, patience, 50*time.Millisecond, "%v", names)
}

func TestBadInvocations(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer busy.Close()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	defer udp.Close()
	for want, args := range map[string][]string{
		"not defined: -nope":                {"-nope"},
		`unexpected argument "hello"`:       {"hello"},
		"-tls-cert and -tls-key":            {"-tls-cert", "x"},
		`-public: "here" is no IP address`:  {"-public", "here"},
		`-origin: "8080" is no HOST:PORT`:   {"-origin", "8080"},
		"-relay-addr: \"x\"":                {"-origin", "127.0.0.1:0", "-relay", "-relay-addr", "x"},
		"-edge2: listen tcp: address 99999": {"-origin", "127.0.0.1:0", "-edge1", "127.0.0.1:0", "-edge2", "127.0.0.1:99999"},
		"-tls-key go together":              {"-tls-key", "x"},
		"choose another with -edge1":        {"-origin", "127.0.0.1:0", "-edge1", busy.Addr().String()},
		"choose another with -origin":       {"-origin", udp.LocalAddr().String()},
		"no such file":                      {"-tls-cert", "/nowhere/c", "-tls-key", "/nowhere/k"},
	} {
		err := run(context.Background(), args, io.Discard, io.Discard)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "\n", "one line")
	}
}

func TestHelpIsNoFailure(t *testing.T) {
	var out output
	require.ErrorContains(t, run(context.Background(), []string{"-h"}, &out, io.Discard), "help")
	for _, name := range []string{"-origin", "-edge1", "-edge2", "-relay-addr", "-relay2-addr", "-relay", "-demo", "-kills", "-public", "-tls-cert", "-tls-key"} {
		require.Contains(t, out.String(), name)
	}
}

// The clip reaches viewers of both edges, through a relay and without.
func TestDemoIsPlayed(t *testing.T) {
	for name, args := range map[string][]string{"direct": nil, "relay": {"-relay"}} {
		t.Run(name, func(t *testing.T) {
			urls := start3(t, args...)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			waitLive(t, urls["origin"])
			for i, edge := range []string{"edge1", "edge2"} {
				upstreams := []string{"origin"}
				if args != nil {
					upstreams = []string{"relay1", "relay2"}
				}
				waitLinks(t, urls[edge], upstreams...) // otherwise it begins with one that it has
				v := cdntest.View(t, cdntest.ViewerConfig{Dialer: &whep.Client{}, URL: urls[edge] + "/whep/demo"})
				require.NoError(t, v.WaitConnected(ctx))
				// The clip is none of cdntest's: its packets are all that counts.
				require.Eventually(t, func() bool { return v.Report().Video().Packets > 20 && v.Report().Audio().Packets > 20 }, patience, 50*time.Millisecond)
				from, standby := "origin", ""
				if args != nil {
					from, standby = []string{"relay1", "relay2"}[i], []string{"relay2", "relay1"}[i]
				}
				var s web.Status // which may be half a second old; the standby is connected after the first one
				require.Eventually(t, func() bool {
					s = status(t, urls[edge])
					return len(s.Streams) == 1 && s.Streams[0].Viewers == 1 && len(s.Streams[0].Path) > 0 && len(s.Fetches) == 1 &&
						s.Fetches[0].Node != "" && (s.Fetches[0].Standby == standby || s.Fetches[0].Changes > 0)
				}, patience, 50*time.Millisecond, "%+v", &s)
				if s.Fetches[0].Changes == 0 { // a busy machine may have lost a link
					require.Equal(t, from, s.Fetches[0].Node)
				}
				from = s.Fetches[0].Node
				require.Equal(t, urls[from], s.Fetches[0].URL)
				require.Equal(t, "from "+from, s.Streams[0].Source)
				require.Equal(t, "origin", s.Streams[0].Path[0])
				require.Eventually(t, func() bool {
					return slices.ContainsFunc(status(t, urls[edge]).Links, func(l web.Link) bool {
						return l.Peer == from && l.RTTMillis > 0 && l.BitrateIn > 0 && slices.Equal(l.Fetched, []string{"demo"})
					})
				}, patience, 50*time.Millisecond)
				require.False(t, s.CanPublish)
			}
			require.Positive(t, status(t, urls["origin"]).Sessions.Links)
		})
	}
}

// Nodes that call each other by an address that is no loopback address know each
// other all the same.
func TestPublicAddress(t *testing.T) {
	addrs, err := net.InterfaceAddrs()
	require.NoError(t, err)
	i := slices.IndexFunc(addrs, func(a net.Addr) bool {
		n, ok := a.(*net.IPNet)
		return ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast()
	})
	if i < 0 {
		t.Skip("this machine has loopback addresses only")
	}
	urls := start3(t, "-public", addrs[i].(*net.IPNet).IP.String())
	waitLive(t, urls["origin"])
	watch(t, urls["edge1"])()
	require.Equal(t, http.StatusForbidden, press(t, urls["origin"], "kill", "edge1"), "without -kills, not from a loopback address")
}

func TestPagesAndPathsOfEachNode(t *testing.T) {
	urls := start3(t, "-relay", "-demo=false")
	require.Len(t, urls, 5)
	for name, url := range urls {
		for _, path := range []string{"/", "/play?stream=demo", "/publish?stream=demo", "/assets/style.css", "/status.json"} {
			code, _ := get(t, url+path)
			require.Equal(t, http.StatusOK, code, "%s%s", name, path)
		}
		for path, serves := range map[string]bool{"/whip/demo": name == "origin", "/whep/demo": !strings.HasPrefix(name, "relay")} {
			code, _ := get(t, url+path)
			if serves {
				require.Equal(t, 2, code/100, "%s%s", name, path)
			} else {
				require.Contains(t, []int{http.StatusNotFound, http.StatusMethodNotAllowed}, code, "%s%s", name, path)
			}
			resp, err := http.Post(url+path, "application/sdp", strings.NewReader("v=0"))
			require.NoError(t, err)
			_ = resp.Body.Close()
			require.GreaterOrEqual(t, resp.StatusCode, 400)
			require.Less(t, resp.StatusCode, 500)
		}
	}
}

func TestNothingIsLeft(t *testing.T) {
	leavesNothing(t, func(t *testing.T) {
		urls := start3(t)
		require.Eventually(t, func() bool { return len(status(t, urls["origin"]).Streams) == 1 }, patience, 50*time.Millisecond)
	})
}

// leavesNothing runs a test, after which no goroutine may be left.
func leavesNothing(t *testing.T, f func(*testing.T)) {
	http.DefaultClient.CloseIdleConnections()
	before := runtime.NumGoroutine()
	t.Run("run", f)
	http.DefaultClient.CloseIdleConnections()
	stacks := make([]byte, 1<<20)
	for deadline := time.Now().Add(patience); runtime.NumGoroutine() > before; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines before; now:\n%s", before, stacks[:runtime.Stack(stacks, true)])
		}
	}
}
