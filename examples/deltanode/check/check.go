// Package check says what a node would do by its configuration, and what can be known to
// go wrong, without doing it.
package check

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/deltacdn/delta/examples/deltanode/config"
)

// A Line is a sentence about the node.
type Line struct {
	Kind Kind
	Text string
}

// A Kind says how much a Line matters.
type Kind int

// The kinds.
const (
	Info    Kind = iota // what the node would do
	Warning             // what can be known to go wrong
	Error               // why it would not start
)

func (l Line) String() string { return [...]string{"", "warning: ", "error: "}[l.Kind] + l.Text }

// Machine is what the check asks of the machine. The zero value asks the real one.
type Machine struct {
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	Free   func(network, addr string) error // nil: the address can be listened at
	Now    func() time.Time
}

// lookups is how long names may take to resolve, all of them together.
const lookups = 5 * time.Second

func (m Machine) withDefaults() Machine {
	if m.Lookup == nil {
		m.Lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	if m.Free == nil {
		m.Free = free
	}
	if m.Now == nil {
		m.Now = time.Now
	}
	return m
}

// free tries whether an address can be listened at, and gives it back.
func free(network, addr string) error {
	if network == "udp" {
		c, err := net.ListenPacket("udp", addr)
		if err == nil {
			err = c.Close()
		}
		return err
	}
	l, err := net.Listen(network, addr)
	if err == nil {
		err = l.Close()
	}
	return err
}

// report collects the sentences.
type report struct {
	config  *config.Config
	machine Machine
	ctx     context.Context // of lookups
	lines   []Line
}

// Report returns what a node of that configuration would do. It listens at nothing for
// longer than a moment.
func Report(ctx context.Context, c config.Config, m Machine) []Line {
	ctx, cancel := context.WithTimeout(ctx, lookups)
	defer cancel()
	r := &report{config: &c, machine: m.withDefaults(), ctx: ctx}
	for _, w := range c.Warnings {
		r.warn("%s", w)
	}
	for _, part := range []func(){r.node, r.http, r.media, r.mediaTCP, r.network, r.auth, r.files, r.ice, r.seen, r.admin, r.leaving} {
		part()
	}
	return r.lines
}

func (r *report) say(format string, args ...any) {
	r.lines = append(r.lines, Line{Text: fmt.Sprintf(format, args...)})
}

func (r *report) warn(format string, args ...any) {
	r.lines = append(r.lines, Line{Kind: Warning, Text: fmt.Sprintf(format, args...)})
}

func (r *report) fail(format string, args ...any) {
	r.lines = append(r.lines, Line{Kind: Error, Text: fmt.Sprintf(format, args...)})
}

// free warns if an address is in use. Port 0 is whichever is free.
func (r *report) free(network, addr, key string) {
	if err := r.machine.Free(network, addr); err != nil {
		r.warn("%s: %s cannot be listened at: %s", r.config.Where(key), addr, cause(err))
	}
}

// cause is what the system says, without the operation.
func cause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	var call *os.SyscallError
	if errors.As(err, &call) {
		err = call.Err
	}
	return err
}

// resolves returns the addresses of a host, and warns if there are none.
func (r *report) resolves(host, key string) []netip.Addr {
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{ip}
	}
	all, err := r.machine.Lookup(r.ctx, host)
	if err != nil {
		r.warn("%s: %s does not resolve: %s", r.config.Where(key), host, dnsCause(err))
	}
	for i := range all {
		all[i] = all[i].Unmap()
	}
	return all
}

func dnsCause(err error) string {
	var d *net.DNSError
	switch {
	case errors.As(err, &d) && d.IsNotFound:
		return "there is no such name"
	case errors.As(err, &d) && d.IsTimeout:
		return "no DNS server answers"
	}
	return err.Error()
}

func (r *report) node() {
	c := &r.config.Node
	roles := strings.Split(c.Roles.String(), ",")
	r.say("The node is called %s. %s %s.", c.Name, count(len(roles), "Its role is", "Its roles are"), and(roles))
	if c.Group != "" {
		r.say("It is in the group %s.", c.Group)
	}
	if c.Demo {
		r.say("It publishes the built-in clip as stream demo.")
	}
}

func count(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

func and(all []string) string {
	if len(all) < 2 {
		return strings.Join(all, "")
	}
	return strings.Join(all[:len(all)-1], ", ") + " and " + all[len(all)-1]
}

func (r *report) http() {
	c := r.config
	r.free("tcp", c.HTTP.Addr, "http")
	switch t := &c.TLS; {
	case t.Cert != "":
		r.certificate()
	case len(t.ACME.Names) > 0:
		r.acme()
	default:
		r.say("Pages and signaling are at %s, over plain HTTP.", c.HTTP.Addr)
		r.plain()
	}
	if c.HTTP.URL != "" {
		r.say("Browsers and other nodes reach it at %s.", c.HTTP.URL)
		if u, err := url.Parse(c.HTTP.URL); err == nil {
			r.resolves(u.Hostname(), "url")
		}
	}
	if c.HTTP.Redirect != "" {
		r.free("tcp", c.HTTP.Redirect, "http_redirect")
		r.say("At %s it leads from plain HTTP to HTTPS.", c.HTTP.Redirect)
	}
	if len(c.HTTP.Proxies) > 0 {
		var all []string
		for _, p := range c.HTTP.Proxies {
			all = append(all, p.String())
		}
		r.say("It trusts the client addresses that proxies at %s tell.", and(all))
	}
}

// plain warns of what plain HTTP cannot do.
func (r *report) plain() {
	c := r.config
	host, _, _ := net.SplitHostPort(c.HTTP.Addr)
	ip, err := netip.ParseAddr(host)
	if !c.Node.Roles.Origin || err == nil && ip.IsLoopback() || host == "localhost" || strings.HasPrefix(c.HTTP.URL, "https://") {
		return
	}
	r.warn("browsers on other machines give no camera to pages over plain HTTP: set tls.cert_file, tls.acme.names, or url if a proxy in front speaks HTTPS")
}

func (r *report) certificate() {
	c := r.config
	pair, err := tls.LoadX509KeyPair(c.TLS.Cert, c.TLS.Key)
	if err != nil {
		r.fail("%s: the certificate cannot be used: %s", c.Where("tls.cert_file"), err)
		return
	}
	leaf := pair.Leaf
	r.say("Pages and signaling are at %s, over HTTPS, with the certificate of %s from %s, which is valid until %s.",
		c.HTTP.Addr, and(namesOf(leaf)), c.TLS.Cert, leaf.NotAfter.UTC().Format(time.DateOnly))
	const early = 14 * 24 * time.Hour
	switch left := leaf.NotAfter.Sub(r.machine.Now()); {
	case left < 0:
		r.warn("%s: the certificate has expired: browsers and other nodes refuse it", c.Where("tls.cert_file"))
	case left < early:
		r.warn("%s: the certificate expires in %d days", c.Where("tls.cert_file"), int(left.Hours()/24))
	}
	if r.machine.Now().Before(leaf.NotBefore) {
		r.warn("%s: the certificate is valid from %s on; is the clock right?", c.Where("tls.cert_file"), leaf.NotBefore.UTC().Format(time.DateTime))
	}
	if u, err := url.Parse(c.HTTP.URL); err == nil && c.HTTP.URL != "" && leaf.VerifyHostname(u.Hostname()) != nil {
		r.warn("%s: the certificate is not for %s, so that browsers and other nodes refuse it", c.Where("url"), u.Hostname())
	}
}

func namesOf(c *x509.Certificate) (all []string) {
	all = append(all, c.DNSNames...)
	for _, ip := range c.IPAddresses {
		all = append(all, ip.String())
	}
	if len(all) == 0 {
		return []string{"no name"}
	}
	return all
}

func (r *report) acme() {
	c := r.config
	a := &c.TLS.ACME
	u, _ := url.Parse(a.Directory)
	r.say("Pages and signaling are at %s, over HTTPS, with a certificate of %s that %s is asked for, by %s.",
		c.HTTP.Addr, and(a.Names), u.Host, and(a.Challenges))
	for _, name := range a.Names {
		r.resolves(name, "tls.acme.names")
	}
	if u, err := url.Parse(c.HTTP.URL); err == nil && c.HTTP.URL != "" && !contains(a.Names, u.Hostname()) {
		r.warn("%s: tls.acme.names does not have %s, so that browsers and other nodes refuse the certificate", c.Where("url"), u.Hostname())
	}
	r.challengePorts()
}

// challengePorts warns if the authority would come to other ports.
func (r *report) challengePorts() {
	c := r.config
	for _, one := range []struct{ challenge, key, addr, port string }{
		{"http-01", "http_redirect", c.HTTP.Redirect, "80"}, {"tls-alpn-01", "http", c.HTTP.Addr, "443"},
	} {
		_, port, err := net.SplitHostPort(one.addr)
		if contains(c.TLS.ACME.Challenges, one.challenge) && err == nil && port != one.port {
			r.warn("%s: for %s the authority comes to port %s; have it led to %s, or listen there", c.Where(one.key), one.challenge, one.port, one.addr)
		}
	}
}

func contains(all []string, one string) bool {
	for _, s := range all {
		if strings.EqualFold(s, one) {
			return true
		}
	}
	return false
}
