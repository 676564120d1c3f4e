package delta_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/relay"
	"github.com/deltacdn/delta/signal/whep"
)

// A misconfigured network has an origin, in order, and an edge that is not.
type misconfigured struct {
	*world
	web    *webOfPipes
	ca     *authority
	o, e   *node
	client *http.Client
	secret string // of the edge
	entry  string // of the edge
	log    logBook

	warnings int // of the edge's log that are about something else
}

// lines returns how many lines of the edge's log have all of the texts.
func (b *logBook) having(texts ...string) (lines []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for line := range strings.SplitSeq(b.all.String(), "\n") {
		has := line != ""
		for _, text := range texts {
			has = has && strings.Contains(line, text)
		}
		if has {
			lines = append(lines, line)
		}
	}
	return lines
}

func (b *logBook) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{Level: slog.LevelInfo}))
}

const (
	originHTTP  = "o.test:80"
	originHTTPS = "o.test:443"
)

// misconfigurations are what is done to a network, and the cause that the edge's log names.
var misconfigurations = []struct {
	cause string
	name  string // of those that have the cause in common
	do    func(m *misconfigured)
	mend  func(m *misconfigured) // nil: what is wrong cannot be mended while the edge runs
}{
	{cause: "wrong-secret", do: func(m *misconfigured) { m.secret = "another" }},
	{cause: "wrong-secret", name: "none", do: func(m *misconfigured) { m.secret, m.warnings = "", 1 }}, // it says that it has none
	{
		cause: "clocks-differ", do: func(m *misconfigured) { m.client.Transport = slowClock{m.client.Transport, 5 * time.Minute, m.secret} },
	},
	{
		cause: "name-not-found", do: func(m *misconfigured) { m.web.set(func() { delete(m.web.at, originHTTP) }) },
		mend: func(m *misconfigured) { m.web.serve(originHTTP, m.nodesOverHTTP(m.o), nil) },
	},
	{
		cause: "dns-fails",
		do: func(m *misconfigured) {
			m.web.set(func() {
				m.web.fails[originHTTP] = &net.DNSError{Err: "server misbehaving", Name: "o.test", IsTemporary: true}
			})
		},
		mend: func(m *misconfigured) { m.web.set(func() { delete(m.web.fails, originHTTP) }) },
	},
	{
		cause: "connection-refused", do: func(m *misconfigured) { m.entry = "http://10.9.9.9:8080" },
		mend: func(m *misconfigured) { m.web.serve("10.9.9.9:8080", m.nodesOverHTTP(m.o), nil) },
	},
	{
		cause: "unreachable", do: func(m *misconfigured) { m.web.set(func() { m.web.fails[originHTTP] = syscall.EHOSTUNREACH }) },
		mend: func(m *misconfigured) { m.web.set(func() { delete(m.web.fails, originHTTP) }) },
	},
	{
		cause: "no-answer", do: func(m *misconfigured) { m.web.set(func() { m.web.mute[originHTTP] = true }) },
		mend: func(m *misconfigured) { m.web.set(func() { delete(m.web.mute, originHTTP) }) },
	},
	{cause: "not-http", name: "SSH", do: func(m *misconfigured) { m.answerRaw("10.9.9.9:22", "SSH-2.0-OpenSSH_9.2\r\n") }},
	{cause: "not-http", name: "hangs up", do: func(m *misconfigured) { m.answerRaw("10.9.9.9:9", "") }},
	{cause: "not-a-node", name: "web server", do: func(m *misconfigured) { m.answer("10.9.9.9:80", http.StatusNotFound, "<html>") }},
	{cause: "not-a-node", name: "page for everything", do: func(m *misconfigured) { m.answer("10.9.9.9:80", http.StatusOK, "<html>") }},
	{cause: "not-a-node", name: "asks for a password", do: func(m *misconfigured) { m.answer("10.9.9.9:80", http.StatusUnauthorized, "<html>") }},
	{cause: "not-a-node", name: "an edge", do: func(m *misconfigured) {
		m.entry = "http://10.9.9.9"
		m.web.serve("10.9.9.9:80", http.NewServeMux(), nil)
	}},
	{cause: "proxy-fails", do: func(m *misconfigured) { m.answer("10.9.9.9:80", http.StatusBadGateway, "<html>") }},
	{cause: "redirected", do: func(m *misconfigured) {
		m.entry = "http://10.9.9.9"
		m.web.serve("10.9.9.9:80", http.RedirectHandler("https://o.test/link/", http.StatusMovedPermanently), nil)
	}},
	{cause: "redirected", name: "for ever", do: func(m *misconfigured) {
		m.entry = "http://10.9.9.9"
		m.web.serve("10.9.9.9:80", http.RedirectHandler("http://10.9.9.9/link/", http.StatusPermanentRedirect), nil)
	}},
	{cause: "bad-entry", do: func(m *misconfigured) { m.entry = "htpp://o.test" }},
	{cause: "http-port", do: func(m *misconfigured) { m.entry = "https://o.test:80" }},
	{cause: "https-port", do: func(m *misconfigured) {
		m.entry = "http://o.test:443"
		m.web.serve(originHTTPS, m.nodesOverHTTP(m.o), m.ca.sign("o.test", -time.Hour, time.Hour))
	}},
	{cause: "certificate-untrusted", do: func(m *misconfigured) { m.secure(newAuthority(m.t).sign("o.test", -time.Hour, time.Hour)) }},
	{cause: "certificate-expired", do: func(m *misconfigured) { m.secure(m.ca.sign("o.test", -time.Hour, -time.Minute)) }},
	{cause: "certificate-expired", name: "not yet valid", do: func(m *misconfigured) { m.secure(m.ca.sign("o.test", time.Hour, 2*time.Hour)) }},
	{cause: "certificate-wrong-name", do: func(m *misconfigured) { m.secure(m.ca.sign("other.test", -time.Hour, time.Hour)) }},
	{
		cause: "udp-blocked", do: func(m *misconfigured) { m.network.Between(m.o.host, m.e.host, cdntest.Path{Loss: 1}) },
		mend: func(m *misconfigured) { m.network.Between(m.o.host, m.e.host, cdntest.Path{Delay: ms(5)}) },
	},
	{cause: "entry-is-itself", do: func(m *misconfigured) { m.entry = "http://e.test" }},
}

// answer makes an HTTP server of somebody else's the edge's entry.
func (m *misconfigured) answer(addr string, status int, body string) {
	m.entry = "http://" + addr
	m.web.serve(addr, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}), nil)
}

// answerRaw makes a server of another protocol the edge's entry.
func (m *misconfigured) answerRaw(addr, says string) {
	m.entry = "http://" + addr
	l := m.web.listen(addr)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.SetDeadline(time.Now().Add(time.Second))
			_, _ = conn.Read(make([]byte, 1))
			_, _ = io.WriteString(conn, says)
			_ = conn.Close()
		}
	}()
	m.t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
}

// secure has the origin serve nodes over TLS.
func (m *misconfigured) secure(cert *tls.Certificate) {
	m.entry = "https://o.test"
	m.web.serve(originHTTPS, m.nodesOverHTTP(m.o), cert)
}

// slowClock is the HTTP client of a node whose clock is behind by that much.
type slowClock struct {
	http.RoundTripper
	behind time.Duration
	secret string
}

func (c slowClock) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	var envelope struct {
		Link  json.RawMessage `json:"link"`
		Proof []byte          `json:"proof"`
	}
	var description map[string]any
	if json.Unmarshal(body, &envelope) == nil && json.Unmarshal(envelope.Link, &description) == nil {
		description["made"] = time.Now().Add(-c.behind).Unix()
		envelope.Link, _ = json.Marshal(description)
		mac := hmac.New(sha256.New, []byte(c.secret))
		mac.Write([]byte("delta link\x00"))
		mac.Write(binary.BigEndian.AppendUint32(nil, 0))
		mac.Write(envelope.Link)
		envelope.Proof = mac.Sum(nil)
		body, _ = json.Marshal(envelope)
	}
	r = r.Clone(r.Context())
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	resp, err := c.RoundTripper.RoundTrip(r)
	if err == nil { // who is behind sees others ahead
		resp.Header.Set("Date", time.Now().Add(c.behind).UTC().Format(http.TimeFormat))
	}
	return resp, err
}

// Each misconfiguration is one line that names it, at once, then seldom; a viewer reads
// that the stream cannot be fetched; and when it is mended, one line says so.
func TestMisconfigurations(t *testing.T) {
	if peerConnections {
		t.Skip("is about links")
	}
	for _, c := range misconfigurations {
		t.Run(strings.TrimSuffix(c.cause+"/"+c.name, "/"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &misconfigured{world: newWorld(t), web: newWebOfPipes(t), ca: newAuthority(t), secret: "the right one", entry: "http://o.test"}
				path := cdntest.Path{Delay: ms(5)}
				m.o = m.origin("o", path, origin.Config{}, func(c *cdn.Config) { c.Trust.Secret = "the right one" })
				m.web.serve(originHTTP, m.nodesOverHTTP(m.o), nil)
				m.client = m.web.client(m.ca)
				host := m.network.Host("e", path) // whose paths may be changed ahead of the node
				m.e = &node{host: host}
				c.do(m)
				ready, own := make(chan struct{}), http.NewServeMux()
				m.web.serve("e.test:80", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					<-ready
					own.ServeHTTP(w, r)
				}), nil)
				m.e = m.node("e", path, func(c *cdn.Config) { c.Trust.Secret, c.Logger = m.secret, m.log.logger() })
				var err error
				m.e.relay, err = relay.New(m.e.Node, relay.Config{Directory: cdn.Static(m.entry), Fetcher: m.overHTTP(m.e, m.client)})
				require.NoError(t, err)
				m.serveNodes(m.e, m.e.relay)
				own.Handle("/", m.nodesOverHTTP(m.e))
				close(ready)
				m.serveViewers(m.e, m.e.relay, edge.Config{})

				time.Sleep(6 * time.Second)
				require.Len(t, m.log.having("level=WARN"), m.warnings+1)
				require.Len(t, m.log.having("level=WARN", "cause="+c.cause, "do=", "url="+m.entry, "err="), 1, "%s", m.log.having("level=WARN"))
				err = m.refusal(m.e, "live")
				require.Equal(t, "upstream", cdn.ErrorCode(err), "%v", err)

				time.Sleep(10 * time.Minute)
				require.Equal(t, "upstream", cdn.ErrorCode(m.refusal(m.e, "live")))
				require.Len(t, m.log.having("level=WARN"), m.warnings+2, "%s", m.log.having("level=WARN"))
				require.Len(t, m.log.having("cause="+c.cause), 2)
				require.LessOrEqual(t, len(m.log.having("level=INFO")), 2, "an attempt that failed is no line of its own: %s", m.log.having("level=INFO"))
				if c.mend == nil {
					return
				}
				c.mend(m)
				time.Sleep(15 * time.Second)
				require.Len(t, m.log.having("level=INFO", "a trouble with another node is over"), 1)
				p := m.publish(m.o, "live", path, cdntest.PublisherConfig{})
				require.NoError(t, p.WaitConnected(m.within(5*time.Second)))
				v := m.view(m.e, "live", "viewer", path, cdntest.ViewerConfig{})
				require.NoError(t, v.WaitFrames(m.within(5*time.Second), 30))
				require.Len(t, m.log.having("level=WARN"), m.warnings+2)
			})
		})
	}
}

// Nodes whose entries lead in a circle say so where somebody asks. A detour in a network
// whose entries lead out of it, too, is none.
func TestEntriesInACircle(t *testing.T) {
	for name, leadsOut := range someIn(map[string]bool{"a circle": false, "a way out": true}) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				path := cdntest.Path{Delay: ms(5)}
				var log logBook
				logged := func(c *cdn.Config) { c.Logger = log.logger() }
				trusted := func(c *cdn.Config) { c.Trust.Secret = "s" }
				o := w.origin("o", path, origin.Config{}, trusted)
				a, b, c := w.node("a", path, logged, trusted), w.node("b", path, logged, trusted), w.node("c", path, logged, trusted)
				if leadsOut {
					w.fetch(a, b, o)
				} else {
					w.fetch(a, b)
				}
				w.fetch(b, c)
				w.fetch(c, a)
				for _, n := range []*node{a, b, c} {
					w.serveNodes(n, n.relay)
					w.serveViewers(n, n.relay, edge.Config{})
				}
				for range 10 {
					want := "upstream"
					if leadsOut {
						want = "not-found"
					}
					require.Equal(t, want, cdn.ErrorCode(w.refusal(a, "live")))
					require.Equal(t, want, cdn.ErrorCode(w.refusal(c, "live")))
					time.Sleep(time.Minute)
				}
				warnings := log.having("level=WARN")
				if leadsOut {
					require.Empty(t, warnings)
					return
				}
				require.Len(t, log.having("cause=entries-in-a-circle", "node=a"), 2, "%s", warnings)
				require.LessOrEqual(t, len(warnings), 4, "%s", warnings)
			})
		})
	}
}

// A proxy that was not declared is warned of once, and then seldom, by its address.
func TestUndeclaredProxy(t *testing.T) {
	skipPeerConnections(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		o := w.origin("o", cdntest.Path{}, origin.Config{})
		var log logBook
		h, err := whep.New(o.edge, whep.Config{Logger: log.logger()})
		require.NoError(t, err)
		defer h.Close()
		play := recordedOffer(t, "chromium-video-audio.sdp", false)
		ask := func(from string) {
			r := httptest.NewRequest(http.MethodPost, "/whep/live", strings.NewReader(play))
			r.Header.Set("Content-Type", "application/sdp")
			r.Header.Set("X-Forwarded-For", "198.51.100.1")
			r.RemoteAddr = from
			h.ServeHTTP(httptest.NewRecorder(), r)
		}
		for range 600 {
			ask("192.0.2.7:1234")
			time.Sleep(time.Second)
		}
		require.Len(t, log.having("level=WARN", "cause=undeclared-proxy", "remote=192.0.2.7"), 2)
		ask("192.0.2.8:1234")
		require.Len(t, log.having("level=WARN"), 3, "another proxy")
	})
}
