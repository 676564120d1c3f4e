package jwtauth

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/internal/outbound"
)

// Config sets up an [Authorizer]. It needs a key at least: JWKS, JWKSFile, PublicKeys
// or Secret. It must not be changed after it was passed.
type Config struct {
	// JWKS is the URL of a JSON Web Key Set (RFC 7517 section 5). It must be https, or
	// http on this machine. Redirects are not followed.
	JWKS string
	// JWKSFile is the path of a file with such a set. It is read again every Refresh.
	JWKSFile string
	// PublicKeys are the paths of PEM files with public keys (RSA, ECDSA, Ed25519) or
	// certificates. They are read once. Their keys have no name, and are tried for
	// tokens whatever "kid" these have.
	PublicKeys []string
	// Secret is a key for HMAC, of 32 bytes at least: 48 for HS384, 64 for HS512.
	Secret []byte

	// Algorithms are the ones that are taken, of RS256, RS384, RS512, PS256, PS384,
	// PS512, ES256, ES384, ES512, EdDSA, HS256, HS384 and HS512. If empty, all. Each
	// goes with keys of its own kind only, whatever a token says.
	Algorithms []string
	// Issuer is what the claim "iss" has to be. If empty, anything.
	Issuer string
	// Audience is what the claim "aud" has to contain. If empty, anything.
	Audience string
	// Leeway is added to "exp" and taken from "nbf", for clocks that differ. A session
	// ends at "exp" plus Leeway. If zero, none.
	Leeway time.Duration
	// Parameter names the parameter of the URL that has the token of clients that
	// cannot send a header. URLs end up in logs and histories: a header is better. If
	// empty, there is none.
	Parameter string

	// Refresh is how often the key sets are read again. If zero, 15 min.
	Refresh time.Duration
	// Between is the least time between two readings. A token with an unknown "kid"
	// causes one, and waits for it, unless the last was within that time. If zero, 30 s.
	Between time.Duration
	// Timeout bounds one request for the key set. If zero, 5 s.
	Timeout time.Duration
	// AllowPlain allows http for JWKS on other machines. Who can change what is on the
	// way can then make tokens.
	AllowPlain bool
	// Transport makes the requests for JWKS. If nil, one of its own.
	Transport http.RoundTripper
	// Logger gets what an operator should know. If nil, nothing is logged.
	Logger *slog.Logger
}

func (c Config) withDefaults() (Config, *url.URL, error) {
	fail := func(format string, args ...any) (Config, *url.URL, error) {
		return c, nil, &cdn.Error{Op: "jwtauth", Err: fmt.Errorf("%w: "+format, append([]any{cdn.ErrInvalid}, args...)...)}
	}
	if c.JWKS == "" && c.JWKSFile == "" && len(c.PublicKeys) == 0 && len(c.Secret) == 0 {
		return fail("there is no key: give a JWKS, public keys or a secret")
	}
	if n := len(c.Secret); n > 0 && n < minSecret {
		return fail("the secret has %d bytes, %d are needed", len(c.Secret), minSecret)
	}
	for _, alg := range c.Algorithms {
		if !slices.Contains(algorithms, alg) {
			return fail("algorithm %.40q is not known", alg)
		}
	}
	if len(c.Algorithms) == 0 {
		c.Algorithms = algorithms
	}
	if c.Leeway < 0 {
		return fail("a leeway of %v", c.Leeway)
	}
	var u *url.URL
	if c.JWKS != "" {
		var err error
		if u, err = outbound.CheckURL(c.JWKS, c.AllowPlain); err != nil {
			return fail("the URL of the JWKS: %w", err)
		}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	setDefault(&c.Refresh, 15*time.Minute)
	setDefault(&c.Between, 30*time.Second)
	setDefault(&c.Timeout, 5*time.Second)
	return c, u, nil
}

func setDefault(d *time.Duration, def time.Duration) {
	if *d <= 0 {
		*d = def
	}
}
