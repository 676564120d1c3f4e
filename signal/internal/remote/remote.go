// Package remote says where a request comes from.
package remote

import "net/http"

// Addr returns the address of who asks. One who comes through a proxy may be
// anywhere, whatever is said of him: he is not local because the proxy is.
func Addr(r *http.Request) string {
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Real-Ip", "Via"} {
		if len(r.Header.Values(name)) > 0 {
			return "proxied:0"
		}
	}
	return r.RemoteAddr
}
