package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/internal/freeport"
	"github.com/deltacdn/delta/signal/whep"
)

// network starts an origin and two edges that are told how to find each other, and plays
// at both edges.
func network(t *testing.T, of func(name string) []string) (o, e1, e2 *process) {
	ctx := within(t, time.Minute)
	secret := write(t, "secret", "known to these alone")
	start := func(name, roles string) *process {
		return launch(t, append(of(name), "-name", name, "-roles", roles, "-secret-file", secret, "-drain", "20s")...)
	}
	o, e1, e2 = start("o", "origin"), start("e1", "edge"), start("e2", "edge")
	e1.waitReady(t)
	e2.waitReady(t)
	o.publish(ctx, t)
	for _, e := range []*process{e1, e2} {
		require.Eventually(t, func() bool {
			v, err := e.tryPlay(t, e.url+"/whep/live", "")
			return err == nil && v.WaitFrames(ctx, 10) == nil
		}, 30*time.Second, 200*time.Millisecond)
	}
	return o, e1, e2
}

// asked notes which hosts were asked.
type asked struct{ hosts []string }

// RoundTrip implements http.RoundTripper.
func (a *asked) RoundTrip(r *http.Request) (*http.Response, error) {
	a.hosts = append(a.hosts, "http://"+r.URL.Host)
	return http.DefaultTransport.RoundTrip(r)
}

// leads requires that a node which leaves sends viewers who come to another edge.
func (p *process) leads(t *testing.T, to *process) {
	ctx := within(t, 20*time.Second)
	require.Eventually(t, func() bool { return strings.Contains(p.policy(t), to.url) }, patience, 50*time.Millisecond, "a page there may ask the other one")
	p.terminate(t)
	var a asked
	v, err := cdntest.NewViewer(ctx, cdntest.ViewerConfig{Dialer: &whep.Client{HTTP: &http.Client{Transport: &a}}, URL: p.url + "/whep/live"})
	require.NoError(t, err)
	t.Cleanup(v.Kill)
	require.Equal(t, []string{p.url, to.url}, a.hosts)
	require.NoError(t, v.WaitFrames(ctx, 10))
}

// policy is which servers the pages of a node may ask.
func (p *process) policy(t *testing.T) string {
	resp, err := http.Get(p.url + "/play?stream=live")
	require.NoError(t, err)
	_ = resp.Body.Close()
	return resp.Header.Get("Content-Security-Policy")
}

func TestEmbedded(t *testing.T) {
	seed := fmt.Sprintf("127.0.0.1:%d", freeport.Port(t))
	_, e1, e2 := network(t, func(name string) []string {
		args := []string{"-directory", "embedded", "-embedded-password-file", write(t, "password", "0123456789abcdef")}
		if name == "o" {
			return append(args, "-embedded-listen", seed)
		}
		return append(args, "-embedded-listen", "127.0.0.1:0", "-embedded-seeds", seed)
	})
	e1.leads(t, e2)
}

func TestNATS(t *testing.T) {
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, Username: "u", Password: "p", NoSigs: true})
	require.NoError(t, err)
	s.Start()
	defer s.Shutdown()
	require.True(t, s.ReadyForConnections(10*time.Second))
	_, e1, e2 := network(t, func(string) []string {
		return []string{"-directory", "nats", "-nats-servers", s.ClientURL(), "-nats-user", "u", "-nats-password-file", write(t, "password", "p\n")}
	})
	e1.leads(t, e2)
}

func TestRedis(t *testing.T) {
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv("DELTA_REQUIRE_REDIS") == "" {
			t.Skip("skipped: there is no redis-server")
		}
		t.Fatal(err)
	}
	port := freeport.Port(t)
	cmd := exec.Command(binary, "--port", fmt.Sprint(port), "--bind", "127.0.0.1", "--save", "", "--requirepass", "p", "--dir", t.TempDir())
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	_, e1, e2 := network(t, func(string) []string {
		return []string{"-directory", "redis", "-redis-servers", fmt.Sprintf("127.0.0.1:%d", port), "-redis-password-file", write(t, "password", "p\n")}
	})
	e1.leads(t, e2)
}

// Of a name that stands for nodes, the node looks the addresses up.
func TestDNS(t *testing.T) {
	var entry string
	network(t, func(name string) []string {
		if name == "o" {
			port := freeport.Port(t)
			entry = fmt.Sprintf("http://localhost:%d", port)
			return []string{"-http", fmt.Sprintf("127.0.0.1:%d", port)}
		}
		return []string{"-directory", "dns", "-entry", entry}
	})
}
