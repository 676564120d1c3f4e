// Package acme orders certificates from an authority, and renews them.
package acme

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3/acme"
)

// Config says which certificates are ordered, and how.
type Config struct {
	Names     []string
	Email     string
	Directory string         // URL of the authority's directory
	Roots     *x509.CertPool // who vouches for the directory; nil: the system's
	Dir       string         // where accounts and certificates are kept; "": the user's
	// HTTPPort and TLSPort are where this process answers http-01 and tls-alpn-01; 0: it
	// does not.
	HTTPPort, TLSPort int
	// Host is the address that it listens at; "": all.
	Host          string
	KeyID, KeyMAC string // of an external account
	Logger        *slog.Logger
}

// Manager has the certificates. Its methods may be called concurrently.
type Manager struct {
	config Config
	cache  *certmagic.Cache
	magic  *certmagic.Config
	issuer *certmagic.ACMEIssuer
}

// New returns a Manager that does nothing until Run. Close ends it.
func New(c Config) (*Manager, error) {
	if c.Dir == "" {
		base, err := os.UserConfigDir()
		if err != nil {
			return nil, fmt.Errorf("tls.acme.dir has to say where certificates are kept: %w", err)
		}
		c.Dir = filepath.Join(base, "deltanode")
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("tls.acme.dir: %w", err)
	}
	log := zapLogger(c.Logger)
	m := &Manager{config: c}
	m.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return m.magic, nil },
		Logger:           log,
	})
	m.magic = certmagic.New(m.cache, certmagic.Config{Storage: &certmagic.FileStorage{Path: c.Dir}, Logger: log})
	issuer := certmagic.ACMEIssuer{
		CA: c.Directory, Email: c.Email, Agreed: true, TrustedRoots: c.Roots, Logger: log,
		DisableHTTPChallenge: c.HTTPPort == 0, DisableTLSALPNChallenge: c.TLSPort == 0,
		ListenHost: c.Host, AltHTTPPort: c.HTTPPort, AltTLSALPNPort: c.TLSPort,
	}
	if c.KeyID != "" {
		issuer.ExternalAccount = &acme.EAB{KeyID: c.KeyID, MACKey: c.KeyMAC}
	}
	m.issuer = certmagic.NewACMEIssuer(m.magic, issuer)
	m.magic.Issuers = []certmagic.Issuer{m.issuer}
	return m, nil
}

// TLS returns how to serve the certificates, and tls-alpn-01.
func (m *Manager) TLS() *tls.Config { return m.magic.TLSConfig() }

// HTTP answers http-01, and has next answer the rest.
func (m *Manager) HTTP(next http.Handler) http.Handler { return m.issuer.HTTPChallengeHandler(next) }

// Run orders what is missing, and goes on renewing until ctx ends. The ports have to be
// served already.
func (m *Manager) Run(ctx context.Context) error { return m.magic.ManageAsync(ctx, m.config.Names) }

// Close ends the Manager.
func (m *Manager) Close() { m.cache.Stop() }
