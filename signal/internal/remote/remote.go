// Package remote finds the client's address of a request, which a reverse proxy may have
// forwarded.
package remote

import (
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/deltacdn/delta/internal/trouble"
)

// A Resolver finds the addresses of clients. Its methods may be called
// concurrently.
type Resolver struct {
	proxies []netip.Prefix
	wrong   *trouble.Reporter
}

// New returns a Resolver that trusts the client addresses that proxies forward. A nil
// logger is allowed.
func New(proxies []netip.Prefix, log *slog.Logger) *Resolver {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Resolver{proxies: slices.Clone(proxies), wrong: trouble.NewReporter(log)}
}

// proxied is the address of a client that a proxy does not name.
const proxied = "proxied:0"

// Client returns host:port of the client. A forwarded address counts where a declared proxy
// forwards it; its port is not known then, and 0. Other forwarded addresses are ignored,
// with a rare warning: their senders count as the clients.
func (x *Resolver) Client(r *http.Request) string {
	if !Forwarded(r) {
		return r.RemoteAddr
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !x.isProxy(peer.Addr()) {
		x.wrong.Report(trouble.Proxy, peer.Addr().String(), "remote", peer.Addr().String())
		return r.RemoteAddr
	}
	client := x.forwarded(r.Header)
	switch {
	case !client.IsValid():
		return r.RemoteAddr // the proxy forwards no usable address
	case client.IsLoopback():
		return proxied // local to the proxy, which may be on another machine
	}
	return netip.AddrPortFrom(client, 0).String()
}

// Node returns host:port of another node, of which it matters whether it is on this machine.
// One behind a proxy may be anywhere: it is not local because the proxy is.
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

// Forwarded reports whether a proxy has forwarded the request, or the client claims so.
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

// forwarded returns the client that the headers name, the zero Addr if none. A proxy
// may write one of the two headers and pass the other through as the client made it up:
// where they differ, neither is trusted.
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

// client returns the last of the addresses of a request's path that is not a proxy's: those
// in front of it are the client's claims. An address that cannot be read hides all in front
// of it.
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
