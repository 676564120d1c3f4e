// Package config reads how a node is set up: from a YAML file, the environment and
// flags. All three, the help and the reference in docs/deltanode.md are made of one
// table, [Options].
package config

import (
	"net/netip"
	"time"

	"github.com/deltacdn/delta/cdn"
)

// Config is how a node is set up. The fields are described by [Options].
type Config struct {
	Node       Node
	HTTP       HTTP
	TLS        TLS
	Media      Media
	ICE        ICE
	Network    Network
	Publishers Publishers
	Viewers    Viewers
	Limits     cdn.Limits
	Auth       Auth
	Webhooks   Webhooks
	Tracing    Tracing
	Admin      Admin
	Log        Log

	// File is the configuration file that was read, or "".
	File string
	// Warnings are what an operator should know of the configuration itself, such as
	// secrets that others can read.
	Warnings []string

	sources map[string]source // of what was set, by key
}

// Node is what the node is.
type Node struct {
	Roles    Roles
	Name     string
	Group    string
	Capacity float64 // packets a second
	Drain    time.Duration
	Demo     bool
}

// Roles are what the node does.
type Roles struct{ Origin, Relay, Edge bool }

// HTTP is how the node's pages and signaling are served.
type HTTP struct {
	Addr        string // host:port
	URL         string
	Proxies     []netip.Prefix
	AllowOrigin string
	Redirect    string // host:port
	HSTS        time.Duration
}

// TLS is where certificates come from.
type TLS struct {
	Cert, Key string // files
	CA        string // file, of those who sign other nodes' certificates
	ACME      ACME
}

// On reports whether the node serves HTTPS.
func (t TLS) On() bool { return t.Cert != "" || len(t.ACME.Names) > 0 }

// ACME is how certificates are ordered.
type ACME struct {
	Names      []string
	Email      string
	Agree      bool
	Directory  string // the URL of the authority's directory
	CA         string // file, of those who sign the authority's own certificate
	Dir        string // where certificates are kept
	Challenges []string
	KeyID      string // of an external account
	KeyMAC     string
}

// Media is where media arrives.
type Media struct {
	UDP     string   // host:port
	TCP     string   // host:port, for clients without UDP; "": none
	Public  []string // addresses and host names
	Refresh time.Duration
}

// ICE is what clients are told of STUN and TURN servers.
type ICE struct {
	Servers    []string
	Username   string
	Credential string
	Secret     string
	TTL        time.Duration
}

// Network is how the node and others find and know each other.
type Network struct {
	Entry     []string
	Directory string
	Secret    string
	DNS       DNS
	NATS      NATS
	Redis     Redis
	Embedded  Embedded
}

// Shared reports whether all nodes announce themselves in the directory.
func (n Network) Shared() bool {
	return n.Directory == "nats" || n.Directory == "redis" || n.Directory == "embedded"
}

// DNS is how names of points of entry are looked up.
type DNS struct {
	Refresh time.Duration
}

// NATS is the directory on NATS.
type NATS struct {
	Servers        []string
	User, Password string
	Token          string
	Credentials    string // file
	CA             string // file
	Cert, Key      string // files
	Prefix         string
}

// Redis is the directory on Redis.
type Redis struct {
	Servers                          []string
	Master                           string
	Cluster                          bool
	User, Password, SentinelPassword string
	DB                               int
	TLS                              bool
	CA                               string // file
	Prefix                           string
}

// Embedded is the directory on NATS servers in the nodes themselves.
type Embedded struct {
	Listen, Advertise string
	Seeds             []string
	Password          string
	Cert, Key, CA     string // files
	ServerName        string
}

// Publishers is how publishers are treated.
type Publishers struct {
	Codecs   []string
	Grace    time.Duration
	Takeover string
	FEC      string
}

// Viewers is how viewers are treated.
type Viewers struct {
	Start    string
	Wait     time.Duration
	Patience time.Duration
}

// Auth is who may do what.
type Auth struct {
	Open         []string // what needs no credential
	PublishToken string
	PlayToken    string
	URLKeys      string // lines or words, of "ID:SECRET"
	JWT          JWT
	Hook         Hook
	Access       string // file
}

// On reports whether anything needs a credential.
func (a Auth) On() bool {
	return a.PublishToken != "" || a.PlayToken != "" || a.URLKeys != "" || a.JWT.On() || a.Hook.URL != ""
}

// JWT is whose tokens are taken.
type JWT struct {
	JWKS, JWKSFile   string
	PublicKeys       []string // files
	Secret           string
	Algorithms       []string
	Issuer, Audience string
	Leeway, Refresh  time.Duration
	Parameter        string
	AllowPlain       bool
}

// On reports whether tokens are taken.
func (j JWT) On() bool {
	return j.JWKS != "" || j.JWKSFile != "" || len(j.PublicKeys) > 0 || j.Secret != ""
}

// Hook is the server that decides.
type Hook struct {
	URL              string
	Secrets          string // lines or words
	Parameters       []string
	Timeout, Recheck time.Duration
	AllowPlain       bool
}

// Webhooks is who is told what happens.
type Webhooks struct {
	URLs       []string
	Secrets    string // lines or words
	Events     []string
	AllowPlain bool
}

// Tracing is where traces go.
type Tracing struct {
	Endpoint string // URL
	Headers  string // lines of NAME=VALUE
	Ratio    float64
}

// Admin is the listener for operators.
type Admin struct {
	Addr             string // host:port, or "off"
	Token, ReadToken string
	Pages, PProf     bool
}

// Log is what is logged, and how.
type Log struct {
	Format  string
	Level   string
	Verbose bool
}
