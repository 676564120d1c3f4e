package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/deltacdn/delta/internal/endpoint/halfopen"
)

// guard decides who may use the API by HTTP.
type guard struct {
	tokens []credential
	hosts  []string
	log    *slog.Logger
	bad    attempts
}

// credential is a token whose secret is kept as a hash, so that all comparisons are of
// the same length.
type credential struct {
	name  string
	hash  [sha256.Size]byte
	write bool
}

func newGuard(c Config) *guard {
	g := &guard{log: c.Logger, bad: attempts{by: map[netip.Prefix]*bucket{}}}
	for _, t := range c.Tokens {
		g.tokens = append(g.tokens, credential{t.Name, sha256.Sum256([]byte(t.Secret)), t.Write})
	}
	for _, h := range c.Hosts {
		g.hosts = append(g.hosts, strings.ToLower(h))
	}
	return g
}

// Protect lets those pass to next who may use the API by HTTP, as [API.ServeHTTP] lets
// them use it: with write, those who may change things. Others are told why not, by
// problem details (RFC 9457). Wrong tokens count together with those that are shown to
// the API.
func (a *API) Protect(next http.Handler, write bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := a.guard.known(r, write)
		if err == nil {
			err = sameSite(r, r.Method != http.MethodGet && r.Method != http.MethodHead)
		}
		if err != nil {
			w.Header().Set("Cache-Control", "no-store")
			writeProblem(w, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// admit returns who asks, or why the request is refused.
func (g *guard) admit(r *http.Request, writes bool) (by string, err error) {
	if by, err = g.known(r, writes); err == nil {
		err = sameSite(r, writes)
	}
	return by, err
}

// known returns who asks, or why the request is refused, wherever it was sent from.
func (g *guard) known(r *http.Request, writes bool) (by string, err error) {
	if len(g.tokens) > 0 {
		return g.byToken(r, writes)
	}
	return "local", g.local(r)
}

func (g *guard) byToken(r *http.Request, writes bool) (by string, err error) {
	scheme, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || secret == "" {
		return "", &refused{status: http.StatusUnauthorized, code: "unauthorized", detail: "A bearer token is needed."}
	}
	given := sha256.Sum256([]byte(strings.TrimSpace(secret)))
	var found *credential
	for i := range g.tokens { // all of them, so that the time tells nothing
		if subtle.ConstantTimeCompare(given[:], g.tokens[i].hash[:]) == 1 {
			found = &g.tokens[i]
		}
	}
	switch {
	case found == nil:
		return "", g.wrong(r)
	case writes && !found.write:
		return "", &refused{status: http.StatusForbidden, code: "forbidden", detail: "The token may look, but not change anything."}
	}
	return found.name, nil
}

// wrong counts a wrong token, and returns why it is refused. A right one never has to
// wait: somebody else may have the same address.
func (g *guard) wrong(r *http.Request) error {
	now := time.Now()
	if wait := g.bad.wait(now, r.RemoteAddr); wait > 0 {
		return &refused{status: http.StatusTooManyRequests, code: "too-many-attempts", detail: "Too many wrong tokens came from this address.", retry: wait}
	}
	if g.bad.note(now, r.RemoteAddr) {
		g.log.Warn("an address has shown many wrong tokens of the admin API, and has to wait", "remote", r.RemoteAddr)
	}
	return &refused{status: http.StatusUnauthorized, code: "unauthorized", detail: "The token is not known."}
}

// forwarding are the headers of proxies.
var forwarding = []string{"Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Server", "X-Real-Ip", "Cf-Connecting-Ip", "True-Client-Ip", "X-Client-Ip"}

// local refuses what does not come from this machine by a name of it.
func (g *guard) local(r *http.Request) error {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !from.Addr().Unmap().IsLoopback() {
		return &refused{status: http.StatusForbidden, code: "forbidden", detail: "Without tokens, the API answers clients on its own machine only."}
	}
	proxied := !r.ProtoAtLeast(1, 1) // as some proxies ask that do not say what they are
	for _, h := range forwarding {
		proxied = proxied || len(r.Header[h]) > 0
	}
	if proxied {
		return &refused{status: http.StatusForbidden, code: "forbidden", detail: "Without tokens, the API answers nobody who comes through a proxy."}
	}
	if !g.hostIsOurs(r.Host) {
		return &refused{status: http.StatusMisdirectedRequest, code: "wrong-host", detail: "Without tokens, the API is to be asked as localhost."}
	}
	return nil
}

func (g *guard) hostIsOurs(host string) bool {
	name := strings.ToLower(host)
	if h, _, err := net.SplitHostPort(name); err == nil {
		name = h
	}
	name = strings.TrimSuffix(strings.Trim(name, "[]"), ".")
	if ip, err := netip.ParseAddr(name); err == nil {
		return ip.Unmap().IsLoopback()
	}
	return name == "localhost" || slices.Contains(g.hosts, name)
}

// RequestHeader is a header that a request which changes something may have, with any
// value, in place of the content type application/json: a page of another origin can
// set neither.
const RequestHeader = "X-Delta-Request"

// sameSite refuses what a page of another origin has a browser send.
func sameSite(r *http.Request, writes bool) error {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
		return crossSite()
	}
	if origin := r.Header.Get("Origin"); origin != "" {
		u, err := url.Parse(origin)
		if err != nil || u.Host == "" || !strings.EqualFold(u.Host, r.Host) {
			return crossSite()
		}
	}
	if writes && !isJSON(r) && r.Header.Get(RequestHeader) == "" {
		return &refused{
			status: http.StatusUnsupportedMediaType, code: "media-type",
			detail: "What changes something needs the content type application/json, or the header " + RequestHeader + ".",
		}
	}
	return nil
}

func crossSite() error {
	return &refused{status: http.StatusForbidden, code: "cross-origin", detail: "A page of another origin may not use the API."}
}

func isJSON(r *http.Request) bool {
	t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && t == "application/json"
}

// attempts bounds how often each address may try a wrong token: mostAttempts at once,
// and one more every attemptEvery.
type attempts struct {
	mu sync.Mutex
	by map[netip.Prefix]*bucket
}

type bucket struct {
	used float64
	at   time.Time
}

const (
	mostAttempts = 10
	attemptEvery = 6 * time.Second
	mostBuckets  = 10_000
)

// wait returns how long an address has to wait until it may try again.
func (a *attempts) wait(now time.Time, addr string) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	b := a.by[halfopen.Source(addr)]
	if b == nil {
		return 0
	}
	b.leak(now)
	if b.used <= mostAttempts-1 {
		return 0
	}
	return time.Duration((b.used - (mostAttempts - 1)) * float64(attemptEvery))
}

// note counts a wrong token, and reports whether it is the one after which the address
// has to wait.
func (a *attempts) note(now time.Time, addr string) (waits bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	from := halfopen.Source(addr)
	b := a.by[from]
	if b == nil {
		a.makeRoomLocked(now)
		b = &bucket{at: now}
		a.by[from] = b
	}
	b.leak(now)
	b.used++
	return b.used > mostAttempts-1 && b.used <= mostAttempts
}

// makeRoomLocked forgets the addresses that have waited long enough, and any others if
// there are too many all the same. It makes room for many, since it looks at all.
func (a *attempts) makeRoomLocked(now time.Time) {
	if len(a.by) < mostBuckets {
		return
	}
	for from, b := range a.by {
		if b.leak(now); b.used == 0 {
			delete(a.by, from)
		}
	}
	for from := range a.by {
		if len(a.by) < mostBuckets*3/4 {
			return
		}
		delete(a.by, from)
	}
}

func (b *bucket) leak(now time.Time) {
	b.used = max(0, b.used-float64(now.Sub(b.at))/float64(attemptEvery))
	b.at = now
}
