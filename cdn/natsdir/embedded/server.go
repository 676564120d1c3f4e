// Package embedded runs a NATS server in the node's own process, for networks that have
// no NATS: the servers of all nodes form a cluster by themselves. A node needs the
// address of any other one; of the rest the servers tell each other. There is no
// quorum, no disk and no JetStream, and no node is special.
package embedded

import (
	"cmp"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/natsdir"
)

const (
	// DefaultCluster is the name of the cluster if [Config] does not say.
	DefaultCluster = "delta"
	// DefaultPort is the port of addresses without one.
	DefaultPort = 6222

	clientUser  = "node"
	startWithin = 5 * time.Second
	// A server of which nothing is heard is given up after three of these.
	pingEvery = 2 * time.Second
	// implicitTries is for how many seconds a server is looked for that was lost, if it
	// is no seed.
	implicitTries = 3600
)

// Config is what a [Server] is made with.
type Config struct {
	// Name is the server's name, which is unique in the cluster: the node's ID. If
	// empty, it is random.
	Name string
	// Cluster is the name of the cluster, the same for all nodes. If empty,
	// [DefaultCluster].
	Cluster string
	// Listen is where other nodes' servers connect to: "host:port", ":port" for all
	// addresses, or a host alone for [DefaultPort]. Port 0 is any free one
	// ([Server.Addr]). If empty, all addresses and the default port.
	Listen string
	// Advertise is the address that other nodes are told, if they reach Listen by
	// another one.
	Advertise string
	// Seeds are addresses of other nodes, at least one that is running, unless this node
	// is the first; the node's own does no harm. They are tried for ever.
	Seeds []string
	// User and Password are what nodes show each other, the same for all of them. They
	// travel as they are if there is no TLS.
	User, Password string
	// TLS secures what nodes say to each other, in both directions: it needs
	// Certificates, and RootCAs, by which the other side's certificate is checked,
	// whichever side has dialled. Nodes learn each other's IP addresses: if the
	// certificates are for a name, TLS.ServerName says which.
	TLS *tls.Config
	// Logger gets what an operator should know. If nil, nothing is logged.
	Logger *slog.Logger
}

// A Server is a NATS server in this process, one of a cluster. Its methods may be
// called concurrently.
type Server struct {
	server *server.Server
	log    *logger
	secret string      // of those who connect as clients
	met    atomic.Bool // there has been a route to another server
	closed sync.Once
}

// Start starts a server. It does not wait for other nodes, which may start later. The
// caller closes it.
//
// Start fails with an error wrapping [cdn.ErrInvalid] for a Config that makes no sense.
// One without TLS and without a password is of that kind, unless it listens on a
// loopback address: everybody who reaches the port could announce streams.
func Start(c Config) (*Server, error) {
	s, err := start(c)
	if err != nil {
		return nil, &cdn.Error{Op: "start NATS server", Err: err}
	}
	return s, nil
}

func start(c Config) (*Server, error) {
	o, err := c.options()
	if err != nil {
		return nil, err
	}
	s := &Server{log: newLogger(c.Logger), secret: o.Password}
	if s.server, err = server.NewServer(o); err != nil {
		return nil, fmt.Errorf("%w: %w", cdn.ErrInvalid, err)
	}
	s.server.SetLoggerV2(s.log, false, false, false)
	s.server.Start()
	for deadline := time.Now().Add(startWithin); !s.server.ReadyForConnections(100 * time.Millisecond); {
		if err := s.log.fatal.Load(); err != nil {
			s.shutdown()
			return nil, *err
		}
		if time.Now().After(deadline) {
			s.shutdown()
			return nil, fmt.Errorf("%w: the server is not ready after %v", cdn.ErrTimeout, startWithin)
		}
	}
	return s, nil
}

func (c Config) options() (*server.Options, error) {
	host, port, err := address(cmp.Or(c.Listen, ":"+strconv.Itoa(DefaultPort)), true)
	if err != nil {
		return nil, fmt.Errorf("field Listen: %w", err)
	}
	if c.Advertise != "" {
		h, p, err := address(c.Advertise, false)
		if err != nil {
			return nil, fmt.Errorf("field Advertise: %w", err)
		}
		c.Advertise = net.JoinHostPort(h, strconv.Itoa(p))
	}
	switch {
	case (c.User == "") != (c.Password == ""):
		return nil, fmt.Errorf("%w: a user without a password, or a password without a user", cdn.ErrInvalid)
	case c.TLS == nil && c.Password == "" && !isLoopback(host):
		return nil, fmt.Errorf("%w: neither TLS nor a password, and %q is no loopback address", cdn.ErrInvalid, host)
	case c.TLS != nil && (len(c.TLS.Certificates) == 0 && c.TLS.GetCertificate == nil || c.TLS.RootCAs == nil):
		return nil, fmt.Errorf("%w: TLS without a certificate or without RootCAs", cdn.ErrInvalid)
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	o := &server.Options{
		ServerName: c.Name, NoSigs: true, NoLog: true, NoSystemAccount: true,
		// The server does not connect to others if it takes no clients by a socket. It
		// takes them on a loopback address, and nobody but this process has the secret.
		Host: "127.0.0.1", Port: server.RANDOM_PORT, Username: clientUser, Password: rand.Text(),
		Cluster: server.ClusterOpts{
			Name: cmp.Or(c.Cluster, DefaultCluster), Host: cmp.Or(host, "0.0.0.0"), Port: port, Advertise: c.Advertise,
			Username: c.User, Password: c.Password, TLSConfig: mutual(c.TLS), TLSTimeout: 2, AuthTimeout: 2,
			NoAdvertise: true, PoolSize: -1, PingInterval: pingEvery, MaxPingsOut: 2, ConnectRetries: implicitTries,
		},
	}
	for _, seed := range c.Seeds {
		h, p, err := address(seed, false)
		if err != nil {
			return nil, fmt.Errorf("field Seeds: %w", err)
		}
		u := &url.URL{Scheme: "nats", Host: net.JoinHostPort(h, strconv.Itoa(p))}
		if c.User != "" {
			u.User = url.UserPassword(c.User, c.Password)
		}
		o.Routes = append(o.Routes, u)
	}
	return o, nil
}

// address reads a host and a port, which may be missing. Any host, and any port, is
// one to listen on.
func address(s string, any bool) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(s)
	if err != nil {
		host, text = strings.Trim(s, "[]"), strconv.Itoa(DefaultPort)
		if ip, err := netip.ParseAddr(host); strings.Contains(host, ":") && (err != nil || !ip.Is6()) {
			return "", 0, fmt.Errorf("%w: %q is no address", cdn.ErrInvalid, s)
		}
	}
	port, err = strconv.Atoi(text)
	if err != nil || port < 0 || port > 65535 || port == 0 && !any || host == "" && !any || strings.ContainsAny(host, " /@?#") {
		return "", 0, fmt.Errorf("%w: %q is no address", cdn.ErrInvalid, s)
	}
	return host, port, nil
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// mutual returns c as it is used between servers: both sides show a certificate.
func mutual(c *tls.Config) *tls.Config {
	if c == nil {
		return nil
	}
	c = c.Clone()
	c.ClientAuth = tls.RequireAndVerifyClientCert
	if c.ClientCAs == nil {
		c.ClientCAs = c.RootCAs
	}
	if c.MinVersion == 0 {
		c.MinVersion = tls.VersionTLS12
	}
	return c
}

// Connect returns a connection to the server that crosses no network, made with
// [natsdir.Options]. The caller closes it, ahead of the server. Further options come
// after those.
func (s *Server) Connect(options ...nats.Option) (*nats.Conn, error) {
	all := append(natsdir.Options(), nats.InProcessServer(s.server), nats.Name(s.server.Name()), nats.UserInfo(clientUser, s.secret))
	nc, err := nats.Connect("", append(all, options...)...)
	if err != nil {
		return nil, &cdn.Error{Op: "connect to the NATS server", Err: err}
	}
	return nc, nil
}

// Reaches reports whether there is a connection to another node's server, or there has
// never been one. It is for [natsdir.Config].Reaches.
func (s *Server) Reaches() bool {
	if s.server.NumRoutes() > 0 {
		s.met.Store(true)
		return true
	}
	return !s.met.Load()
}

// Servers returns how many servers of other nodes this one is connected to.
func (s *Server) Servers() int { return s.server.NumRoutes() }

// Addr returns where other nodes' servers connect to.
func (s *Server) Addr() netip.AddrPort {
	if a := s.server.ClusterAddr(); a != nil {
		p := a.AddrPort()
		return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
	}
	return netip.AddrPort{}
}

// Close ends the server and waits for that. It is idempotent.
func (s *Server) Close() error {
	s.closed.Do(s.shutdown)
	return nil
}

func (s *Server) shutdown() {
	s.server.Shutdown()
	s.server.WaitForShutdown()
}

// A logger gives the server's log to a [slog.Logger]. What a server calls fatal ends
// no process here, but Start.
type logger struct {
	to    *slog.Logger
	fatal atomic.Pointer[error]
}

func newLogger(to *slog.Logger) *logger {
	if to == nil {
		to = slog.New(slog.DiscardHandler)
	}
	return &logger{to: to}
}

func (l *logger) Noticef(format string, v ...any) {
	l.to.Debug("NATS server", "says", fmt.Sprintf(format, v...))
}

func (l *logger) Warnf(format string, v ...any) {
	l.to.Warn("NATS server", "says", fmt.Sprintf(format, v...))
}

func (l *logger) Errorf(format string, v ...any) {
	l.to.Warn("NATS server", "says", fmt.Sprintf(format, v...))
}

func (l *logger) Fatalf(format string, v ...any) {
	err := fmt.Errorf(format, v...)
	l.to.Error("NATS server", "err", err)
	l.fatal.CompareAndSwap(nil, &err)
}

func (l *logger) Debugf(string, ...any) {}

func (l *logger) Tracef(string, ...any) {}
