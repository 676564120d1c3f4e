package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/signal/turn"
	"github.com/deltacdn/delta/signal/whep"
)

// output keeps what a process writes.
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

// At SIGHUP what can be changed is changed, what cannot is named, and a file that is wrong
// changes nothing.
func TestReload(t *testing.T) {
	file := write(t, "node.yaml", "name: n\nlimits: {viewers: 1}\nlog_format: json\n")
	n := launch(t, "-config", file)
	ctx := within(t, time.Minute)
	n.publish(ctx, t)
	n.view(ctx, t)
	_, err := n.tryPlay(t, n.url+"/whep/live", "")
	require.ErrorIs(t, err, cdn.ErrOverLimit)
	change := func(text, said string) {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		require.NoError(t, n.Process.Signal(syscall.SIGHUP))
		require.Eventually(t, func() bool { return strings.Contains(n.log.String(), said) }, patience, 10*time.Millisecond, said)
	}
	change("name: other\nlimits: {viewers: 2}\nlog_format: json\nlog_level: info\ngroup: eu\n", `"msg":"the configuration was read again","changed":"log_level,limits.viewers"`)
	require.Contains(t, n.log.String(), `"keys":"name,group"`)
	n.view(ctx, t)
	_, err = n.tryPlay(t, n.url+"/whep/live", "")
	require.ErrorIs(t, err, cdn.ErrOverLimit)
	change("limits: {viewers: x}\nhtp: 1\n", `"level":"WARN","msg":"the configuration cannot be used, and the old one stays","err":"`)
	for line := range strings.Lines(n.log.String()) {
		require.True(t, json.Valid([]byte(line)), line)
	}
	_, err = n.tryPlay(t, n.url+"/whep/live", "")
	require.ErrorIs(t, err, cdn.ErrOverLimit)
}

func TestDemo(t *testing.T) {
	n := launch(t, "-name", "n", "-demo", "-auth-publish-token-file", write(t, "token", "0123456789abcdef"), "-auth-open", "play")
	ctx := within(t, time.Minute)
	require.Eventually(t, func() bool { return strings.Contains(n.status(t), `"demo"`) }, 20*time.Second, 50*time.Millisecond)
	v, err := cdntest.NewViewer(ctx, cdntest.ViewerConfig{Dialer: &whep.Client{}, URL: n.url + "/whep/demo"})
	require.NoError(t, err)
	defer v.Kill()
	require.Eventually(t, func() bool { return v.Report().Video().Packets > 100 }, 20*time.Second, 20*time.Millisecond)
}

func (p *process) status(t *testing.T) string {
	_, body := get(t, p.admin+"/status.json")
	return body
}

// Pages, signaling and links work over IPv6. Media goes by what the test's own client has
// addresses of, which may be IPv4 alone.
func TestIPv6(t *testing.T) {
	ctx := within(t, time.Minute)
	o := launch(t, "-name", "o", "-roles", "origin", "-http", "[::1]:0", "-udp", ":0", "-admin-http", "[::1]:0")
	require.True(t, strings.HasPrefix(o.url, "http://[::1]:"), o.url)
	require.True(t, strings.HasPrefix(o.admin, "http://[::1]:"), o.admin)
	e := launch(t, "-name", "e", "-roles", "edge", "-http", "[::1]:0", "-udp", ":0", "-entry", o.url)
	e.waitReady(t)
	only := launch(t, "-name", "only", "-roles", "edge", "-http", "[::1]:0", "-udp", "[::1]:0", "-entry", o.url)
	only.waitReady(t) // its link can be over IPv6 alone
	o.publish(ctx, t)
	e.view(ctx, t)
}

// Behind a trusted proxy a client is who the proxy says, and other proxies are not
// trusted.
func TestProxies(t *testing.T) {
	for proxies, want := range map[string]int{"127.0.0.0/8": http.StatusForbidden, "10.0.0.1": http.StatusBadRequest} {
		list := write(t, "access.json", `{"rules": [{"effect": "deny", "address": "192.0.2.0/24"}]}`)
		n := launch(t, "-name", "n", "-proxy", proxies, "-auth-access-file", list)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, n.url+"/whip/live", strings.NewReader("v=0\r\n"))
		require.NoError(t, err)
		r.Header.Set("Content-Type", "application/sdp")
		r.Header.Set("X-Forwarded-For", "192.0.2.7")
		resp, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		_ = resp.Body.Close()
		require.Equal(t, want, resp.StatusCode, proxies)
	}
}

// A client that is let in is told of the TURN server, with a password of its own that the
// server would take; anybody else hears of STUN alone.
func TestICEServers(t *testing.T) {
	const secret = "shared with coturn"
	n := launch(t, "-name", "n", "-ice-servers", "stun:stun.example,turn:turn.example:3478", "-ice-secret-file", write(t, "turn", secret), "-ice-ttl", "1h")
	ctx := within(t, time.Minute)
	n.publish(ctx, t)
	var h headers
	v, err := cdntest.NewViewer(ctx, cdntest.ViewerConfig{Dialer: &whep.Client{HTTP: &http.Client{Transport: &h}}, URL: n.url + "/whep/live"})
	require.NoError(t, err)
	defer v.Kill()
	links := strings.Join(h.links, "\n")
	require.Contains(t, links, `<stun:stun.example>; rel="ice-server"`)
	require.Contains(t, links, `<turn:turn.example:3478>; rel="ice-server"; username="`)
	_, rest, _ := strings.Cut(links, `username="`)
	username, rest, _ := strings.Cut(rest, `"`)
	_, rest, _ = strings.Cut(rest, `credential="`)
	password, _, _ := strings.Cut(rest, `"`)
	var expires int64
	require.NoError(t, json.Unmarshal([]byte(username[:strings.IndexByte(username, ':')]), &expires))
	require.InDelta(t, time.Now().Add(time.Hour).Unix(), expires, 60)
	_, want := turn.Credentials(secret, username[strings.IndexByte(username, ':')+1:], time.Unix(expires, 0))
	require.Equal(t, want, password)

	r, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, n.url+"/whep/live", nil)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	_ = resp.Body.Close()
	require.NotContains(t, strings.Join(resp.Header.Values("Link"), "\n"), "turn:")
}

// headers notes the Link headers of answers.
type headers struct{ links []string }

// RoundTrip implements http.RoundTripper.
func (h *headers) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err == nil {
		h.links = append(h.links, resp.Header.Values("Link")...)
	}
	return resp, err
}

// A second node on the machine does without the default port for operators, and says so.
func TestDefaultAdminPort(t *testing.T) {
	a := launch(t, "-name", "a", "-admin-http", "127.0.0.1:9080")
	b := run(t, "-http", "127.0.0.1:0", "-name", "b")
	require.NotEmpty(t, a.admin)
	require.Empty(t, b.admin)
	require.Eventually(t, func() bool { return strings.Contains(b.log.String(), "there is no listener for operators") }, patience, 10*time.Millisecond)
}

func TestCommandLines(t *testing.T) {
	for args, want := range map[string]struct {
		code int
		says string
	}{
		"-version":                      {0, "deltanode "},
		"-help":                         {0, "-limits-sessions number"},
		"-check -http 127.0.0.1:0":      {0, "At SIGTERM it leaves, and ends within 30s."},
		"-check -tls-cert a -tls-key b": {exitUsage, "error: -tls-cert: the certificate cannot be used: open a: no such file"},
		"-check -roles king":            {exitUsage, "is none of origin, relay, edge"},
		"-config /nowhere":              {exitUsage, "-config: open /nowhere"},
		"-tls-cert a -tls-key b -http 127.0.0.1:0": {exitFailed, "-tls-cert: stat a: no such file"},
		"-http 192.0.2.1:1":                        {exitFailed, "-http: listen tcp 192.0.2.1:1"},
		"-http 127.0.0.1:0 -admin-http 0.0.0.0:0":  {exitUsage, "set admin.token_file, or use a loopback address"},
		"token":          {exitUsage, "-streams is missing"},
		"sign-url -help": {0, "-keys-file"},
	} {
		cmd := exec.CommandContext(t.Context(), binary, strings.Fields(args)...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			require.IsType(t, &exec.ExitError{}, err)
		}
		require.Equal(t, want.code, cmd.ProcessState.ExitCode(), "%s: %s", args, out)
		require.Contains(t, string(out), want.says, args)
	}
}
