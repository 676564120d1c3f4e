package urlauth_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/cdn/urlauth"
)

var (
	old    = urlauth.Key{ID: "2025", Secret: []byte("a secret of the year before")}
	recent = urlauth.Key{ID: "2026", Secret: []byte("a secret of this year")}
)

func authority(t testing.TB, keys ...urlauth.Key) *urlauth.Authority {
	a, err := urlauth.New(keys...)
	require.NoError(t, err)
	return a
}

// whole is a permit that has everything.
var whole = urlauth.Permit{
	Actions: []cdn.Action{cdn.ActionPublish, cdn.ActionPlay}, Streams: "live/**", Expires: time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC),
	MaxBitrate: 2_500_000, Subject: "alice & co", Tag: "acme", ID: "order=7", Address: netip.MustParsePrefix("192.0.2.0/24"),
}

func sign(t testing.TB, a *urlauth.Authority, p urlauth.Permit) url.Values {
	signed, err := a.Sign("https://edge.example/whep/live/a?layer=h", p)
	require.NoError(t, err)
	u, err := url.Parse(signed)
	require.NoError(t, err)
	require.Equal(t, "edge.example/whep/live/a", u.Host+u.Path)
	require.Equal(t, "h", u.Query().Get("layer"))
	return u.Query()
}

func request(q url.Values) cdn.AuthRequest {
	return cdn.AuthRequest{Action: cdn.ActionPlay, Stream: "live/a", RemoteAddr: "192.0.2.7:1234", Query: q}
}

// The signature can be made by anybody who reads the package's comment.
func TestTheSignatureIsAsDocumented(t *testing.T) {
	q := sign(t, authority(t, recent), whole)
	mac := hmac.New(sha256.New, recent.Secret)
	mac.Write([]byte("delta-url-1\n" +
		"delta-actions=12:publish,play\n" +
		"delta-streams=7:live/**\n" +
		"delta-expires=10:4070908800\n" +
		"delta-bitrate=7:2500000\n" +
		"delta-subject=10:alice & co\n" +
		"delta-tag=4:acme\n" +
		"delta-id=7:order=7\n" +
		"delta-address=12:192.0.2.0/24\n" +
		"delta-key=4:2026\n"))
	require.Equal(t, base64.RawURLEncoding.EncodeToString(mac.Sum(nil)), q.Get("delta-signature"))
}

func TestASignedURLGrants(t *testing.T) {
	a := authority(t, recent, old)
	g, err := a.Authorize(t.Context(), request(sign(t, a, whole)))
	require.NoError(t, err)
	require.NotNil(t, g.Revoked)
	g.Revoked = nil
	require.True(t, whole.Expires.Equal(g.Expires))
	g.Expires = whole.Expires
	require.Equal(t, cdn.Grant{Subject: "alice & co", Tag: "acme", ID: "order=7", Expires: whole.Expires, MaxBitrate: 2_500_000}, g)

	least := urlauth.Permit{Actions: []cdn.Action{cdn.ActionPlay}, Streams: "**", Expires: whole.Expires}
	g, err = a.Authorize(t.Context(), request(sign(t, a, least)))
	require.NoError(t, err)
	require.Nil(t, g.Revoked)
	require.Zero(t, g.MaxBitrate)

	_, err = a.Authorize(t.Context(), request(sign(t, authority(t, old), whole)))
	require.NoError(t, err, "what the key before has signed is good while that is known")
	_, err = authority(t, recent).Authorize(t.Context(), request(sign(t, authority(t, old), whole)))
	require.ErrorIs(t, err, cdn.ErrUnauthorized)
	again, err := a.Sign("https://edge.example/?"+sign(t, authority(t, old), whole).Encode(), least)
	require.NoError(t, err)
	u, err := url.Parse(again)
	require.NoError(t, err)
	require.Len(t, u.Query(), 6, "signing again replaces all of the signature before")
}

// Whatever is changed of what is signed makes it worth nothing.
func TestTampering(t *testing.T) {
	a := authority(t, recent, old)
	good := sign(t, a, whole)
	names := []string{"actions", "streams", "expires", "bitrate", "subject", "tag", "id", "address", "key", "signature"}
	require.Len(t, good, len(names)+1)
	for _, name := range names {
		name = "delta-" + name
		for what, change := range map[string]func(url.Values){
			"left out":  func(q url.Values) { q.Del(name) },
			"emptied":   func(q url.Values) { q.Set(name, "") },
			"doubled":   func(q url.Values) { q.Add(name, q.Get(name)) },
			"extended":  func(q url.Values) { q.Set(name, q.Get(name)+"0") },
			"shortened": func(q url.Values) { v := q.Get(name); q.Set(name, v[:len(v)-1]) },
			"huge":      func(q url.Values) { q.Set(name, strings.Repeat("x", 1<<20)) },
			"moved": func(q url.Values) { // to the parameter after it, as one text
				for _, other := range names {
					if other = "delta-" + other; other != name {
						q.Set(other, q.Get(name)+q.Get(other))
					}
				}
				q.Del(name)
			},
		} {
			q := url.Values{}
			for k, v := range good {
				q[k] = append([]string(nil), v...)
			}
			change(q)
			g, err := a.Authorize(t.Context(), request(q))
			require.ErrorIs(t, err, cdn.ErrUnauthorized, "%s %s", name, what)
			require.NotErrorIs(t, err, cdn.ErrUnknownCredential, "%s %s: no other Authorizer is to take it", name, what)
			require.Zero(t, g)
			var e *urlauth.Error
			require.ErrorAs(t, err, &e)
			require.Empty(t, e.ID, "nothing is believed of it")
			require.NotContains(t, err.Error(), good.Get("delta-signature"))
		}
	}
	other := sign(t, a, whole)
	other.Set("layer", "q")
	other["unknown"] = []string{"1", "2"}
	other.Set("delta-future", "x")
	_, err := a.Authorize(t.Context(), request(other))
	require.NoError(t, err, "what is not signed does not matter")
}

// What is signed with the right key, and is not what Sign makes, is refused, too.
func TestOnlyCanonicalPermitsAreTaken(t *testing.T) {
	forge := func(values map[string]string) url.Values {
		q := url.Values{}
		text := "delta-url-1\n"
		values["key"] = recent.ID
		for _, name := range []string{"actions", "streams", "expires", "bitrate", "subject", "tag", "id", "address", "key"} {
			if v, ok := values[name]; ok {
				q.Set("delta-"+name, v)
				text += "delta-" + name + "=" + strconv.Itoa(len(v)) + ":" + v + "\n"
			}
		}
		mac := hmac.New(sha256.New, recent.Secret)
		mac.Write([]byte(text))
		q.Set("delta-signature", base64.RawURLEncoding.EncodeToString(mac.Sum(nil)))
		return q
	}
	a := authority(t, recent)
	good := map[string]string{"actions": "play", "streams": "live/*", "expires": "4070908800"}
	for name, changes := range map[string]map[string]string{
		"":        {},
		"actions": {"": "play,publish", "twice": "play,play", "unknown": "watch", "space": "play, fetch"},
		"streams": {"": "live//a", "class": "live/["},
		"expires": {"": "04070908800", "plus": "+4070908800", "fraction": "4070908800.5", "zero": "0", "negative": "-1", "huge": "99999999999999999999"},
		"bitrate": {"": "0", "zeros": "01", "negative": "-1", "exponent": "1e6"},
		"address": {"": "192.0.2.1/24", "alone": "192.0.2.1", "long": "2001:0db8::/32", "mapped": "::ffff:192.0.2.0/120", "beyond": "192.0.2.0/33"},
	} {
		if name == "" {
			_, err := a.Authorize(t.Context(), request(forge(good)))
			require.NoError(t, err, "the forger forges well")
			continue
		}
		for _, value := range changes {
			values := map[string]string{name: value}
			for k, v := range good {
				if k != name {
					values[k] = v
				}
			}
			_, err := a.Authorize(t.Context(), request(forge(values)))
			require.ErrorIs(t, err, cdn.ErrUnauthorized, "%s %s", name, value)
		}
	}
}

func TestWhatAPermitDoesNotAllow(t *testing.T) {
	a := authority(t, recent)
	for name, tc := range map[string]struct {
		change func(*cdn.AuthRequest)
		err    error
	}{
		"another action":  {func(r *cdn.AuthRequest) { r.Action = cdn.ActionFetch }, cdn.ErrForbidden},
		"another stream":  {func(r *cdn.AuthRequest) { r.Stream = "other" }, cdn.ErrForbidden},
		"another address": {func(r *cdn.AuthRequest) { r.RemoteAddr = "198.51.100.1:1" }, cdn.ErrForbidden},
		"no address":      {func(r *cdn.AuthRequest) { r.RemoteAddr = "" }, cdn.ErrForbidden},
		"no query":        {func(r *cdn.AuthRequest) { r.Query = nil }, cdn.ErrUnknownCredential},
		"others alone":    {func(r *cdn.AuthRequest) { r.Query = url.Values{"layer": {"h"}} }, cdn.ErrUnknownCredential},
		"a node, ok":      {func(r *cdn.AuthRequest) { *r = cdn.AuthRequest{Action: cdn.ActionFetch, Trusted: true} }, nil},
		"mapped, ok":      {func(r *cdn.AuthRequest) { r.RemoteAddr = "[::ffff:192.0.2.9]:1" }, nil},
	} {
		r := request(sign(t, a, whole))
		tc.change(&r)
		_, err := a.Authorize(t.Context(), r)
		require.ErrorIs(t, err, tc.err, name)
		if errors.Is(tc.err, cdn.ErrForbidden) {
			var e *urlauth.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, "order=7", e.ID)
			require.Equal(t, "2026", e.Key)
		}
	}
}

func TestMalformedKeysAndPermits(t *testing.T) {
	for name, keys := range map[string][]urlauth.Key{
		"none": nil, "without an ID": {{Secret: recent.Secret}}, "short": {{ID: "a", Secret: []byte("short")}}, "twice": {recent, recent},
	} {
		_, err := urlauth.New(keys...)
		require.ErrorIs(t, err, cdn.ErrInvalid, name)
		require.NotContains(t, err.Error(), string(recent.Secret))
	}
	a := authority(t, recent)
	for name, change := range map[string]func(*urlauth.Permit){
		"no actions":       func(p *urlauth.Permit) { p.Actions = nil },
		"unknown action":   func(p *urlauth.Permit) { p.Actions = []cdn.Action{9} },
		"no streams":       func(p *urlauth.Permit) { p.Streams = "" },
		"bad streams":      func(p *urlauth.Permit) { p.Streams = "a//b" },
		"no end":           func(p *urlauth.Permit) { p.Expires = time.Time{} },
		"negative bitrate": func(p *urlauth.Permit) { p.MaxBitrate = -1 },
		"long subject":     func(p *urlauth.Permit) { p.Subject = strings.Repeat("x", 513) },
		"sloppy address":   func(p *urlauth.Permit) { p.Address = netip.MustParsePrefix("192.0.2.1/24") },
		"mapped address":   func(p *urlauth.Permit) { p.Address = netip.MustParsePrefix("::ffff:192.0.2.0/120") },
	} {
		p := whole
		change(&p)
		_, err := a.Sign("https://edge.example/", p)
		require.ErrorIs(t, err, cdn.ErrInvalid, name)
	}
	for _, bad := range []string{"https://e.example/%zz", "https://e.example/?a=%zz"} {
		_, err := a.Sign(bad, whole)
		require.ErrorIs(t, err, cdn.ErrInvalid)
	}
}

// endings are why sessions have ended, by their names.
type endings struct {
	mu  sync.Mutex
	all map[string]error
}

func (e *endings) note(name string, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all[name] = err
}

func (e *endings) take() map[string]error {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := e.all
	e.all = make(map[string]error)
	return all
}

// A session ends when its URL expires, exactly then, and when its URL is revoked, at
// once; those of other URLs go on.
func TestSessionsEndWithTheirURL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := authority(t, recent)
		host := cdntest.NewNetwork(t, cdntest.NetworkConfig{}).Host("node", cdntest.Path{})
		node, err := cdn.Listen(cdn.Config{Addr: host.IP().String() + ":7000", Net: host.Net(), Authorizer: a})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, node.Close()) })
		ends := &endings{all: make(map[string]error)}
		permit := func(id string, last time.Duration) urlauth.Permit {
			p := whole
			p.ID, p.Expires = id, time.Now().Add(last)
			return p
		}
		enter := func(q url.Values) (string, error) {
			adm, err := node.Authorize(t.Context(), request(q))
			if err != nil {
				return "", err
			}
			_, err = adm.Enter(t.Context())
			require.NoError(t, err)
			name := adm.Name()
			adm.Start(func(err error) { ends.note(name, err); adm.Leave(err) })
			return name, nil
		}
		must := func(q url.Values) string {
			name, err := enter(q)
			require.NoError(t, err)
			return name
		}
		short, long, other, nameless := sign(t, a, permit("short", time.Minute)), sign(t, a, permit("long", time.Hour)), sign(t, a, permit("other", time.Hour)), sign(t, a, permit("", time.Hour))
		first, second, third := must(short), must(long), must(long)
		must(other)
		must(nameless)
		time.Sleep(time.Minute - time.Nanosecond)
		synctest.Wait()
		require.Empty(t, ends.take())
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		ended := ends.take()
		require.Len(t, ended, 1)
		require.ErrorIs(t, ended[first], cdn.ErrExpired)
		_, err = enter(short)
		require.ErrorIs(t, err, cdn.ErrExpired)

		a.Revoke("")
		a.Revoke("long")
		synctest.Wait()
		ended = ends.take()
		require.Len(t, ended, 2)
		require.ErrorIs(t, ended[second], urlauth.ErrRevoked)
		require.ErrorIs(t, ended[third], cdn.ErrUnauthorized)
		require.Equal(t, []string{"long"}, a.Revoked())
		_, err = enter(long)
		require.ErrorIs(t, err, urlauth.ErrRevoked)
		a.Restore("long")
		fourth := must(long)
		a.Revoke("long")
		synctest.Wait()
		require.Contains(t, ends.take(), fourth)
		require.Len(t, node.Sessions(), 2)

		late, err := node.Authorize(t.Context(), request(other))
		require.NoError(t, err)
		a.Revoke("other")
		_, err = late.Enter(t.Context())
		require.ErrorIs(t, err, urlauth.ErrRevoked, "revoked between the question and the place")
	})
}

// Nothing but what Sign made is let in.
func FuzzAuthorize(f *testing.F) {
	a, err := urlauth.New(recent, old)
	if err != nil {
		f.Fatal(err)
	}
	signed, err := a.Sign("https://edge.example/", whole)
	if err != nil {
		f.Fatal(err)
	}
	good, _ := url.Parse(signed)
	f.Add(good.RawQuery)
	f.Add(strings.ReplaceAll(good.RawQuery, "2026", "2025"))
	f.Add(good.RawQuery + "&delta-id=x")
	f.Fuzz(func(t *testing.T, raw string) {
		q, _ := url.ParseQuery(raw)
		_, err := a.Authorize(t.Context(), request(q))
		if err != nil {
			return
		}
		for name, v := range good.Query() {
			if q.Get(name) != v[0] || len(q[name]) != 1 {
				t.Fatalf("let in with %q", raw)
			}
		}
	})
}
