package config

import (
	"slices"
	"strings"
)

// An Option is one thing that can be set: by its key in the file, by a flag, and by an
// environment variable.
type Option struct {
	Key     string // in the file; sections are separated by dots
	Arg     string // what the value is, for the help
	Default string
	Else    string // what applies if it is not set, where Default cannot say that
	Help    string
	Live    bool // it takes effect at SIGHUP

	flag     string // if it is not made of the key
	secret   bool
	lines    bool   // a secret of several lines or words
	fileOf   string // key of the secret that is in this file
	oneOf    []string
	min, max float64 // of a number, or of a duration in seconds; equal: no bounds
	valid    func(string) error
	field    func(*Config) any
}

// Flag returns the name of the flag.
func (o Option) Flag() string {
	if o.flag != "" {
		return o.flag
	}
	return strings.NewReplacer(".", "-", "_", "-").Replace(o.Key)
}

// Env returns the name of the environment variable.
func (o Option) Env() string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(o.Key, ".", "_"))
}

const envPrefix = "DELTA_"

func (o Option) kind() kind { return kindOf(o.field(&Config{})) }

// Section returns the part of the key up to the last dot.
func (o Option) Section() string {
	if i := strings.LastIndexByte(o.Key, '.'); i >= 0 {
		return o.Key[:i]
	}
	return ""
}

// guards reports whether the option keeps somebody out, so that an empty value is a
// mistake: a variable of a script that is not set, say.
func (o Option) guards() bool {
	return o.secret || o.fileOf != "" || strings.HasPrefix(o.Key, "auth.") && o.Key != "auth.open"
}

// Options returns all options, those of one section together.
func Options() []Option { return slices.Clone(options) }

var options = withSecretFiles(generalFirst(slices.Concat(
	nodeOptions, networkOptions, tlsOptions, iceOptions, serviceOptions, authOptions, limitOptions, adminOptions, seenOptions,
)))

func generalFirst(all []Option) []Option {
	slices.SortStableFunc(all, func(a, b Option) int { return min(1, len(a.Section())) - min(1, len(b.Section())) })
	return all
}

var byKey = func() map[string]Option {
	m := make(map[string]Option, len(options))
	for _, o := range options {
		m[o.Key] = o
	}
	return m
}()

// withSecretFiles adds, behind each secret, the option that names a file with it.
func withSecretFiles(all []Option) (out []Option) {
	for _, o := range all {
		out = append(out, o)
		if !o.secret {
			continue
		}
		file := Option{
			Key: o.Key + "_file", Arg: "file", fileOf: o.Key, Live: o.Live,
			Help: "file with " + o.Key + "; nobody but the node should be able to read it",
		}
		if o.flag != "" {
			file.flag = o.flag + "-file"
		}
		file.field = func(*Config) any { return new(string) } // what is in the file is what counts
		out = append(out, file)
	}
	return out
}

const (
	day  = 24 * 60 * 60
	huge = 1e9
)

var nodeOptions = []Option{
	{
		Key: "roles", Arg: "list", Default: "origin,edge", oneOf: []string{"origin", "relay", "edge"},
		Help:  "what the node is: origin (publishers come here), relay (other nodes do), edge (viewers do), or several",
		field: func(c *Config) any { return &c.Node.Roles },
	},
	{
		Key: "name", Arg: "name", Else: "the host's name and a random part", valid: isNodeName,
		Help:  "name of the node, which no other node of the network has",
		field: func(c *Config) any { return &c.Node.Name },
	},
	{
		Key: "group", Arg: "name",
		Help:  "where the node is, such as a region; nodes of one group fetch from each other first",
		field: func(c *Config) any { return &c.Node.Group },
	},
	{
		Key: "http", Arg: "host:port", Default: "127.0.0.1:8080", valid: isHostPort,
		Help:  "address for pages and signaling; with certificates it speaks HTTPS",
		field: func(c *Config) any { return &c.HTTP.Addr },
	},
	{
		Key: "url", Arg: "url", Else: "made of the certificate's name or public, and the port of http", valid: isBaseURL,
		Help:  "URL under which browsers and other nodes reach http; set it behind a reverse proxy",
		field: func(c *Config) any { return &c.HTTP.URL },
	},
	{
		Key: "udp", Arg: "host:port", Else: "that of http, and all addresses if that is a loopback address", valid: isHostPort,
		Help:  "address for media (UDP)",
		field: func(c *Config) any { return &c.Media.UDP },
	},
	{
		Key: "tcp", Arg: "host:port", valid: isHostPort,
		Help:  "address for media of clients whose UDP does not get through (ICE-TCP), such as :8444; not the port of http; if not set, there is none",
		field: func(c *Config) any { return &c.Media.TCP },
	},
	{
		Key: "public", Arg: "list", Else: "the addresses of this machine", valid: isPublic,
		Help:  "IP addresses and host names under which clients reach the UDP port; names are resolved at the start and again",
		field: func(c *Config) any { return &c.Media.Public },
	},
	{
		Key: "public_refresh", Arg: "time", Default: "30s", min: 1, max: day,
		Help:  "how often the names in public are resolved",
		field: func(c *Config) any { return &c.Media.Refresh },
	},
	{
		Key: "proxies", flag: "proxy", Arg: "list",
		Help:  "networks (10.0.0.0/8) and addresses of the reverse proxies in front of http, whose forwarded addresses are trusted",
		field: func(c *Config) any { return &c.HTTP.Proxies },
	},
	{
		Key: "allow_origin", Arg: "origin", Default: "*", valid: isOrigin,
		Help:  "web origin whose pages may publish and play (CORS); * is all",
		field: func(c *Config) any { return &c.HTTP.AllowOrigin },
	},
	{
		Key: "drain", Arg: "time", Default: "30s", min: 0, max: day,
		Help:  "time that viewers, publishers and other nodes have to leave at SIGTERM; 0: none",
		field: func(c *Config) any { return &c.Node.Drain },
	},
	{
		Key: "capacity", Arg: "packets", Default: "0", min: 0, max: huge,
		Help:  "packets a second that the node can send; 0: it finds out",
		field: func(c *Config) any { return &c.Node.Capacity },
	},
	{
		Key: "demo", Default: "false",
		Help:  "publish a built-in clip with a countdown as stream demo; needs the role origin",
		field: func(c *Config) any { return &c.Node.Demo },
	},
	{
		Key: "log_format", Arg: "format", Default: "text", oneOf: []string{"text", "json"},
		Help:  "how the log on standard error is written: text or json",
		field: func(c *Config) any { return &c.Log.Format },
	},
	{
		Key: "log_level", Arg: "level", Default: "warn", oneOf: []string{"debug", "info", "warn", "error"}, Live: true,
		Help:  "what is logged: debug, info, warn or error",
		field: func(c *Config) any { return &c.Log.Level },
	},
	{
		Key: "v", Default: "false", Live: true,
		Help:  "log what happens: short for log_level info",
		field: func(c *Config) any { return &c.Log.Verbose },
	},
}

var networkOptions = []Option{
	{
		Key: "entry", Arg: "list", valid: isEntry,
		Help:  "URLs of the nodes to fetch from, the preferred ones first; with directory dns, names that stand for several nodes",
		field: func(c *Config) any { return &c.Network.Entry },
	},
	{
		Key: "directory", Arg: "kind", Default: "static", oneOf: []string{"static", "dns", "nats", "redis", "embedded"},
		Help:  "how nodes find streams: static and dns by entry, nats and redis on servers of yours, embedded on NATS servers in the nodes",
		field: func(c *Config) any { return &c.Network.Directory },
	},
	{
		Key: "secret", Arg: "text", secret: true,
		Help:  "what all nodes of the network know, and nobody else; without it, other nodes are let in from this machine only",
		field: func(c *Config) any { return &c.Network.Secret },
	},
	{
		Key: "dns.refresh", Arg: "time", Default: "30s", min: 1, max: day,
		Help:  "how often the names in entry are looked up",
		field: func(c *Config) any { return &c.Network.DNS.Refresh },
	},
	{
		Key: "nats.servers", Arg: "list", valid: isServer("nats", "tls", "ws", "wss"),
		Help:  "URLs of NATS servers",
		field: func(c *Config) any { return &c.Network.NATS.Servers },
	},
	{Key: "nats.user", Arg: "name", Help: "user at NATS", field: func(c *Config) any { return &c.Network.NATS.User }},
	{Key: "nats.password", Arg: "text", secret: true, Help: "password at NATS", field: func(c *Config) any { return &c.Network.NATS.Password }},
	{Key: "nats.token", Arg: "text", secret: true, Help: "token at NATS", field: func(c *Config) any { return &c.Network.NATS.Token }},
	{Key: "nats.credentials_file", Arg: "file", Help: "NATS credentials (JWT and seed)", field: func(c *Config) any { return &c.Network.NATS.Credentials }},
	{Key: "nats.ca_file", Arg: "file", Help: "certificates (PEM) that vouch for the NATS servers", field: func(c *Config) any { return &c.Network.NATS.CA }},
	{Key: "nats.cert_file", Arg: "file", Help: "certificate (PEM) that the node shows NATS", field: func(c *Config) any { return &c.Network.NATS.Cert }},
	{Key: "nats.key_file", Arg: "file", Help: "key (PEM) of that certificate", field: func(c *Config) any { return &c.Network.NATS.Key }},
	{Key: "nats.prefix", Arg: "subject", Default: "delta.directory", Help: "what subjects begin with", field: func(c *Config) any { return &c.Network.NATS.Prefix }},
	{
		Key: "redis.servers", Arg: "list", valid: isHostPort,
		Help:  "addresses (host:port) of Redis, of the Sentinels, or of some nodes of the Cluster",
		field: func(c *Config) any { return &c.Network.Redis.Servers },
	},
	{Key: "redis.master", Arg: "name", Help: "name of the master that the Sentinels watch", field: func(c *Config) any { return &c.Network.Redis.Master }},
	{Key: "redis.cluster", Default: "false", Help: "the servers are a Redis Cluster", field: func(c *Config) any { return &c.Network.Redis.Cluster }},
	{Key: "redis.user", Arg: "name", Help: "user at Redis", field: func(c *Config) any { return &c.Network.Redis.User }},
	{Key: "redis.password", Arg: "text", secret: true, Help: "password at Redis", field: func(c *Config) any { return &c.Network.Redis.Password }},
	{Key: "redis.sentinel_password", Arg: "text", secret: true, Help: "password at the Sentinels", field: func(c *Config) any { return &c.Network.Redis.SentinelPassword }},
	{Key: "redis.db", Arg: "number", Default: "0", min: 0, max: 1 << 16, Help: "number of the database", field: func(c *Config) any { return &c.Network.Redis.DB }},
	{Key: "redis.tls", Default: "false", Help: "speak TLS with Redis", field: func(c *Config) any { return &c.Network.Redis.TLS }},
	{Key: "redis.ca_file", Arg: "file", Help: "certificates (PEM) that vouch for Redis", field: func(c *Config) any { return &c.Network.Redis.CA }},
	{Key: "redis.prefix", Arg: "text", Default: "delta", Help: "what keys begin with", field: func(c *Config) any { return &c.Network.Redis.Prefix }},
	{
		Key: "embedded.listen", Arg: "host:port", Default: ":6222", valid: isHostPort,
		Help:  "TCP address for the NATS servers of other nodes",
		field: func(c *Config) any { return &c.Network.Embedded.Listen },
	},
	{Key: "embedded.advertise", Arg: "host:port", valid: isHostPort, Help: "where the others reach embedded.listen, if elsewhere", field: func(c *Config) any { return &c.Network.Embedded.Advertise }},
	{Key: "embedded.seeds", Arg: "list", valid: isPeer, Help: "addresses (host or host:port) of other nodes' embedded.listen; two are enough, and none makes this node the first", field: func(c *Config) any { return &c.Network.Embedded.Seeds }},
	{Key: "embedded.password", Arg: "text", secret: true, Help: "what the embedded servers of all nodes know", field: func(c *Config) any { return &c.Network.Embedded.Password }},
	{Key: "embedded.cert_file", Arg: "file", Help: "certificate (PEM) that the embedded server shows the others", field: func(c *Config) any { return &c.Network.Embedded.Cert }},
	{Key: "embedded.key_file", Arg: "file", Help: "key (PEM) of that certificate", field: func(c *Config) any { return &c.Network.Embedded.Key }},
	{Key: "embedded.ca_file", Arg: "file", Help: "certificates (PEM) that vouch for the others", field: func(c *Config) any { return &c.Network.Embedded.CA }},
	{Key: "embedded.server_name", Arg: "name", valid: isDNSName, Help: "name in the others' certificates", field: func(c *Config) any { return &c.Network.Embedded.ServerName }},
}

var serviceOptions = []Option{
	{
		Key: "publishers.codecs", Arg: "list", Else: "all", valid: isCodec,
		Help:  "codecs that may be published, such as video/H264",
		field: func(c *Config) any { return &c.Publishers.Codecs },
	},
	{
		Key: "publishers.grace", Arg: "time", Default: "5s", min: 0, max: day,
		Help:  "how long a stream waits for a publisher that was lost without a goodbye",
		field: func(c *Config) any { return &c.Publishers.Grace },
	},
	{
		Key: "publishers.takeover", Arg: "who", Default: "same", oneOf: []string{"same", "always", "never"},
		Help:  "who may take over a stream that has a publisher: same (who has the same name by its token), always (anybody), never",
		field: func(c *Config) any { return &c.Publishers.Takeover },
	},
	{
		Key: "publishers.fec", Arg: "when", Default: "without-nack", oneOf: []string{"without-nack", "always", "never"},
		Help:  "when publishers are asked for forward error correction of video: without-nack (where they can send nothing again), always, never",
		field: func(c *Config) any { return &c.Publishers.FEC },
	},
	{
		Key: "viewers.start", Arg: "how", Default: "catch-up", oneOf: []string{"catch-up", "snapshot", "ask"},
		Help:  "with what a picture begins: catch-up, still or ask (docs/performance.md, How a viewer begins)",
		field: func(c *Config) any { return &c.Viewers.Start },
	},
	{
		Key: "viewers.wait", Arg: "time", Default: "0s", min: 0, max: day,
		Help:  "how long a viewer may wait for a stream that is not there yet",
		field: func(c *Config) any { return &c.Viewers.Wait },
	},
	{
		Key: "viewers.patience", Arg: "time", Default: "30s", min: 1, max: day,
		Help:  "how long a viewer may lose half of the sound or more before its session ends",
		field: func(c *Config) any { return &c.Viewers.Patience },
	},
}

var iceOptions = []Option{
	{
		Key: "ice.servers", Arg: "list", valid: isICEServer,
		Help:  "STUN and TURN servers that clients are told of, such as turn:turn.example.com:3478",
		field: func(c *Config) any { return &c.ICE.Servers },
	},
	{Key: "ice.username", Arg: "name", Help: "user at the TURN servers, the same for all clients", field: func(c *Config) any { return &c.ICE.Username }},
	{Key: "ice.credential", Arg: "text", secret: true, Help: "password of that user, which all clients are told", field: func(c *Config) any { return &c.ICE.Credential }},
	{
		Key: "ice.secret", Arg: "text", secret: true,
		Help:  "secret that the node shares with the TURN servers (coturn: static-auth-secret), of which each client gets a password for a time",
		field: func(c *Config) any { return &c.ICE.Secret },
	},
	{
		Key: "ice.ttl", Arg: "time", Default: "12h", min: 60, max: 30 * day,
		Help:  "how long such a password is good for",
		field: func(c *Config) any { return &c.ICE.TTL },
	},
}

var tlsOptions = []Option{
	{
		Key: "tls.cert_file", flag: "tls-cert", Arg: "file", Live: true,
		Help:  "certificate chain (PEM); it is read again when the file changes",
		field: func(c *Config) any { return &c.TLS.Cert },
	},
	{
		Key: "tls.key_file", flag: "tls-key", Arg: "file", Live: true,
		Help:  "key (PEM) of the certificate",
		field: func(c *Config) any { return &c.TLS.Key },
	},
	{
		Key: "tls.ca_file", Arg: "file",
		Help:  "certificates (PEM) that vouch for other nodes' HTTPS, beside those of the system",
		field: func(c *Config) any { return &c.TLS.CA },
	},
	{
		Key: "tls.acme.names", Arg: "list", valid: isDNSName,
		Help:  "host names to order a certificate for, by ACME; the first one is the node's",
		field: func(c *Config) any { return &c.TLS.ACME.Names },
	},
	{Key: "tls.acme.email", Arg: "address", Help: "where the authority writes to", field: func(c *Config) any { return &c.TLS.ACME.Email }},
	{Key: "tls.acme.agree", Default: "false", Help: "you agree to the terms of service of the authority", field: func(c *Config) any { return &c.TLS.ACME.Agree }},
	{
		Key: "tls.acme.directory", Arg: "url", Default: "https://acme-v02.api.letsencrypt.org/directory", valid: isHTTP,
		Help:  "directory of the authority",
		field: func(c *Config) any { return &c.TLS.ACME.Directory },
	},
	{Key: "tls.acme.ca_file", Arg: "file", Help: "certificates (PEM) that vouch for the authority's directory", field: func(c *Config) any { return &c.TLS.ACME.CA }},
	{
		Key: "tls.acme.dir", Arg: "directory", Else: "deltanode in the user's configuration directory",
		Help:  "where accounts and certificates are kept; it must last",
		field: func(c *Config) any { return &c.TLS.ACME.Dir },
	},
	{
		Key: "tls.acme.challenges", Arg: "list", Default: "http-01,tls-alpn-01", oneOf: []string{"http-01", "tls-alpn-01"},
		Help:  "how the authority may check that the name is yours: http-01 comes to port 80 (http_redirect), tls-alpn-01 to port 443 (http)",
		field: func(c *Config) any { return &c.TLS.ACME.Challenges },
	},
	{Key: "tls.acme.key_id", Arg: "text", Help: "key ID of an external account, where the authority wants one", field: func(c *Config) any { return &c.TLS.ACME.KeyID }},
	{Key: "tls.acme.key_mac", Arg: "text", secret: true, Help: "MAC key of the external account", field: func(c *Config) any { return &c.TLS.ACME.KeyMAC }},
	{
		Key: "http_redirect", Arg: "host:port", valid: isHostPort,
		Help:  "address for plain HTTP, such as :80, which leads to url and answers http-01",
		field: func(c *Config) any { return &c.HTTP.Redirect },
	},
	{
		Key: "hsts", Arg: "time", Default: "0s", min: 0, max: 10 * 365 * day,
		Help:  "how long browsers shall insist on HTTPS (Strict-Transport-Security); 0: they need not",
		field: func(c *Config) any { return &c.HTTP.HSTS },
	},
}
