package config

var authOptions = []Option{
	{
		Key: "auth.open", Arg: "list", oneOf: []string{"publish", "play"},
		Help:  "what anybody may do without a credential, though others are asked for one: publish, play",
		field: func(c *Config) any { return &c.Auth.Open },
	},
	{
		Key: "auth.publish_token", Arg: "text", secret: true,
		Help:  "bearer token (OBS: stream key) with which any stream can be published, of 16 characters at least",
		field: func(c *Config) any { return &c.Auth.PublishToken },
	},
	{
		Key: "auth.play_token", Arg: "text", secret: true,
		Help:  "bearer token with which any stream can be played, of 16 characters at least",
		field: func(c *Config) any { return &c.Auth.PlayToken },
	},
	{
		Key: "auth.url_keys", Arg: "keys", secret: true, lines: true, valid: isURLKey,
		Help:  "keys of signed URLs, each as ID:SECRET, in lines of their own; the first one signs (docs/auth.md)",
		field: func(c *Config) any { return &c.Auth.URLKeys },
	},
	{Key: "auth.jwt.jwks_url", Arg: "url", valid: isHTTP, Help: "JSON Web Key Set with the keys that sign tokens (docs/auth-tokens.md)", field: func(c *Config) any { return &c.Auth.JWT.JWKS }},
	{Key: "auth.jwt.jwks_file", Arg: "file", Help: "file with such a set", field: func(c *Config) any { return &c.Auth.JWT.JWKSFile }},
	{Key: "auth.jwt.public_keys", Arg: "files", Help: "files (PEM) with public keys or certificates that sign tokens", field: func(c *Config) any { return &c.Auth.JWT.PublicKeys }},
	{Key: "auth.jwt.secret", Arg: "text", secret: true, Help: "key for HMAC that signs tokens, of 32 characters at least", field: func(c *Config) any { return &c.Auth.JWT.Secret }},
	{
		Key: "auth.jwt.algorithms", Arg: "list", Else: "all",
		oneOf: []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "HS256", "HS384", "HS512"},
		Help:  "algorithms that are taken, such as ES256",
		field: func(c *Config) any { return &c.Auth.JWT.Algorithms },
	},
	{Key: "auth.jwt.issuer", Arg: "text", Else: "any", Help: "what the claim iss of a token has to be", field: func(c *Config) any { return &c.Auth.JWT.Issuer }},
	{Key: "auth.jwt.audience", Arg: "text", Else: "any", Help: "what the claim aud of a token has to have", field: func(c *Config) any { return &c.Auth.JWT.Audience }},
	{Key: "auth.jwt.leeway", Arg: "time", Default: "0s", min: 0, max: day, Help: "how much clocks may differ", field: func(c *Config) any { return &c.Auth.JWT.Leeway }},
	{Key: "auth.jwt.parameter", Arg: "name", Help: "parameter of the URL, besides access_token, that has the token of clients that cannot send a header", field: func(c *Config) any { return &c.Auth.JWT.Parameter }},
	{Key: "auth.jwt.refresh", Arg: "time", Default: "15m", min: 1, max: day, Help: "how often key sets are read again", field: func(c *Config) any { return &c.Auth.JWT.Refresh }},
	{Key: "auth.jwt.allow_plain", Default: "false", Help: "allow http: for jwks_url on other machines, though whoever is on the way can make tokens then", field: func(c *Config) any { return &c.Auth.JWT.AllowPlain }},
	{Key: "auth.hook.url", Arg: "url", valid: isHTTP, Help: "URL that decides who may publish and play (docs/auth-tokens.md)", field: func(c *Config) any { return &c.Auth.Hook.URL }},
	{Key: "auth.hook.secrets", Arg: "secrets", secret: true, lines: true, Help: "secrets (whsec_…) that sign what it is asked, in lines of their own", field: func(c *Config) any { return &c.Auth.Hook.Secrets }},
	{Key: "auth.hook.parameters", Arg: "list", Else: "all", Help: "parameters of the client's URL that it is told", field: func(c *Config) any { return &c.Auth.Hook.Parameters }},
	{Key: "auth.hook.timeout", Arg: "time", Default: "3s", min: 0.001, max: 60, Help: "how long it may take to answer", field: func(c *Config) any { return &c.Auth.Hook.Timeout }},
	{Key: "auth.hook.recheck", Arg: "time", Default: "30s", min: 0, max: day, Help: "how often it is asked again about sessions that run; 0: never", field: func(c *Config) any { return &c.Auth.Hook.Recheck }},
	{Key: "auth.hook.allow_plain", Default: "false", Help: "allow http: on another machine, though whoever is on the way can read tokens and let in anybody then", field: func(c *Config) any { return &c.Auth.Hook.AllowPlain }},
	{
		Key: "auth.access_file", Arg: "file", Live: true,
		Help:  "access list (JSON, docs/auth.md); it is read again at SIGHUP",
		field: func(c *Config) any { return &c.Auth.Access },
	},
}

var adminOptions = []Option{
	{
		Key: "admin.http", Arg: "host:port", Default: "127.0.0.1:9080", valid: isOff(isHostPort),
		Help:  "address for operators: metrics, profiles and the admin API; off: none. At another than a loopback address it needs a token",
		field: func(c *Config) any { return &c.Admin.Addr },
	},
	{
		Key: "admin.token", Arg: "text", secret: true,
		Help:  "token with which operators may look and change things there, of 16 characters at least",
		field: func(c *Config) any { return &c.Admin.Token },
	},
	{
		Key: "admin.read_token", Arg: "text", secret: true,
		Help:  "token with which one may look and change nothing, as for metrics",
		field: func(c *Config) any { return &c.Admin.ReadToken },
	},
	{
		Key: "admin.pages", Default: "true",
		Help:  "have the admin API answer at http as well, for the node's own console, if admin.token is set: to those with a token",
		field: func(c *Config) any { return &c.Admin.Pages },
	},
	{
		Key: "admin.pprof", Default: "true",
		Help:  "serve profiles of the process at /debug/pprof/ there",
		field: func(c *Config) any { return &c.Admin.PProf },
	},
}

var seenOptions = []Option{
	{
		Key: "webhooks.urls", Arg: "list", valid: isHTTP,
		Help:  "URLs that are told who publishes, who plays and what ended (docs/webhooks.md)",
		field: func(c *Config) any { return &c.Webhooks.URLs },
	},
	{
		Key: "webhooks.secrets", Arg: "secrets", secret: true, lines: true,
		Help:  "secrets (whsec_…) that sign the messages, in lines of their own; a receiver needs to know one of them",
		field: func(c *Config) any { return &c.Webhooks.Secrets },
	},
	{
		Key: "webhooks.events", Arg: "list", Else: "all", oneOf: []string{"publish", "play", "ended", "slow"},
		Help:  "what is told: publish, play, ended, slow",
		field: func(c *Config) any { return &c.Webhooks.Events },
	},
	{
		Key: "webhooks.allow_plain", Default: "false",
		Help:  "allow http: URLs on other machines, though whoever is on the way can read them",
		field: func(c *Config) any { return &c.Webhooks.AllowPlain },
	},
	{
		Key: "tracing.endpoint", Arg: "url", valid: isHTTP,
		Help:  "URL of an OpenTelemetry collector (OTLP over HTTP), such as http://127.0.0.1:4318/v1/traces",
		field: func(c *Config) any { return &c.Tracing.Endpoint },
	},
	{
		Key: "tracing.headers", Arg: "headers", secret: true, lines: true, valid: isHeader,
		Help:  "headers of what is sent there, each as NAME=VALUE, in lines of their own",
		field: func(c *Config) any { return &c.Tracing.Headers },
	},
	{
		Key: "tracing.ratio", Arg: "share", Default: "1", min: 0, max: 1,
		Help:  "share of the traces that begin here which are kept, from 0 to 1",
		field: func(c *Config) any { return &c.Tracing.Ratio },
	},
}
