package relay

import (
	"net/http"
	"net/netip"
	"strings"

	"github.com/deltacdn/delta/cdn"
	signallink "github.com/deltacdn/delta/signal/link"
	"github.com/deltacdn/delta/signal/whep"
)

// Handler serves the streams of source to the relays of other nodes over HTTP. It must be
// mounted at [Prefix]. proxies are as those of [Server.Handler].
func Handler(node *cdn.Node, source cdn.Source, proxies ...netip.Prefix) (http.Handler, error) {
	server, err := NewServer(node, source)
	if err != nil {
		return nil, err
	}
	return server.Handler(proxies...)
}

// Handler takes offers of links over HTTP, and requests of nodes that fetch stream by
// stream. It must be mounted at [Prefix]. proxies are the networks of reverse proxies in
// front of it, whose forwarded client addresses are trusted; a node behind one is not on
// this machine.
func (s *Server) Handler(proxies ...netip.Prefix) (http.Handler, error) {
	streams, err := whep.New(s, whep.Config{Prefix: Prefix, Proxies: proxies, Logger: s.node.Logger()})
	if err != nil {
		return nil, err
	}
	links := signallink.New(s, s.node.Logger(), proxies...)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.TrimPrefix(r.URL.Path, Prefix) == "" {
			links.ServeHTTP(w, r)
			return
		}
		streams.ServeHTTP(w, r)
	}), nil
}
