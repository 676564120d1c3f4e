package relay

import (
	"net/http"
	"strings"

	"github.com/deltacdn/delta/cdn"
	signallink "github.com/deltacdn/delta/signal/link"
	"github.com/deltacdn/delta/signal/whep"
)

// Handler serves the streams of source to the relays of other nodes over HTTP.
// Mount it at [Prefix].
func Handler(node *cdn.Node, source cdn.Source) (http.Handler, error) {
	server, err := NewServer(node, source)
	if err != nil {
		return nil, err
	}
	return server.Handler()
}

// Handler takes offers of links over HTTP, and those who fetch stream by stream.
// Mount it at [Prefix].
func (s *Server) Handler() (http.Handler, error) {
	streams, err := whep.New(s, whep.Config{Prefix: Prefix, Logger: s.node.Logger()})
	if err != nil {
		return nil, err
	}
	links := signallink.New(s, s.node.Logger())
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.TrimPrefix(r.URL.Path, Prefix) == "" {
			links.ServeHTTP(w, r)
			return
		}
		streams.ServeHTTP(w, r)
	}), nil
}
