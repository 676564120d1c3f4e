// Package jwtauth decides by JSON Web Tokens (RFC 7519) who may publish, play and
// fetch. A token says by itself what it is good for: streams, actions, until when and
// up to which bitrate. docs/auth-tokens.md has the table of its claims and shows how to
// make one.
package jwtauth

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/internal/outbound"
	"github.com/deltacdn/delta/cdn/internal/revocation"
	"github.com/deltacdn/delta/cdn/internal/strictjson"
)

// maxToken is the longest token that is looked at, in bytes.
const maxToken = 8 << 10

// An Authorizer is a [cdn.Authorizer] for tokens. Nodes that have proved to be nodes
// ([cdn.AuthRequest].Trusted) may fetch without one. Its methods may be called
// concurrently. It must be closed.
type Authorizer struct {
	// static
	config Config
	parser *jwt.Parser
	fixed  []jwt.VerificationKey // keys without a name
	rings  []*keyring
	client *outbound.Client
	cancel context.CancelFunc
	done   sync.WaitGroup

	sessions revocation.Set[string] // by the token's "jti"
	revoked  revocation.Names
}

// New makes an Authorizer, and waits until its key sets have been read, or could not be,
// or ctx is done. A file that cannot be read is an error. A URL that does not answer is
// not: it is logged and asked again after 1 s, 2 s, 4 s and so on up to [Config].Refresh.
// Until it answers, tokens that only it could verify are refused with [ErrKeys]. Errors
// wrap [cdn.ErrInvalid].
func New(ctx context.Context, c Config) (*Authorizer, error) {
	c, u, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	a := &Authorizer{config: c, client: outbound.NewClient(2, c.Transport)}
	if err := a.readFiles(); err != nil {
		return nil, &cdn.Error{Op: "jwtauth", Err: fmt.Errorf("%w: %w", cdn.ErrInvalid, err)}
	}
	options := []jwt.ParserOption{
		jwt.WithValidMethods(c.Algorithms), jwt.WithExpirationRequired(), jwt.WithStrictDecoding(), jwt.WithLeeway(c.Leeway),
	}
	if c.Issuer != "" {
		options = append(options, jwt.WithIssuer(c.Issuer))
	}
	if c.Audience != "" {
		options = append(options, jwt.WithAudience(c.Audience))
	}
	a.parser = jwt.NewParser(options...)

	running, cancel := context.WithCancel(context.Background())
	a.cancel = cancel
	if u != nil {
		a.rings = append(a.rings, newKeyring(c, running.Done(), outbound.Name(u), urlLoader(a.client, u)))
	}
	if c.JWKSFile != "" {
		load := func(context.Context) ([]byte, error) { return readFile(c.JWKSFile) }
		a.rings = append(a.rings, newKeyring(c, running.Done(), c.JWKSFile, load))
	}
	for _, ring := range a.rings {
		ring.begin()
		a.done.Go(func() { ring.run(running) })
	}
	for _, ring := range a.rings {
		ring.wait(ctx)
	}
	return a, nil
}

// readFiles reads what does not change, and looks whether the rest can be read.
func (a *Authorizer) readFiles() error {
	if len(a.config.Secret) > 0 {
		a.fixed = append(a.fixed, slices.Clone(a.config.Secret))
	}
	for _, path := range a.config.PublicKeys {
		keys, err := readPublicKeys(path)
		if err != nil {
			return err
		}
		a.fixed = append(a.fixed, keys...)
	}
	if len(a.fixed) > maxKeys {
		return fmt.Errorf("%d keys, %d are allowed", len(a.fixed), maxKeys)
	}
	if a.config.JWKSFile != "" {
		data, err := readFile(a.config.JWKSFile)
		if err != nil {
			return err
		}
		if _, err := parseSet(data); err != nil {
			return fmt.Errorf("%s: %w", a.config.JWKSFile, err)
		}
	}
	return nil
}

// Authorize decides by the token that r.Credential is.
func (a *Authorizer) Authorize(ctx context.Context, r cdn.AuthRequest) (cdn.Grant, error) {
	if r.Action == cdn.ActionFetch && r.Trusted {
		return cdn.Grant{Subject: string(r.Node)}, nil
	}
	token := r.Credential
	if token == "" && a.config.Parameter != "" {
		token = r.Query.Get(a.config.Parameter)
	}
	if strings.Count(token, ".") != 2 { // another credential, perhaps
		return cdn.Grant{}, refuse(r, ErrNoToken)
	}
	c, err := a.verify(ctx, token)
	if err != nil {
		return cdn.Grant{}, refuse(r, err)
	}
	if !slices.Contains(c.actions, r.Action.String()) {
		return cdn.Grant{}, refuse(r, ErrAction)
	}
	if !slices.ContainsFunc(c.streams, func(p cdn.StreamPattern) bool { return p.Match(r.Stream) }) {
		return cdn.Grant{}, refuse(r, ErrStream)
	}
	g := cdn.Grant{
		Subject: c.subject, ID: c.id, Tag: c.tag, MaxBitrate: c.maxBitrate, Expires: c.expires.Add(a.config.Leeway),
	}
	if c.id == "" {
		return g, nil
	}
	g.Revoked = a.sessions.Context(c.id) // first, so that a Revoke from now on ends it
	if a.revoked.Has(c.id) {
		return cdn.Grant{}, refuse(r, ErrRevoked)
	}
	return g, nil
}

// verify returns the claims of a token that is valid now.
func (a *Authorizer) verify(ctx context.Context, token string) (*claims, error) {
	if err := checkHeader(token); err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrMalformed, err)
	}
	c := &claims{}
	if _, err := a.parser.ParseWithClaims(token, c, func(t *jwt.Token) (any, error) { return a.keysOf(ctx, t) }); err != nil {
		return nil, fmt.Errorf("%w (%s)", reason(err), err.Error())
	}
	return c, nil
}

// checkHeader looks at what the JWT library does not: the length, members that are
// there twice, and extensions that a recipient has to understand (RFC 7515 section
// 4.1.11).
func checkHeader(token string) error {
	if len(token) > maxToken {
		return fmt.Errorf("it has %d bytes, %d are allowed", len(token), maxToken)
	}
	first, _, _ := strings.Cut(token, ".")
	header, err := base64.RawURLEncoding.Strict().DecodeString(first)
	if err != nil {
		return errors.New("its header is not of base64url")
	}
	members, err := strictjson.Object(header)
	if err != nil {
		return fmt.Errorf("its header: %w", err)
	}
	for _, name := range []string{"crit", "b64", "enc", "zip"} {
		if _, ok := members[name]; ok {
			return fmt.Errorf("its header has %q", name)
		}
	}
	return nil
}

// keysOf returns the keys that a token may have been signed with, of those that are
// for its algorithm.
func (a *Authorizer) keysOf(ctx context.Context, t *jwt.Token) (any, error) {
	if kid, ok := t.Header["kid"]; ok {
		if s, ok := kid.(string); !ok || len(s) > maxText {
			return nil, ErrMalformed
		}
	}
	keys, known := a.keysNow(t)
	_, named := t.Header["kid"]
	if len(keys) == 0 && (named || len(fitting(t.Method.Alg(), a.fixed...)) == 0) {
		for _, ring := range a.rings {
			ring.renew(ctx)
		}
		keys, known = a.keysNow(t)
	}
	keys = append(keys, fitting(t.Method.Alg(), a.fixed...)...)
	switch {
	case len(keys) > 0:
		return jwt.VerificationKeySet{Keys: keys}, nil
	case !known:
		return nil, ErrKeys
	}
	return nil, ErrKey
}

// keysNow returns the keys of the sets. known is false if there may be others.
func (a *Authorizer) keysNow(t *jwt.Token) (keys []jwt.VerificationKey, known bool) {
	known = true
	for _, ring := range a.rings {
		more, ok := ring.keys(t)
		keys, known = append(keys, more...), known && ok
	}
	return keys, known
}

// Revoke refuses tokens with that "jti" until a time, which should be their expiry,
// and ends the sessions that have one, with an error wrapping [ErrRevoked]. A zero
// time is for ever. It is known to this Authorizer alone: revoke at every node, and
// again after a restart.
func (a *Authorizer) Revoke(jti string, until time.Time) {
	if jti == "" {
		return
	}
	a.revoked.Add(jti, until)
	a.sessions.Revoke(jti, ErrRevoked)
}

// Close ends the reading of keys and waits for it. Tokens of keys that are known are
// still taken.
func (a *Authorizer) Close() error {
	a.cancel()
	a.done.Wait()
	a.client.Close()
	return nil
}
