// Package web is what a person sees of a node: a console that shows the
// network at work, a page to publish from and a page to play on. The pages are
// plain HTML, CSS and JavaScript modules; nothing is loaded from elsewhere.
package web

import (
	"embed"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"
)

//go:embed index.html publish.html play.html assets
var files embed.FS

// Handler serves the pages at /, /publish and /play, what they are made of at
// /assets/, and the node's Status at /status.json. info is called for each
// request, concurrently; it should be quick.
//
// The pages signal to /whip/{stream} and /whep/{stream} of the same server,
// which the caller mounts beside this handler.
func Handler(info func() Status) http.Handler {
	h := &handler{info: info}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", h.page("index.html"))
	mux.HandleFunc("GET /publish", h.page("publish.html"))
	mux.HandleFunc("GET /play", h.page("play.html"))
	mux.Handle("GET /assets/", h.assets())
	mux.HandleFunc("GET /status.json", h.status)
	return mux
}

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
		w.Header().Set("Content-Security-Policy", policy(h.info().Peers))
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
	status := h.info().filled(time.Now())
	header := w.Header()
	setHeaders(header)
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	header.Add("Vary", "Origin")
	if from := r.Header.Get("Origin"); knows(status.Peers, from) {
		header.Set("Access-Control-Allow-Origin", from)
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

// policy allows the pages what they are made of, and to ask the peers for
// their status.
func policy(peers []Peer) string {
	connect := []string{"connect-src 'self'"}
	for _, p := range peers {
		if o := origin(p.URL); o != "" {
			connect = append(connect, o)
		}
	}
	return "default-src 'self'; media-src 'self' blob:; img-src 'self' data:; " +
		"base-uri 'none'; form-action 'self'; frame-ancestors 'self'; " + strings.Join(connect, " ")
}

// knows reports whether a page of one of the peers may read the status.
func knows(peers []Peer, from string) bool {
	for _, p := range peers {
		if o := origin(p.URL); o != "" && o == from {
			return true
		}
	}
	return false
}

// origin returns the origin of a URL (RFC 6454), "" if it has none.
func origin(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return ""
	}
	return u.Scheme + "://" + strings.ToLower(u.Host)
}
