package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/deltacdn/delta/cdn"
)

func equal(a, b any) bool { return reflect.DeepEqual(a, b) }

// check looks at what options mean together.
func (c *Config) check() error {
	if c.Node.Name == "" {
		c.Node.Name = defaultName()
	}
	c.warnShort()
	return errors.Join(
		c.checkNetwork(), c.checkEngine(), c.checkTLS(), c.checkAdmin(), c.checkICE(), c.checkDemo(), c.checkAuth(), c.checkSeen(),
	)
}

func (c *Config) fail(key, format string, args ...any) error {
	return fmt.Errorf("%s: %w", c.Where(key), fmt.Errorf(format, args...))
}

func defaultName() string {
	host, _ := os.Hostname() // without one the random part is all
	name := strings.Trim(host+"-"+string(cdn.NewNodeID())[2:8], "-")
	if _, err := cdn.ParseNodeID(name); err != nil {
		return string(cdn.NewNodeID())
	}
	return name
}

// warnShort warns of secrets that can be guessed.
func (c *Config) warnShort() {
	const short = 16
	for _, o := range options {
		text, ok := o.field(c).(*string)
		if o.secret && ok && *text != "" && len(*text) < short && slices.Contains([]string{"secret"}, o.Key) {
			c.Warnings = append(c.Warnings, fmt.Sprintf("%s has %d characters, which can be guessed; openssl rand -hex 16 makes a good one", o.Key, len(*text)))
		}
	}
}

func (c *Config) checkNetwork() error {
	n := &c.Network
	switch {
	case n.Shared() && len(n.Entry) > 0:
		return c.fail("entry", "with directory %s nodes find each other; leave it out", n.Directory)
	case !n.Shared() && len(n.Entry) == 0 && !c.Node.Roles.Origin:
		return c.fail("entry", "a relay or an edge that is no origin has to know whom to fetch from")
	case n.Directory == "dns" && len(n.Entry) == 0:
		return c.fail("entry", "directory dns needs the names to look up")
	}
	if own := c.HTTP.URL; own != "" && !n.Shared() {
		if slices.ContainsFunc(n.Entry, func(e string) bool { return strings.TrimRight(e, "/") == strings.TrimRight(own, "/") }) {
			return c.fail("entry", "%s is this node's own url", own)
		}
	}
	return nil
}

// checkEngine looks at the directory's own section.
func (c *Config) checkEngine() error {
	n := &c.Network
	var errs []error
	for _, s := range []string{"nats", "redis", "embedded", "dns"} {
		if n.Directory == s {
			continue
		}
		for _, o := range options {
			if o.Section() == s && c.IsSet(o.Key) {
				errs = append(errs, c.fail(o.Key, "it has no effect with directory %s; set directory: %s, or leave it out", n.Directory, s))
				break
			}
		}
	}
	switch n.Directory {
	case "nats":
		if len(n.NATS.Servers) == 0 {
			errs = append(errs, c.fail("nats.servers", "directory nats needs the servers' URLs"))
		}
		errs = append(errs, c.pair("nats.cert_file", n.NATS.Cert, "nats.key_file", n.NATS.Key))
	case "redis":
		if len(n.Redis.Servers) == 0 {
			errs = append(errs, c.fail("redis.servers", "directory redis needs the servers' addresses"))
		}
		if n.Redis.Master != "" && n.Redis.Cluster {
			errs = append(errs, c.fail("redis.master", "a Cluster has no Sentinels; leave out one of redis.master and redis.cluster"))
		}
		if len(n.Redis.Servers) > 1 && n.Redis.Master == "" && !n.Redis.Cluster {
			errs = append(errs, c.fail("redis.servers", "several servers are Sentinels (redis.master) or a Cluster (redis.cluster)"))
		}
	case "embedded":
		errs = append(errs, c.pair("embedded.cert_file", n.Embedded.Cert, "embedded.key_file", n.Embedded.Key))
		if (n.Embedded.Cert == "") != (n.Embedded.CA == "") {
			errs = append(errs, c.fail("embedded.ca_file", "embedded.cert_file and embedded.ca_file go together"))
		}
		if n.Embedded.Password == "" && n.Embedded.Cert == "" && !loopback(n.Embedded.Listen) {
			errs = append(errs, c.fail("embedded.password", "embedded.listen can be reached by others, so it needs a password, certificates, or both"))
		}
	}
	return errors.Join(errs...)
}

func (c *Config) pair(a, isA, b, isB string) error {
	if (isA == "") == (isB == "") {
		return nil
	}
	if isA == "" {
		a, b = b, a
	}
	return c.fail(a, "%s is missing; the two go together", b)
}

func (c *Config) checkTLS() error {
	t := &c.TLS
	errs := []error{c.pair("tls.cert_file", t.Cert, "tls.key_file", t.Key)}
	acme := len(t.ACME.Names) > 0
	switch {
	case acme && t.Cert != "":
		errs = append(errs, c.fail("tls.acme.names", "a certificate is ordered or read from tls.cert_file, not both"))
	case acme && !t.ACME.Agree:
		errs = append(errs, c.fail("tls.acme.agree", "a certificate is ordered only if you agree to the authority's terms of service: set it to true"))
	case acme && slices.Equal(t.ACME.Challenges, []string{"http-01"}) && c.HTTP.Redirect == "":
		errs = append(errs, c.fail("http_redirect", "http-01 needs it, on port 80 as the authority sees it"))
	case !acme:
		for _, o := range options {
			if o.Section() == "tls.acme" && c.IsSet(o.Key) {
				errs = append(errs, c.fail(o.Key, "it has no effect without tls.acme.names"))
				break
			}
		}
	}
	if !t.On() && c.HTTP.HSTS > 0 {
		errs = append(errs, c.fail("hsts", "it needs certificates"))
	}
	if u := c.HTTP.URL; !t.On() && c.HTTP.Redirect != "" && !strings.HasPrefix(u, "https://") {
		errs = append(errs, c.fail("http_redirect", "there is no HTTPS to lead to"))
	}
	if u, err := url.Parse(c.HTTP.URL); err == nil && u.Scheme == "http" && t.On() {
		errs = append(errs, c.fail("url", "the node speaks HTTPS, so it begins with https://"))
	}
	return errors.Join(errs...)
}

func (c *Config) checkAdmin() error {
	a := &c.Admin
	if a.Addr != "off" && !loopback(a.Addr) && a.Token == "" {
		return c.fail("admin.http", "%s can be reached by others; set admin.token_file, or use a loopback address", a.Addr)
	}
	for key, token := range map[string]string{"admin.token": a.Token, "admin.read_token": a.ReadToken} {
		if err := c.longEnough(key, token); err != nil {
			return err
		}
	}
	if a.ReadToken != "" && a.Token == "" {
		return c.fail("admin.read_token", "without admin.token nobody could change anything; set that, too")
	}
	return nil
}

// longEnough refuses a token that can be guessed.
func (c *Config) longEnough(key, token string) error {
	const least = 16
	if token != "" && len(token) < least {
		return c.fail(key, "it has less than %d characters; openssl rand -hex 16 makes a good one", least)
	}
	return nil
}

// warnOpen warns of a node that others reach and that asks nobody for a credential.
func (c *Config) warnOpen() {
	if c.Auth.On() || c.Auth.Access != "" || loopback(c.HTTP.Addr) {
		return
	}
	var may []string
	if c.Node.Roles.Origin {
		may = append(may, "publish")
	}
	if c.Node.Roles.Edge {
		may = append(may, "play")
	}
	if len(may) > 0 {
		c.Warnings = append(c.Warnings, fmt.Sprintf("anybody who reaches %s may %s: set auth.%s_token_file, or another key of auth", c.HTTP.Addr, strings.Join(may, " and "), may[0]))
	}
}

// loopback reports whether an address to listen at is of this machine alone.
func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

func (c *Config) checkICE() error {
	i := &c.ICE
	turn := slices.ContainsFunc(i.Servers, func(s string) bool { return strings.HasPrefix(s, "turn") })
	switch {
	case (i.Username == "") != (i.Credential == ""):
		return c.fail("ice.username", "ice.username and ice.credential go together")
	case i.Username != "" && i.Secret != "":
		return c.fail("ice.secret", "clients get passwords made of ice.secret, or ice.credential, not both")
	case turn && i.Username == "" && i.Secret == "":
		return c.fail("ice.servers", "TURN servers want ice.username and ice.credential, or ice.secret")
	case !turn && (i.Username != "" || i.Secret != ""):
		return c.fail("ice.servers", "there is no TURN server (turn: or turns:) for ice.username or ice.secret")
	}
	return nil
}

func (c *Config) checkDemo() error {
	if c.Node.Demo && !c.Node.Roles.Origin {
		return c.fail("demo", "the clip is published at an origin; add the role origin")
	}
	return nil
}

func (c *Config) checkAuth() error {
	for section, on := range map[string]bool{"auth.jwt": c.Auth.JWT.On(), "auth.hook": c.Auth.Hook.URL != ""} {
		for _, o := range options {
			if !on && o.Section() == section && c.IsSet(o.Key) {
				return c.fail(o.Key, "it has no effect without %s", map[string]string{"auth.jwt": "a key: auth.jwt.jwks_url, jwks_file, public_keys or secret_file", "auth.hook": "auth.hook.url"}[section])
			}
		}
	}
	if s := c.Auth.JWT.Secret; s != "" && len(s) < 32 {
		return c.fail("auth.jwt.secret", "it has less than 32 characters; openssl rand -hex 32 makes a good one")
	}
	for key, token := range map[string]string{"auth.publish_token": c.Auth.PublishToken, "auth.play_token": c.Auth.PlayToken} {
		if err := c.longEnough(key, token); err != nil {
			return err
		}
	}
	if len(c.Auth.Open) > 0 && !c.Auth.On() {
		return c.fail("auth.open", "nobody is asked for a credential; leave it out, or set one of the other keys of auth")
	}
	c.warnOpen()
	if c.Auth.On() && c.Network.Secret == "" && (c.Node.Roles.Origin || c.Node.Roles.Relay) {
		c.Warnings = append(c.Warnings, "auth is set and secret is not, so no other node can fetch from this one; set secret_file, to the same secret on all nodes")
	}
	return nil
}

func (c *Config) checkSeen() error {
	w := &c.Webhooks
	switch {
	case len(w.URLs) > 0 && len(Lines(w.Secrets)) == 0:
		return c.fail("webhooks.secrets", "receivers have to know that a message is from this node; set webhooks.secrets_file")
	case len(w.URLs) == 0 && c.IsSet("webhooks.secrets"):
		return c.fail("webhooks.urls", "there is nobody to send messages to")
	case c.Tracing.Endpoint == "" && (c.IsSet("tracing.headers") || c.IsSet("tracing.ratio")):
		return c.fail("tracing.endpoint", "there is nowhere to send traces to")
	}
	return nil
}
