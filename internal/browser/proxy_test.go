package browser

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// client is the address that the proxy of these tests forwards as every client's.
const client = "203.0.113.7"

// startTLSProxy serves what is at target over HTTPS, as a reverse proxy on the same machine
// does, and returns its URL and the pin of its key (the browser's flag for trusting it).
func startTLSProxy(t *testing.T, target string) (proxy, pin string) {
	to, err := url.Parse(target)
	require.NoError(t, err)
	s := httptest.NewUnstartedServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Host = r.In.Host
		r.Out.Header.Set("X-Forwarded-For", client)
		r.Out.Header.Set("X-Forwarded-Proto", "https")
	}})
	s.EnableHTTP2 = true // as browsers speak to real ones
	s.StartTLS()
	t.Cleanup(s.Close)
	key := sha256.Sum256(s.Certificate().RawSubjectPublicKeyInfo)
	return s.URL, base64.StdEncoding.EncodeToString(key[:])
}

// startDeltanode runs deltanode with a configuration until t ends, and waits until it is
// ready.
func startDeltanode(t *testing.T, ready, config string) {
	file := filepath.Join(t.TempDir(), "deltanode.yaml")
	require.NoError(t, os.WriteFile(file, []byte(config), 0o600))
	log := &safeBuffer{}
	cmd := exec.Command(buildDeltanode(t), "-config", file)
	cmd.Stdout, cmd.Stderr = log, log
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
		require.NoError(t, cmd.Wait(), "%s", log)
	})
	require.Eventually(t, func() bool {
		resp, err := http.Get(ready)
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	}, patience, 20*time.Millisecond, "%s", log)
}

// insecure are the URLs of a page's requests that did not go through the proxy.
const insecure = `performance.getEntriesByType("resource").map((r) => r.name).filter((name) => !name.startsWith(location.origin + "/"))`

// A node behind a proxy that ends TLS (url, proxies) is operated and watched through it:
// the console shows the network to its operator, the play page plays for a token, no
// request goes around the proxy, and the node knows the client's address. The console on
// the operators' address leads to the proxy as well.
func TestBehindATLSProxy(t *testing.T) {
	chromium(t)
	addrs := freePorts(t, []string{"127.0.0.1", "127.0.0.1"})
	node, admin := "http://"+addrs[0], "http://"+addrs[1]
	proxy, pin := startTLSProxy(t, node)
	const operator, viewer = "operator-0123456789", "viewer-0123456789"
	startDeltanode(t, node+"/readyz", fmt.Sprintf(`
name: o1
roles: [origin, edge]
http: %s
url: %s
proxies: [127.0.0.1]
udp: 127.0.0.1:0
public: [127.0.0.1]
demo: true
secret: nodes-0123456789
auth:
  publish_token: publisher-0123456789
  play_token: %s
admin:
  http: %s
  token: %s
drain: 0s
`, addrs[0], proxy, viewer, addrs[1], operator))
	b := newBrowserWith(t, map[string]any{"ignore-certificate-errors-spki-list": pin})
	b.errors.allow(refused) // the play page is opened without a token at first

	console := b.open(proxy + "/#token=" + operator)
	console.waitState("live")
	console.wait(`document.querySelectorAll(".stream[data-stream=demo]").length === 1 && delta.knowledge.complete`)
	require.Equal(t, "o1", eval[string](console, `document.getElementById("title").innerText`))
	require.Equal(t, proxy+"/play?stream=demo", eval[string](console, `document.querySelector(".stream .play a").href`))

	player := b.open(proxy + "/play?stream=demo")
	player.waitState("refused")
	player.wait(`!document.getElementById("token-card").hidden`)
	eval[any](player, `(() => { document.getElementById("token").value = "`+viewer+`"; })()`)
	player.click("#token-play")
	requireMoving(t, player)
	require.True(t, eval[bool](player, `delta.location.startsWith(location.origin + "/whep/demo/")`), "the session is behind the proxy")
	player.wait(`performance.getEntriesByType("resource").some((r) => /\/-\/\w+\/events/.test(r.name))`) // event streams pass
	console.wait(`document.getElementById("viewers").innerText === "1"`)
	for _, p := range []*page{console, player} {
		require.Empty(t, eval[[]string](p, insecure), "it went around the proxy")
		require.True(t, eval[bool](p, `isSecureContext`))
	}
	require.Contains(t, sessions(t, admin, operator), `"`+client, "the node knows the client's address")

	operators := b.open(admin + "/#token=" + operator)
	operators.wait(`delta.knowledge?.complete && document.querySelectorAll(".stream[data-stream=demo]").length === 1`)
	require.Equal(t, proxy+"/play?stream=demo", eval[string](operators, `document.querySelector(".stream .play a").href`))
	player.click("#stop")
	console.wait(`document.getElementById("viewers").innerText === "0"`)
}

// sessions returns the sessions of viewers that a node's admin API lists.
func sessions(t *testing.T, admin, token string) string {
	req, err := http.NewRequest(http.MethodGet, admin+"/api/v1/sessions?action=play", http.NoBody)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, resp.StatusCode, "%s", body)
	return strings.TrimSpace(string(body))
}
