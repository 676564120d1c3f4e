// Package urlauth lets in whoever shows a URL that was signed for it: with HMAC-SHA256
// (RFC 2104), by whoever knows one of the keys, such as a web shop that sells a stream.
// A client needs nothing but the URL, so players and encoders that cannot send a token
// can use it.
//
// The signed parameters stand in the URL's query, beside any others:
//
//	delta-actions   what it allows: publish, play or fetch, separated by commas, in this order
//	delta-streams   a [cdn.StreamPattern] of the streams
//	delta-expires   the second of its end, since 1970 (Unix time)
//	delta-bitrate   [cdn.Grant].MaxBitrate
//	delta-subject   [cdn.Grant].Subject
//	delta-tag       [cdn.Grant].Tag
//	delta-id        [cdn.Grant].ID, by which it can be revoked
//	delta-address   the prefix of addresses that it may be used from
//	delta-key       the ID of the key
//	delta-signature the signature, in unpadded base64url (RFC 4648 section 5)
//
// The signature is over the text "delta-url-1\n" and then, for each of the other
// parameters that is present, in the order of this list, its name, "=", its value's
// length in bytes as a decimal number, ":", the value before it is escaped, and "\n".
// Scheme, host and path are not signed: a URL that is redirected to another node stays
// good. What such a URL allows lasts for as long as it says; keep it as secret as a token.
package urlauth

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/internal/revocation"
)

// A Key signs URLs.
type Key struct {
	ID     string // in the URL, so that keys can be changed one after another; no secret
	Secret []byte // [MinSecret] bytes at least, from a source of random numbers
}

// MinSecret is the least length of a [Key]'s secret, in bytes.
const MinSecret = 16

// maxValue is the longest value of a parameter, in bytes.
const maxValue = 512

// A Permit is what a signed URL allows.
type Permit struct {
	Actions []cdn.Action      // at least one
	Streams cdn.StreamPattern // must not be empty; all are "**"
	// Expires is when the URL is no good any more, and sessions that were made with it
	// end. It counts in whole seconds and must be set.
	Expires    time.Time
	MaxBitrate int // as in [cdn.Grant], bits a second. Zero: no bound
	Subject    string
	Tag        string
	ID         string
	// Address limits the URL to clients whose signaling comes from there. The zero value
	// does not.
	Address netip.Prefix
}

// An Authority signs URLs, and as a [cdn.Authorizer] lets in who shows one. Its methods
// may be called concurrently.
type Authority struct {
	keys  map[string][]byte // static
	signs Key               // static

	mu      sync.Mutex
	revoked map[string]struct{}    // by ID
	live    revocation.Set[string] // sessions, by the ID of their permit
}

// New returns an authority that signs with the first of the keys, and takes what any of
// them has signed. To change keys, put the new one second on all nodes, then first, and
// leave the old one out once all that it has signed is over. A malformed key is refused
// with an error that wraps [cdn.ErrInvalid].
func New(keys ...Key) (*Authority, error) {
	if len(keys) == 0 {
		return nil, fmt.Errorf("%w: signed URLs need a key", cdn.ErrInvalid)
	}
	a := &Authority{keys: make(map[string][]byte), revoked: make(map[string]struct{})}
	for _, k := range keys {
		switch {
		case k.ID == "" || len(k.ID) > maxValue:
			return nil, fmt.Errorf("%w: a key for signed URLs needs an ID", cdn.ErrInvalid)
		case a.keys[k.ID] != nil:
			return nil, fmt.Errorf("%w: two keys for signed URLs have the ID %.40q", cdn.ErrInvalid, k.ID)
		case len(k.Secret) < MinSecret:
			return nil, fmt.Errorf("%w: the secret of key %.40q has %d bytes, and needs %d", cdn.ErrInvalid, k.ID, len(k.Secret), MinSecret)
		}
		a.keys[k.ID] = bytes.Clone(k.Secret)
	}
	a.signs = Key{keys[0].ID, a.keys[keys[0].ID]}
	return a, nil
}

// The parameters.
const (
	paramActions   = "delta-actions"
	paramStreams   = "delta-streams"
	paramExpires   = "delta-expires"
	paramBitrate   = "delta-bitrate"
	paramSubject   = "delta-subject"
	paramTag       = "delta-tag"
	paramID        = "delta-id"
	paramAddress   = "delta-address"
	paramKey       = "delta-key"
	paramSignature = "delta-signature"
)

// signed are the parameters that are signed, in that order.
var signed = []string{
	paramActions, paramStreams, paramExpires, paramBitrate, paramSubject, paramTag, paramID, paramAddress, paramKey,
}

// Sign returns rawURL with the parameters of a signed URL for p. Its other parameters
// stay; those of a signature that it had are replaced. It fails with an error that wraps
// [cdn.ErrInvalid] if p or the URL is malformed.
func (a *Authority) Sign(rawURL string, p Permit) (string, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return "", fmt.Errorf("%w: the URL to be signed cannot be read", cdn.ErrInvalid) // url's error has all of it
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return "", fmt.Errorf("%w: the query of the URL to be signed cannot be read", cdn.ErrInvalid)
	}
	if err := p.check(); err != nil {
		return "", err
	}
	for _, name := range append(slices.Clone(signed), paramSignature) {
		query.Del(name)
	}
	for name, value := range p.values() {
		query.Set(name, value)
	}
	query.Set(paramKey, a.signs.ID)
	query.Set(paramSignature, base64.RawURLEncoding.EncodeToString(sum(a.signs.Secret, query)))
	u.RawQuery = query.Encode()
	return u.String(), nil
}

func (p Permit) check() error {
	fail := func(why string) error { return fmt.Errorf("%w: permit: %s", cdn.ErrInvalid, why) }
	if len(p.Actions) == 0 {
		return fail("it has no actions")
	}
	for _, action := range p.Actions {
		if _, err := cdn.ParseAction(action.String()); err != nil {
			return fmt.Errorf("permit: %w", err)
		}
	}
	if _, err := cdn.ParseStreamPattern(string(p.Streams)); err != nil {
		return fmt.Errorf("permit: %w", err)
	}
	switch {
	case p.Expires.Unix() <= 0:
		return fail("it has no end")
	case p.MaxBitrate < 0:
		return fail("its bitrate is negative")
	case max(len(p.Subject), len(p.Tag), len(p.ID)) > maxValue:
		return fail("a text of it is too long")
	case p.Address != (netip.Prefix{}) && !canonical(p.Address):
		return fail("its address is no prefix, or has bits beyond its length")
	}
	return nil
}

// canonical reports whether there is no other way to write the prefix.
func canonical(p netip.Prefix) bool {
	return p.IsValid() && p == p.Masked() && !p.Addr().Is4In6()
}

// values are the parameters but for the key's.
func (p Permit) values() map[string]string {
	actions := slices.Compact(slices.Sorted(slices.Values(p.Actions)))
	names := make([]string, len(actions))
	for i, action := range actions {
		names[i] = action.String()
	}
	v := map[string]string{
		paramActions: strings.Join(names, ","), paramStreams: string(p.Streams),
		paramExpires: strconv.FormatInt(p.Expires.Unix(), 10), paramSubject: p.Subject, paramTag: p.Tag, paramID: p.ID,
	}
	if p.MaxBitrate > 0 {
		v[paramBitrate] = strconv.Itoa(p.MaxBitrate)
	}
	if p.Address.IsValid() {
		v[paramAddress] = p.Address.String()
	}
	maps.DeleteFunc(v, func(_, value string) bool { return value == "" })
	return v
}

// sum returns the signature of what the query has.
func sum(secret []byte, query url.Values) []byte {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("delta-url-1\n"))
	for _, name := range signed {
		if v, ok := query[name]; ok {
			fmt.Fprintf(mac, "%s=%d:%s\n", name, len(v[0]), v[0])
		}
	}
	return mac.Sum(nil)
}

// An Error says what is wrong with a signed URL. It wraps [cdn.ErrUnauthorized] or
// [cdn.ErrForbidden], and holds nothing that is secret.
type Error struct {
	Key string // the ID of the key, "" if it is not known
	ID  string // of the permit, "" unless the signature is good
	Err error
}

func (e *Error) Error() string {
	text := "signed URL"
	if e.ID != "" {
		text += fmt.Sprintf(" %.80q", e.ID)
	}
	if e.Key != "" {
		text += fmt.Sprintf(" of key %.80q", e.Key)
	}
	return text + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// Authorize implements [cdn.Authorizer]. A request whose URL has none of the parameters
// is refused with [cdn.ErrUnknownCredential]. Nodes that have proved to be such may fetch.
func (a *Authority) Authorize(_ context.Context, r cdn.AuthRequest) (cdn.Grant, error) {
	if r.Action == cdn.ActionFetch && r.Trusted {
		return cdn.Grant{Subject: string(r.Node)}, nil
	}
	p, key, err := a.read(r.Query)
	if err != nil {
		return cdn.Grant{}, &Error{Key: key, Err: err}
	}
	if err := p.allows(r); err != nil {
		return cdn.Grant{}, &Error{Key: key, ID: p.ID, Err: err}
	}
	g := cdn.Grant{Subject: p.Subject, Tag: p.Tag, ID: p.ID, Expires: p.Expires, MaxBitrate: p.MaxBitrate}
	if g.Revoked, err = a.permit(p); err != nil {
		return cdn.Grant{}, &Error{Key: key, ID: p.ID, Err: err}
	}
	return g, nil
}

// read returns what the query permits, if its signature is good, and the ID of its key
// if that is known.
func (a *Authority) read(query url.Values) (p Permit, key string, err error) {
	malformed := func(name string) (Permit, string, error) {
		return Permit{}, key, fmt.Errorf("%w: the parameter %s is malformed", cdn.ErrUnauthorized, name)
	}
	found := false
	for _, name := range append(slices.Clone(signed), paramSignature) {
		v, ok := query[name]
		found = found || ok
		if ok && (len(v) != 1 || v[0] == "" || len(v[0]) > maxValue) {
			return malformed(name)
		}
	}
	if !found {
		return p, "", cdn.ErrUnknownCredential
	}
	given, err := base64.RawURLEncoding.Strict().DecodeString(query.Get(paramSignature))
	if err != nil {
		return malformed(paramSignature)
	}
	secret, ok := a.keys[query.Get(paramKey)]
	if !ok {
		return p, "", fmt.Errorf("%w: no key of that ID is known", cdn.ErrUnauthorized)
	}
	key = query.Get(paramKey)
	if !hmac.Equal(given, sum(secret, query)) {
		return p, key, fmt.Errorf("%w: the signature is wrong", cdn.ErrUnauthorized)
	}
	for _, field := range p.fields() {
		if v := query.Get(field.name); v != "" && field.read(v) != nil {
			return malformed(field.name)
		}
	}
	if p.check() != nil {
		return Permit{}, key, fmt.Errorf("%w: what was signed is no permit", cdn.ErrUnauthorized)
	}
	for _, name := range signed[:len(signed)-1] {
		if p.values()[name] != query.Get(name) {
			return malformed(name) // there is another way to write it
		}
	}
	return p, key, nil
}

// A field is how a parameter is read.
type field struct {
	name string
	read func(string) error
}

func (p *Permit) fields() []field {
	text := func(to *string) func(string) error {
		return func(v string) error { *to = v; return nil }
	}
	return []field{
		{paramActions, func(v string) error {
			for name := range strings.SplitSeq(v, ",") {
				action, err := cdn.ParseAction(name)
				if err != nil {
					return err
				}
				p.Actions = append(p.Actions, action)
			}
			return nil
		}},
		{paramStreams, text((*string)(&p.Streams))},
		{paramExpires, func(v string) error {
			seconds, err := strconv.ParseInt(v, 10, 64)
			p.Expires = time.Unix(seconds, 0)
			return err
		}},
		{paramBitrate, func(v string) (err error) { p.MaxBitrate, err = strconv.Atoi(v); return err }},
		{paramSubject, text(&p.Subject)},
		{paramTag, text(&p.Tag)},
		{paramID, text(&p.ID)},
		{paramAddress, func(v string) (err error) { p.Address, err = netip.ParsePrefix(v); return err }},
	}
}

// allows returns why the permit does not allow r, nil: it does.
func (p Permit) allows(r cdn.AuthRequest) error {
	if !time.Now().Before(p.Expires) {
		return fmt.Errorf("%w: since %s", cdn.ErrExpired, p.Expires.UTC().Format(time.RFC3339))
	}
	if !slices.Contains(p.Actions, r.Action) {
		return fmt.Errorf("%w: it does not allow %s", cdn.ErrForbidden, r.Action)
	}
	if !p.Streams.Match(r.Stream) {
		return fmt.Errorf("%w: it is for the streams %s", cdn.ErrForbidden, p.Streams)
	}
	if p.Address.IsValid() {
		from, err := netip.ParseAddrPort(r.RemoteAddr)
		if err != nil || !p.Address.Contains(from.Addr().Unmap().WithZone("")) {
			return fmt.Errorf("%w: it is for clients at %s", cdn.ErrForbidden, p.Address)
		}
	}
	return nil
}

// ErrRevoked is the refusal of a URL that was revoked by [Authority.Revoke]. It wraps [cdn.ErrUnauthorized].
var ErrRevoked = fmt.Errorf("revoked: %w", cdn.ErrUnauthorized)

// Revoke has all URLs whose permit has that ID refused from now on, and ends the sessions
// that were made with them, on every node that asks this Authority. It lasts until
// [Authority.Restore], or until the process ends. An empty ID names nothing.
func (a *Authority) Revoke(id string) {
	if id == "" {
		return
	}
	a.mu.Lock()
	a.revoked[id] = struct{}{}
	a.mu.Unlock()
	a.live.Revoke(id, ErrRevoked)
}

// Restore takes [Authority.Revoke] back for URLs that are used from now on.
func (a *Authority) Restore(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.revoked, id)
}

// Revoked returns the IDs that are revoked, in order.
func (a *Authority) Revoked() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Sorted(maps.Keys(a.revoked))
}

// permit returns what is done when the permit's ID is revoked, nil: it has no ID.
func (a *Authority) permit(p Permit) (context.Context, error) {
	if p.ID == "" {
		return nil, nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, revoked := a.revoked[p.ID]; revoked {
		return nil, ErrRevoked
	}
	return a.live.Context(p.ID), nil
}
