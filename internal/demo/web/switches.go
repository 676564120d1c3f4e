package web

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/deltacdn/delta/cdn"
)

// Control kills and restores nodes by name. Errors that wrap [cdn.ErrNotFound]
// say that the node is not there to be killed, or restored.
type Control interface {
	Kill(node string) error
	Restore(node string) error
}

// Switches serves the buttons on the pages: POST /kill?node=NAME and
// /restore?node=NAME. Pages of other origins cannot press them, and other
// machines only if anywhere is set. From this machine it must have been called
// by an address or as localhost: a name may be anybody's.
func Switches(c Control, anywhere bool) http.Handler {
	mux := http.NewServeMux()
	for path, press := range map[string]func(string) error{"/kill": c.Kill, "/restore": c.Restore} {
		mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
			setHeaders(w.Header())
			if !anywhere && !isHere(r) {
				http.Error(w, "only pages that are opened on the node's own machine may do that", http.StatusForbidden)
				return
			}
			switch err := press(r.URL.Query().Get("node")); {
			case errors.Is(err, cdn.ErrNotFound):
				http.Error(w, err.Error(), http.StatusNotFound)
			case err != nil:
				http.Error(w, err.Error(), http.StatusConflict)
			default:
				w.WriteHeader(http.StatusNoContent)
			}
		})
	}
	return http.NewCrossOriginProtection().Handler(mux)
}

// isHere reports whether a request comes from this machine, and for it. One that a
// proxy on this machine has forwarded may come from anywhere. A name that leads
// here may belong to another site (DNS rebinding), to which the browser would take
// this node.
func isHere(r *http.Request) bool {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !from.Addr().Unmap().IsLoopback() || isForwarded(r) {
		return false
	}
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = strings.Trim(r.Host, "[]")
	}
	_, err = netip.ParseAddr(host)
	return err == nil || host == "localhost"
}

// isForwarded reports whether a proxy has forwarded a request.
func isForwarded(r *http.Request) bool {
	for name := range r.Header {
		switch {
		case name == "Forwarded", name == "Via", name == "X-Real-Ip", strings.HasPrefix(name, "X-Forwarded"):
			return true
		}
	}
	return false
}
