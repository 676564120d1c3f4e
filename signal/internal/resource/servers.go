package resource

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/signal"
)

// addServerLinks names STUN and TURN servers to a client that has its session (RFC 9725
// section 4.6).
func (s *Server) addServerLinks(h http.Header, r *http.Request, o signal.Offer) {
	for _, link := range s.config.Links {
		h.Add("Link", link)
	}
	if o.SDP != "" { // a client, and no node
		s.addServers(r.Context(), h, signal.ICERequest{Stream: o.Stream, RemoteAddr: o.RemoteAddr, Admitted: true})
	}
}

// addEarlyServerLinks names them to a client that cannot use a server that it learns of
// after its offer. A preflight gets them only if it says that it is from such a client. A
// client that was not let in yet gets no static credential of the configuration.
func (s *Server) addEarlyServerLinks(h http.Header, r *http.Request, stream cdn.StreamID) {
	if method := r.Header.Get("Access-Control-Request-Method"); method != "" {
		if method != http.MethodPost || !lists(r.Header.Values("Access-Control-Request-Headers"), "Link") {
			return
		}
		h.Set("Access-Control-Allow-Headers", allowHeaders+", Link")
	}
	for _, link := range s.config.Links {
		if !strings.Contains(link, "credential") {
			h.Add("Link", link)
		}
	}
	s.addServers(r.Context(), h, signal.ICERequest{Stream: stream, RemoteAddr: s.remote.Client(r)})
}

// lists reports whether a header that is a list of names has that one.
func lists(values []string, name string) bool {
	for _, v := range values {
		for one := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(one), name) {
				return true
			}
		}
	}
	return false
}

func (s *Server) addServers(ctx context.Context, h http.Header, r signal.ICERequest) {
	if s.config.Servers == nil {
		return
	}
	for _, server := range s.config.Servers(ctx, r) {
		links, err := server.Links()
		if err != nil {
			if _, due := s.wrong.Wrong(time.Now(), "ice-server"); due {
				s.config.Logger.Warn("clients are not told of an ICE server", "err", err)
			}
			continue
		}
		for _, link := range links {
			h.Add("Link", link)
		}
	}
	if r.Admitted {
		h.Set("Cache-Control", "no-store") // credentials are for one
	}
}
