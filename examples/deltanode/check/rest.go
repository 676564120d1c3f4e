package check

import (
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/deltacdn/delta/cdn/access"
	"github.com/deltacdn/delta/examples/deltanode/config"
)

func (r *report) media() {
	c := r.config
	addr := c.Media.UDP
	host, port, _ := net.SplitHostPort(c.HTTP.Addr)
	if addr == "" {
		addr = net.JoinHostPort(host, port)
		if ip, err := netip.ParseAddr(host); err == nil && ip.IsLoopback() {
			addr = ":" + port
		}
	}
	r.free("udp", addr, "udp")
	if len(c.Media.Public) == 0 {
		r.say("Media arrives at UDP %s, and clients are told the addresses of this machine.", addr)
		return
	}
	var told []string
	for _, p := range c.Media.Public {
		all := r.resolves(p, "public")
		if _, err := netip.ParseAddr(p); err != nil {
			p += " (" + addresses(all) + ")"
		}
		told = append(told, p)
		r.private(all)
	}
	r.say("Media arrives at UDP %s, and clients are told %s.", addr, and(told))
}

// mediaTCP says where clients without UDP come.
func (r *report) mediaTCP() {
	addr := r.config.Media.TCP
	if addr == "" {
		return
	}
	r.free("tcp", addr, "tcp")
	if _, port, _ := net.SplitHostPort(addr); port == portOf(r.config.HTTP.Addr) {
		r.warn("%s: it has the port of http, which is for pages and signaling; give it another one", r.config.Where("tcp"))
	}
	r.say("Clients whose UDP does not get through come to TCP %s.", addr)
}

func portOf(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}

func addresses(all []netip.Addr) string {
	var texts []string
	for _, a := range all {
		texts = append(texts, a.String())
	}
	if len(texts) == 0 {
		return "unknown"
	}
	slices.Sort(texts)
	return strings.Join(texts, ", ")
}

// private warns of addresses that the internet does not lead to.
func (r *report) private(all []netip.Addr) {
	for _, a := range all {
		if a.IsLoopback() || a.IsLinkLocalUnicast() {
			r.warn("%s: nobody on another machine reaches %s", r.config.Where("public"), a)
		}
	}
}

func (r *report) network() {
	n := &r.config.Network
	switch n.Directory {
	case "static":
		if len(n.Entry) > 0 {
			r.say("It fetches streams from %s, in this order.", and(redacted(n.Entry)))
		} else {
			r.say("It fetches no streams from other nodes.")
		}
	case "dns":
		r.say("It fetches streams from the nodes that %s stand for, and looks them up every %s.", and(redacted(n.Entry)), config.Short(n.DNS.Refresh))
	case "nats":
		r.say("Nodes find each other on NATS, at %s.", and(redacted(n.NATS.Servers)))
		r.servers(n.NATS.Servers, "nats.servers")
	case "redis":
		r.say("Nodes find each other on Redis, at %s.", and(n.Redis.Servers))
		for _, s := range n.Redis.Servers {
			host, _, _ := net.SplitHostPort(s)
			r.resolves(host, "redis.servers")
		}
	case "embedded":
		r.embedded()
	}
	r.servers(n.Entry, "entry")
	if n.Secret != "" {
		r.say("Other nodes have to know the secret.")
	} else {
		r.say("There is no secret, so other nodes are let in from this machine only.")
	}
	if n.Secret == "" && (n.Shared() || len(n.Entry) > 0 && !r.config.Node.Roles.Origin) {
		r.warn("%s: without a secret no node on another machine lets this one in", r.config.Where("secret"))
	}
}

// redacted returns URLs without the passwords, and the tokens, that may be in them.
func redacted(all []string) (out []string) {
	for _, s := range all {
		if u, err := url.Parse(s); err == nil && u.User != nil {
			u.User = url.User("xxxxx")
			s = u.String()
		}
		out = append(out, s)
	}
	return out
}

// servers warns of URLs whose hosts do not resolve.
func (r *report) servers(all []string, key string) {
	for _, s := range all {
		u, err := url.Parse(s)
		if err == nil && !strings.HasPrefix(u.Hostname(), "_") { // a service has no address
			r.resolves(u.Hostname(), key)
		}
	}
}

func (r *report) embedded() {
	e := &r.config.Network.Embedded
	r.free("tcp", e.Listen, "embedded.listen")
	if len(e.Seeds) == 0 {
		r.say("Nodes find each other on embedded NATS servers. This one is at %s, and is the first, since it has no seeds.", e.Listen)
	} else {
		r.say("Nodes find each other on embedded NATS servers. This one is at %s, and finds the others by %s.", e.Listen, and(e.Seeds))
	}
	for _, s := range e.Seeds {
		host, _, err := net.SplitHostPort(s)
		if err != nil {
			host = s
		}
		r.resolves(host, "embedded.seeds")
	}
	if e.Cert == "" && e.Password != "" {
		r.warn("%s: without embedded.cert_file the password travels as it is", r.config.Where("embedded.password"))
	}
}

func (r *report) auth() {
	a := &r.config.Auth
	roles := r.config.Node.Roles
	may := func(action string, here bool, ways []string) {
		switch {
		case !here:
		case !a.On():
			r.say("Anybody may %s.", action)
		case slices.Contains(a.Open, action):
			r.say("Anybody may %s, without a credential.", action)
		case len(ways) == 0:
			r.say("Nobody may %s.", action)
		default:
			r.say("Who wants to %s shows %s.", action, strings.Join(ways, ", or "))
		}
	}
	may("publish", roles.Origin, ways(a.PublishToken, a))
	may("play", roles.Edge, ways(a.PlayToken, a))
	for _, u := range []string{a.JWT.JWKS, a.Hook.URL} {
		if u != "" {
			r.servers([]string{u}, "auth")
		}
	}
	if a.Access != "" {
		r.access(a.Access)
	}
}

func ways(token string, a *config.Auth) (all []string) {
	if token != "" {
		all = append(all, "the token")
	}
	if a.URLKeys != "" {
		all = append(all, "a signed URL")
	}
	if a.JWT.On() {
		all = append(all, "a JSON Web Token")
	}
	if a.Hook.URL != "" {
		all = append(all, "what "+a.Hook.URL+" takes")
	}
	return all
}

func (r *report) access(file string) {
	text, err := config.ReadFile(file)
	if err == nil {
		var p access.Policy
		if p, err = access.ParsePolicy(text); err == nil {
			r.say("The access list in %s has %d %s and %d %s.", file,
				len(p.Rules), count(len(p.Rules), "rule", "rules"), len(p.Blocks), count(len(p.Blocks), "block", "blocks"))
			return
		}
	}
	r.fail("%s: the access list cannot be used: %s", r.config.Where("auth.access_file"), err)
}

func (r *report) ice() {
	c := &r.config.ICE
	if len(c.Servers) == 0 {
		return
	}
	with := ""
	switch {
	case c.Secret != "":
		with = ", with a password for each client that is good for " + config.Short(c.TTL)
	case c.Username != "":
		with = ", with the user " + c.Username
	}
	r.say("Clients are told of the STUN and TURN servers %s%s.", and(c.Servers), with)
}

func (r *report) seen() {
	c := r.config
	if len(c.Webhooks.URLs) > 0 {
		what := "all that happens"
		if len(c.Webhooks.Events) > 0 {
			what = and(c.Webhooks.Events)
		}
		r.say("It tells %s of %s.", and(c.Webhooks.URLs), what)
		r.servers(c.Webhooks.URLs, "webhooks.urls")
	}
	if c.Tracing.Endpoint != "" {
		r.say("It sends traces to %s.", c.Tracing.Endpoint)
		r.servers([]string{c.Tracing.Endpoint}, "tracing.endpoint")
	}
}

func (r *report) admin() {
	a := &r.config.Admin
	switch {
	case a.Addr == "off":
		r.say("There is no listener for operators.")
		return
	case a.Token != "":
		r.say("Operators reach it at %s, with the token.", a.Addr)
	default:
		r.say("Operators reach it at %s, from this machine only.", a.Addr)
	}
	r.free("tcp", a.Addr, "admin.http")
}

func (r *report) leaving() {
	if d := r.config.Node.Drain; d > 0 {
		r.say("At SIGTERM it leaves, and ends within %s.", config.Short(d))
	} else {
		r.say("At SIGTERM it ends at once.")
	}
}
