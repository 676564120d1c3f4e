package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/deltacdn/delta/cdn"
)

// options are the flags. Others script against them: keep them stable.
type options struct {
	roles             roles
	name, http, udp   string
	public            []netip.Addr
	entry             []string
	proxies           []netip.Prefix
	secret            string
	verbose           bool
	httpHost, httpNum string
}

// roles are what the node does.
type roles struct{ origin, relay, edge bool }

func (r roles) String() string {
	var all []string
	for _, one := range []struct {
		name string
		yes  bool
	}{{"origin", r.origin}, {"relay", r.relay}, {"edge", r.edge}} {
		if one.yes {
			all = append(all, one.name)
		}
	}
	return strings.Join(all, ",")
}

func parse(args []string, output io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("node", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	list := f.String("roles", "origin,edge", "what the node is: origin, relay, edge, or several, with commas between")
	f.StringVar(&o.name, "name", "", "`name` of the node, unique in the CDN (default: of the host, and a random part)")
	f.StringVar(&o.http, "http", "127.0.0.1:8080", "`address` for HTTP")
	f.StringVar(&o.udp, "udp", "", "`address` for media (default: that of -http, and all addresses if that is a loopback address)")
	public := f.String("public", "", "`IP` under which others reach this machine, or several, with commas between")
	entry := f.String("entry", "", "`URL`s of the nodes to fetch from, with commas between")
	proxies := f.String("proxy", "", "`network` (10.0.0.0/8) or address of the reverse proxies in front of -http, or several, with commas between")
	f.StringVar(&o.secret, "secret", "", "`text` that all nodes of the CDN know, and nobody else; without it, other nodes are let in from this machine only")
	f.BoolVar(&o.verbose, "v", false, "log what happens")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			f.SetOutput(output)
			f.Usage()
		}
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	for _, step := range []func() error{
		func() error { return o.setRoles(*list) },
		func() error { return o.setPublic(*public) },
		func() error { return o.setEntry(*entry) },
		func() error { return o.setProxies(*proxies) },
		o.setAddresses,
		o.setName,
	} {
		if err := step(); err != nil {
			return o, err
		}
	}
	return o, nil
}

func (o *options) setRoles(list string) error {
	for _, r := range split(list) {
		switch r {
		case "origin":
			o.roles.origin = true
		case "relay":
			o.roles.relay = true
		case "edge":
			o.roles.edge = true
		default:
			return fmt.Errorf("-roles: %q is none of origin, relay, edge", r)
		}
	}
	if o.roles == (roles{}) {
		return errors.New("-roles: there is none")
	}
	return nil
}

func (o *options) setPublic(list string) error {
	for _, text := range split(list) {
		ip, err := netip.ParseAddr(text)
		if err != nil || ip.IsUnspecified() || ip.IsMulticast() {
			return fmt.Errorf("-public: %q is no address that others can reach", text)
		}
		o.public = append(o.public, ip)
	}
	return nil
}

func (o *options) setEntry(list string) error {
	o.entry = split(list)
	// A directory of them knows what is a URL.
	if _, err := cdn.Static(o.entry...).Find(context.Background(), "any"); err != nil {
		return fmt.Errorf("-entry: %w", err)
	}
	if len(o.entry) == 0 && !o.roles.origin {
		return errors.New("-entry: a relay or an edge that is no origin has to know whom to fetch from")
	}
	return nil
}

func (o *options) setProxies(list string) error {
	for _, text := range split(list) {
		if ip, err := netip.ParseAddr(text); err == nil {
			text = netip.PrefixFrom(ip, ip.BitLen()).String()
		}
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return fmt.Errorf("-proxy: %q is no network, such as 10.0.0.0/8, and no address", text)
		}
		o.proxies = append(o.proxies, p)
	}
	return nil
}

func (o *options) setAddresses() (err error) {
	if o.httpHost, o.httpNum, err = net.SplitHostPort(o.http); err != nil {
		return fmt.Errorf("-http: %q is no HOST:PORT", o.http)
	}
	if o.udp == "" {
		return nil
	}
	if _, _, err := net.SplitHostPort(o.udp); err != nil {
		return fmt.Errorf("-udp: %q is no HOST:PORT", o.udp)
	}
	return nil
}

func (o *options) setName() error {
	if o.name == "" {
		host, _ := os.Hostname() // without one the random part is all
		o.name = strings.Trim(host+"-"+string(cdn.NewNodeID())[2:8], "-")
	}
	if _, err := cdn.ParseNodeID(o.name); err != nil {
		return fmt.Errorf("-name: %w", err)
	}
	return nil
}

func split(list string) []string {
	all := strings.Split(list, ",")
	for i := range all {
		all[i] = strings.TrimSpace(all[i])
	}
	return slices.DeleteFunc(all, func(s string) bool { return s == "" })
}
