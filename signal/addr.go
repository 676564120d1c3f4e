package signal

import (
	"context"
	"net/netip"
)

type addrKey struct{}

// WithAddr returns a context with which a dialer connects to addr, at the port of the URL,
// instead of an address that the URL's host name resolves to: see [cdn.Entry].At. TLS
// verifies the name all the same. Requests to another server, to which the first one
// redirects, are not affected. The zero Addr removes an address.
func WithAddr(ctx context.Context, addr netip.Addr) context.Context {
	if was, ok := Addr(ctx); was == addr && ok == addr.IsValid() {
		return ctx
	}
	return context.WithValue(ctx, addrKey{}, addr)
}

// Addr returns the address that [WithAddr] has put into ctx. A dialer that uses it works
// with names that stand for several nodes; one that does not reaches any of them.
func Addr(ctx context.Context) (addr netip.Addr, ok bool) {
	addr, _ = ctx.Value(addrKey{}).(netip.Addr)
	return addr, addr.IsValid()
}
