// Package remote says where a request comes from, which a reverse proxy may have
// forwarded.
package remote

import (
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
)

// A Resolver finds the addresses of clients. Its methods may be called
// concurrently.
type Resolver struct {
	proxies []netip.Prefix
	log     *slog.Logger
	warn    sync.Once
}

// New returns a Resolver that believes what proxies say of where a request comes
// from. A nil logger is allowed.
func New(proxies []netip.Prefix, log *slog.Logger) *Resolver {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Resolver{proxies: slices.Clone(proxies), log: log}
}

// proxied is the address of a client that a proxy does not name.
const proxied = "proxied:0"

// Client returns host:port of the client. A forwarded address counts where a
// declared proxy tells of it; its port is not known then, and 0. What others say
// is not believed, with one warning: they count as the clients themselves.
func (x *Resolver) Client(r *http.Request) string {
	if !Forwarded(r) {
		return r.RemoteAddr
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !x.isProxy(peer.Addr()) {
		x.warn.Do(func() {
			x.log.Warn("a forwarded address is not believed, since it is not from a declared proxy: if there is one, all of its clients share its address",
				"remote", r.RemoteAddr)
		})
		return r.RemoteAddr
	}
	client := x.forwarded(r.Header)
	switch {
	case !client.IsValid():
		return r.RemoteAddr // the proxy says nothing that can be used
	case client.IsLoopback():
		return proxied // local to the proxy, which may be on another machine
	}
	return netip.AddrPortFrom(client, 0).String()
}

// Node returns host:port of another node, to which it matters whether it is on
// this machine. One that comes through a proxy may be anywhere, whoever says what
// of it: it is not local because the proxy is.
func (x *Resolver) Node(r *http.Request) string {
	addr := x.Client(r)
	if Forwarded(r) && isLoopback(addr) {
		return proxied
	}
	return addr
}

func isLoopback(addr string) bool {
	a, err := netip.ParseAddrPort(addr)
	return err == nil && a.Addr().Unmap().IsLoopback()
}

// Forwarded reports whether a proxy has forwarded the request, or the client says
// that one has.
func Forwarded(r *http.Request) bool {
	for name := range r.Header {
		switch {
		case name == "Forwarded", name == "Via", name == "X-Real-Ip", strings.HasPrefix(name, "X-Forwarded"):
			return true
		}
	}
	return false
}

func (x *Resolver) isProxy(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	return slices.ContainsFunc(x.proxies, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// forwarded returns the client that the headers name, the zero Addr if none. Of the
// two headers a proxy may write one and pass the other through as the client has
// made it up: where they differ, neither is believed.
func (x *Resolver) forwarded(h http.Header) netip.Addr {
	standard, legacy := h.Values("Forwarded"), h.Values("X-Forwarded-For")
	switch {
	case len(legacy) == 0:
		return x.client(readForwarded(standard))
	case len(standard) == 0:
		return x.client(readForwardedFor(legacy))
	}
	a, b := x.client(readForwarded(standard)), x.client(readForwardedFor(legacy))
	if a != b {
		return netip.Addr{}
	}
	return a
}

// client returns the last of the addresses that a request came through that is no
// proxy: what stands ahead of it is what the client says. An address that cannot be
// read hides all ahead of it.
func (x *Resolver) client(hops []netip.Addr) (client netip.Addr) {
	for _, hop := range slices.Backward(hops) {
		if !hop.IsValid() {
			break
		}
		if client = hop; !x.isProxy(hop) {
			break
		}
	}
	return client
}

// readForwardedFor reads X-Forwarded-For: addresses with commas between, and ports
// by some proxies.
func readForwardedFor(values []string) (hops []netip.Addr) {
	for _, value := range values {
		for element := range strings.SplitSeq(value, ",") {
			hops = append(hops, readAddr(strings.TrimSpace(element)))
		}
	}
	return hops
}

// readForwarded reads the for parameters of Forwarded (RFC 7239 section 4). An
// element without one, or with an identifier in its place, is a zero Addr.
func readForwarded(values []string) (hops []netip.Addr) {
	for _, value := range values {
		for _, element := range splitQuoted(value, ',') {
			var hop netip.Addr
			for _, pair := range splitQuoted(element, ';') {
				name, node, _ := strings.Cut(strings.TrimSpace(pair), "=")
				if strings.EqualFold(name, "for") {
					hop = readAddr(unquote(node))
				}
			}
			hops = append(hops, hop)
		}
	}
	return hops
}

// splitQuoted splits s at sep, but not within a quoted string (RFC 9110 section
// 5.6.4).
func splitQuoted(s string, sep byte) (parts []string) {
	quoted, begin := false, 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			quoted = !quoted
		case quoted && c == '\\':
			i++
		case !quoted && c == sep:
			parts = append(parts, s[begin:i])
			begin = i + 1
		}
	}
	return append(parts, s[begin:])
}

func unquote(s string) string {
	inner, ok := strings.CutPrefix(s, `"`)
	if !ok {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(inner) && inner[i] != '"'; i++ {
		if inner[i] == '\\' && i+1 < len(inner) {
			i++
		}
		b.WriteByte(inner[i])
	}
	return b.String()
}

// readAddr reads an address, with a port or without, and with brackets around one
// of IPv6 or without.
func readAddr(s string) netip.Addr {
	if a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")); err == nil {
		return a.Unmap().WithZone("")
	}
	if a, err := netip.ParseAddrPort(s); err == nil {
		return a.Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}
