package signal

import (
	"net/http"
	"time"
)

// ServerDefaults sets the limits of s that are zero to values for signaling: headers have
// to arrive within 10 s and 64 KiB, and an idle connection is closed after a minute. It
// returns s.
//
// The handlers of whip, whep and link bound bodies and answers by themselves, on any
// server. They cannot bound a connection on which nothing, or only a part of a header, is
// sent. On a server that keeps idle connections for ever they close each connection after
// its answer, which costs clients a round trip. ReadTimeout and WriteTimeout need not be
// set: they would end event streams of other handlers.
func ServerDefaults(s *http.Server) *http.Server {
	if s.ReadHeaderTimeout == 0 {
		s.ReadHeaderTimeout = 10 * time.Second
	}
	if s.IdleTimeout == 0 {
		s.IdleTimeout = time.Minute
	}
	if s.MaxHeaderBytes == 0 {
		s.MaxHeaderBytes = 64 << 10
	}
	return s
}
