// Package web is what a person sees of a node: a console that shows the
// network at work, a page to publish from and a page to play on. The pages are
// plain HTML, CSS and JavaScript modules; nothing is loaded from elsewhere.
package web

import (
	"embed"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/deltacdn/delta/internal/demo/recent"
)

//go:embed index.html publish.html play.html twoway.html assets
var files embed.FS

// Handler serves the pages at /, /publish, /play and /twoway, what they are made of at
// /assets/, and the node's Status at /status.json. info is called twice a second at most,
// however many ask, and by one goroutine at a time. What it returns must not change.
//
// The pages signal to /whip/{stream} and /whep/{stream} of the same server,
// which the caller mounts beside this handler.
func Handler(info func() Status) http.Handler {
	h := &handler{info: recent.Of(fresh, func() Status { return info().filled(time.Now()) })}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", h.page("index.html"))
	mux.HandleFunc("GET /publish", h.page("publish.html"))
	mux.HandleFunc("GET /play", h.page("play.html"))
	mux.HandleFunc("GET /twoway", h.page("twoway.html"))
	mux.Handle("GET /assets/", h.assets())
	mux.HandleFunc("GET /status.json", h.status)
	return mux
}

// fresh is how old a Status may be: it costs a look at each viewer.
const fresh = 500 * time.Millisecond

type handler struct {
	info func() Status
}

func (h *handler) page(name string) http.HandlerFunc {
	body, err := files.ReadFile(name)
	if err != nil {
		panic(err) // it is embedded
	}
	return func(w http.ResponseWriter, _ *http.Request) {
		setHeaders(w.Header())
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", policy(h.info()))
		_, _ = w.Write(body)
	}
}

func (h *handler) assets() http.Handler {
	server := http.FileServerFS(files)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/") {
			http.NotFound(w, r) // no listings
			return
		}
		setHeaders(w.Header())
		server.ServeHTTP(w, r)
	})
}

func (h *handler) status(w http.ResponseWriter, r *http.Request) {
	status := h.info()
	header := w.Header()
	setHeaders(header)
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	header.Add("Vary", "Origin")
	if from := r.Header.Get("Origin"); from != "" && slices.Contains(status.origins(), from) {
		header.Set("Access-Control-Allow-Origin", from)
	}
	if status.Private {
		status = status.forAnybody(r.URL.Query().Get("stream"))
	}
	_ = json.NewEncoder(w).Encode(status) // the client went away: nobody to tell
}

// setHeaders sets what all answers have. The embedded files have no time of
// change, so a browser must ask again each time: they are small.
func setHeaders(h http.Header) {
	h.Set("Cache-Control", "no-cache")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
}

// policy allows the pages what they are made of, and to ask other nodes: the peers for
// their status, and the siblings for a session. The latter is needed by a player that is
// redirected, or that is asked to go over to another node when this one leaves; a
// browser forbids it to connect to any other. A policy has no way to name an IPv6 address
// (CSP 3 section 2.3.1), and browsers complain about one.
func policy(st Status) string {
	connect := []string{"connect-src 'self'"}
	for _, d := range st.Domains {
		if domain.MatchString(d) {
			connect = append(connect, d)
		}
	}
	for _, o := range st.origins() {
		if !strings.Contains(o, "[") && !slices.Contains(connect, o) && len(connect) <= maxConnect {
			connect = append(connect, o)
		}
	}
	return "default-src 'self'; media-src 'self' blob:; img-src 'self' data:; " +
		"base-uri 'none'; form-action 'self'; frame-ancestors 'self'; " + strings.Join(connect, " ")
}

// maxConnect bounds the other nodes in a header, whose length others bound.
const maxConnect = 100

// origins are those of the peers and of the siblings.
func (s Status) origins() (all []string) {
	for _, p := range s.Peers {
		if o := origin(p.URL); o != "" {
			all = append(all, o)
		}
	}
	for _, u := range s.Siblings {
		if o := origin(u); o != "" {
			all = append(all, o)
		}
	}
	return all
}

var (
	// host is a name or an address, and nothing that means more in a header: URLs may come
	// from other nodes.
	host = regexp.MustCompile(`^[A-Za-z0-9.:\[\]-]+$`)
	// domain is all names below one.
	domain = regexp.MustCompile(`^https?://\*(\.[A-Za-z0-9-]+)+(:[0-9]+)?$`)
)

// origin returns the origin of a URL (RFC 6454), "" if it has none.
func origin(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || !host.MatchString(u.Host) {
		return ""
	}
	return u.Scheme + "://" + strings.ToLower(u.Host)
}
