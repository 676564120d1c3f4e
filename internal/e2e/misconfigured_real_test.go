package delta_test

import (
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/freeport"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/relay"
	signallink "github.com/deltacdn/delta/signal/link"
	"github.com/deltacdn/delta/signal/whep"
)

// realOrigin starts a node on real sockets that serves others, and returns its handler.
func realOrigin(t *testing.T, c cdn.Config) http.Handler {
	t.Helper()
	c.Addr, c.Trust.Secret = "127.0.0.1:0", "s"
	node, err := cdn.Listen(c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, node.Close()) })
	live, err := origin.New(node, origin.Config{})
	require.NoError(t, err)
	h, err := relay.Handler(node, live)
	require.NoError(t, err)
	return h
}

func quiet(s *httptest.Server) *httptest.Server {
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	return s
}

// The errors of real sockets, of this system's resolver and of TLS are read as those of
// the virtual network are: one line each, within seconds.
func TestMisconfigurationsOnRealSockets(t *testing.T) {
	needLinks(t)
	if testing.Short() {
		t.Skip("waits for real timeouts")
	}
	t.Parallel()
	nodes := realOrigin(t, cdn.Config{})
	plain := httptest.NewServer(nodes)
	defer plain.Close()
	secure := quiet(httptest.NewUnstartedServer(nodes))
	secure.StartTLS()
	defer secure.Close()
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	moved := httptest.NewServer(http.RedirectHandler("https://o.test/link/", http.StatusFound))
	defer moved.Close()
	unreached := httptest.NewServer(realOrigin(t, cdn.Config{PublicIPs: []netip.Addr{netip.MustParseAddr("203.0.113.1")}}))
	defer unreached.Close()
	mute, err := net.Listen("tcp", "127.0.0.1:0") // the system accepts, and nobody answers
	require.NoError(t, err)
	defer mute.Close()
	ssh, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ssh.Close()
	go func() {
		for {
			conn, err := ssh.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "SSH-2.0-OpenSSH_9.2\r\n")
			_ = conn.Close()
		}
	}()
	_, port, _ := net.SplitHostPort(secure.Listener.Addr().String())

	cases := map[string]*struct {
		entry, secret string
		client        *http.Client
		log           logBook
	}{
		"wrong-secret":             {entry: plain.URL, secret: "another"},
		"name-not-found|dns-fails": {entry: "http://nobody.invalid"},
		"connection-refused":       {entry: "http://" + freeport.Addr(t)}, // where nobody comes to listen
		"no-answer":                {entry: "http://" + mute.Addr().String()},
		"not-http":                 {entry: "http://" + ssh.Addr().String()},
		"not-a-node":               {entry: web.URL},
		"redirected":               {entry: moved.URL},
		"http-port":                {entry: strings.Replace(plain.URL, "http:", "https:", 1)},
		"https-port":               {entry: strings.Replace(secure.URL, "https:", "http:", 1)},
		"certificate-untrusted":    {entry: secure.URL},
		"certificate-wrong-name":   {entry: "https://localhost:" + port, client: secure.Client()},
		"udp-blocked":              {entry: unreached.URL},
	}
	for _, c := range cases {
		if c.secret == "" {
			c.secret = "s"
		}
		node, err := cdn.Listen(cdn.Config{Addr: "127.0.0.1:0", Trust: cdn.Trust{Secret: c.secret}, Logger: c.log.logger()})
		require.NoError(t, err)
		defer node.Close()
		f, err := relay.NewLink(node, relay.LinkConfig{
			Dialer:   &signallink.Client{HTTP: c.client},
			Fallback: relay.NewWHEP(node, relay.WHEPConfig{Dialer: &whep.Client{HTTP: c.client}}),
		})
		require.NoError(t, err)
		_, err = relay.New(node, relay.Config{Directory: cdn.Static(c.entry), Fetcher: f})
		require.NoError(t, err)
	}
	for cause, c := range cases {
		assert.Eventually(t, func() bool { return len(c.log.having("level=WARN", "cause=")) > 0 }, 20*time.Second, 50*time.Millisecond, cause)
		lines := c.log.having("level=WARN")
		if assert.Len(t, lines, 1, cause) {
			assert.Regexp(t, regexp.MustCompile(`cause=(`+cause+`) do=.* err=`), lines[0])
		}
	}
}
