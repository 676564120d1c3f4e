package jwtauth_test

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/jwtauth"
)

func TestGrant(t *testing.T) {
	a := authorizer(t, jwtauth.Config{Secret: secret, Issuer: "https://id.example", Audience: "delta"})
	exp := time.Now().Add(time.Hour).Truncate(time.Second)
	token := sign(t, jwt.SigningMethodHS256, secret, "", jwt.MapClaims{
		"iss": "https://id.example", "aud": []string{"other", "delta"}, "sub": "ann", "jti": "t-1", "tag": "acme",
		"exp": exp.Unix(), "nbf": time.Now().Add(-time.Minute).Unix(), "iat": float64(time.Now().Unix()) + 0.5,
		"streams": []string{"live/*", "tests/**"}, "actions": "play", "max_bitrate": 2_500_000, "of another program": object{"x": 1},
	})
	g, err := a.Authorize(t.Context(), playing(token))
	require.NoError(t, err)
	require.NoError(t, g.Revoked.Err())
	g.Revoked = nil
	require.Equal(t, cdn.Grant{Subject: "ann", ID: "t-1", Tag: "acme", Expires: exp, MaxBitrate: 2_500_000}, g)

	for _, tc := range []struct {
		name string
		r    cdn.AuthRequest
		err  error
	}{
		{"another stream", cdn.AuthRequest{Action: cdn.ActionPlay, Stream: "other/a", Credential: token}, jwtauth.ErrStream},
		{"a stream below", cdn.AuthRequest{Action: cdn.ActionPlay, Stream: "live/a/b", Credential: token}, jwtauth.ErrStream},
		{"a stream below that is allowed", cdn.AuthRequest{Action: cdn.ActionPlay, Stream: "tests/a/b", Credential: token}, nil},
		{"another action", cdn.AuthRequest{Action: cdn.ActionPublish, Stream: "live/a", Credential: token}, jwtauth.ErrAction},
		{"a fetch by a stranger", cdn.AuthRequest{Action: cdn.ActionFetch, Stream: "live/a", Credential: token}, jwtauth.ErrAction},
		{"no token", cdn.AuthRequest{Action: cdn.ActionPlay, Stream: "live/a"}, jwtauth.ErrNoToken},
		{"a token in the URL that nobody looks at", cdn.AuthRequest{Action: cdn.ActionPlay, Stream: "live/a", Query: url.Values{"token": {token}}}, jwtauth.ErrNoToken},
	} {
		_, err := a.Authorize(t.Context(), tc.r)
		require.ErrorIs(t, err, tc.err, tc.name)
		if tc.err != nil {
			require.NotEqual(t, errors.Is(err, cdn.ErrForbidden), errors.Is(err, cdn.ErrUnauthorized), tc.name)
			require.NotContains(t, err.Error(), token)
		}
	}
	g, err = a.Authorize(t.Context(), cdn.AuthRequest{Action: cdn.ActionFetch, Stream: "live/a", Node: "edge-1", Trusted: true})
	require.NoError(t, err)
	require.Equal(t, cdn.Grant{Subject: "edge-1"}, g)
}

func TestParameter(t *testing.T) {
	a := authorizer(t, jwtauth.Config{Secret: secret, Parameter: "token"})
	r := playing("")
	r.Query = url.Values{"token": {sign(t, jwt.SigningMethodHS256, secret, "", good(nil))}}
	_, err := a.Authorize(t.Context(), r)
	require.NoError(t, err)
	r.Credential = "the.header.counts"
	_, err = a.Authorize(t.Context(), r)
	require.ErrorIs(t, err, jwtauth.ErrMalformed)
}

// Every algorithm works with the keys that it is for, from a set and from files.
func TestKeys(t *testing.T) {
	keys := map[string]crypto.Signer{"rsa": rsaKey(), "p256": p256Key(), "p384": p384Key(), "ed": edKey()}
	set := filepath.Join(t.TempDir(), "keys.json")
	require.NoError(t, os.WriteFile(set, jwks(t, keys), 0o600))
	fromSet := authorizer(t, jwtauth.Config{JWKSFile: set})
	fromPEM := authorizer(t, jwtauth.Config{PublicKeys: []string{pemFile(t, rsaKey(), p256Key(), p384Key(), edKey())}})
	for alg, kid := range map[string]string{
		"RS256": "rsa", "RS384": "rsa", "RS512": "rsa", "PS256": "rsa", "PS384": "rsa", "PS512": "rsa", "ES256": "p256", "ES384": "p384", "EdDSA": "ed",
	} {
		for _, named := range []string{"", kid} {
			token := sign(t, jwt.GetSigningMethod(alg), keys[kid], named, good(nil))
			_, err := fromSet.Authorize(t.Context(), playing(token))
			require.NoError(t, err, "%s %q", alg, named)
			_, err = fromPEM.Authorize(t.Context(), playing(token))
			require.NoError(t, err, "%s %q", alg, named)
		}
	}
}

func TestHMAC(t *testing.T) {
	long := authorizer(t, jwtauth.Config{Secret: secret})
	short := authorizer(t, jwtauth.Config{Secret: secret[:32]})
	for alg, size := range map[string]int{"HS256": 32, "HS384": 48, "HS512": 64} {
		_, err := long.Authorize(t.Context(), playing(sign(t, jwt.GetSigningMethod(alg), secret, "", good(nil))))
		require.NoError(t, err, alg)
		_, err = short.Authorize(t.Context(), playing(sign(t, jwt.GetSigningMethod(alg), secret[:32], "", good(nil))))
		require.Equal(t, size <= 32, err == nil, "%s: %v", alg, err)
	}
}

// TestHostileTokens lets nothing in.
func TestHostileTokens(t *testing.T) {
	rsaPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(rsaKey().Public()))})
	set := filepath.Join(t.TempDir(), "keys.json")
	require.NoError(t, os.WriteFile(set, jwks(t, map[string]crypto.Signer{"rsa": rsaKey(), "ed": edKey(), "p256": p256Key()}), 0o600))
	byKey := authorizer(t, jwtauth.Config{JWKSFile: set, Between: time.Hour})
	bySecret := authorizer(t, jwtauth.Config{Secret: secret, Issuer: "me", Audience: "delta"})
	const header = `{"alg":"HS256","typ":"JWT"}`
	now := time.Now().Unix()
	mine := func(changes object) string {
		c := good(object{"iss": "me", "aud": "delta"})
		for k, v := range changes {
			if c[k] = v; v == nil {
				delete(c, k)
			}
		}
		return sign(t, jwt.SigningMethodHS256, secret, "", c)
	}
	body := func(claims string) string {
		return raw(t, header, fmt.Sprintf(`{"iss":"me","aud":"delta","exp":%d,"streams":"**","actions":"play"%s}`, now+3600, claims), secret)
	}
	_, err := bySecret.Authorize(t.Context(), playing(mine(nil)))
	require.NoError(t, err, "the control")
	_, err = bySecret.Authorize(t.Context(), playing(body("")))
	require.NoError(t, err, "the control")
	unsigned := sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, "", good(nil))
	signed := sign(t, jwt.SigningMethodEdDSA, edKey(), "ed", good(nil))
	parts := strings.Split(signed, ".")
	embedded := jwt.NewWithClaims(jwt.SigningMethodEdDSA, good(nil))
	embedded.Header["jwk"] = object{"kty": "OKP", "crv": "Ed25519", "x": base64.RawURLEncoding.EncodeToString(otherKey().Public().(ed25519.PublicKey))}
	embedded.Header["jku"] = "https://127.0.0.1:1/keys.json"
	embedded.Header["x5u"] = "https://127.0.0.1:1/keys.pem"

	for _, tc := range []struct {
		name  string
		a     *jwtauth.Authorizer
		token string
		err   error
	}{
		{"alg none", byKey, unsigned, jwtauth.ErrSignature},
		{"alg none by secret", bySecret, unsigned, jwtauth.ErrSignature},
		{"alg None", bySecret, raw(t, `{"alg":"None"}`, "{}", secret), jwtauth.ErrSignature},
		{"no alg", bySecret, raw(t, `{"typ":"JWT"}`, "{}", secret), jwtauth.ErrSignature},
		{"alg of no text", bySecret, raw(t, `{"alg":["HS256"]}`, "{}", secret), jwtauth.ErrSignature},
		{"alg in another case", bySecret, raw(t, `{"ALG":"HS256"}`, "{}", secret), jwtauth.ErrSignature},
		{"alg twice", bySecret, raw(t, `{"alg":"none","alg":"HS256"}`, "{}", secret), jwtauth.ErrMalformed},
		{"signature taken away", byKey, parts[0] + "." + parts[1] + ".", jwtauth.ErrSignature},
		{"public key as secret", byKey, sign(t, jwt.SigningMethodHS256, rsaPEM, "rsa", good(nil)), jwtauth.ErrKey},
		{"public key as secret without kid", byKey, sign(t, jwt.SigningMethodHS256, rsaPEM, "", good(nil)), jwtauth.ErrKey},
		{"key of another kind under the name", byKey, sign(t, jwt.SigningMethodES256, p256Key(), "rsa", good(nil)), jwtauth.ErrKey},
		{"other curve", byKey, sign(t, jwt.SigningMethodES384, p384Key(), "p256", good(nil)), jwtauth.ErrKey},
		{"stranger's key", byKey, sign(t, jwt.SigningMethodEdDSA, otherKey(), "ed", good(nil)), jwtauth.ErrSignature},
		{"stranger's key without kid", byKey, sign(t, jwt.SigningMethodEdDSA, otherKey(), "", good(nil)), jwtauth.ErrSignature},
		{"key in the header", byKey, must(embedded.SignedString(otherKey())), jwtauth.ErrSignature},
		{"unknown kid", byKey, sign(t, jwt.SigningMethodEdDSA, edKey(), "../../etc/passwd", good(nil)), jwtauth.ErrKey},
		{"kid of SQL", byKey, sign(t, jwt.SigningMethodEdDSA, edKey(), "x' UNION SELECT 'secret", good(nil)), jwtauth.ErrKey},
		{"long kid", byKey, sign(t, jwt.SigningMethodEdDSA, edKey(), strings.Repeat("k", 1000), good(nil)), jwtauth.ErrMalformed},
		{"kid of no text", bySecret, raw(t, `{"alg":"HS256","kid":{"a":1}}`, "{}", secret), jwtauth.ErrMalformed},
		{"crit", bySecret, raw(t, `{"alg":"HS256","crit":["exp"],"exp":1}`, "{}", secret), jwtauth.ErrMalformed},
		{"b64", bySecret, raw(t, `{"alg":"HS256","b64":false}`, "{}", secret), jwtauth.ErrMalformed},
		{"compressed", bySecret, raw(t, `{"alg":"HS256","zip":"DEF"}`, "{}", secret), jwtauth.ErrMalformed},

		{"rubbish", bySecret, "rubbish", jwtauth.ErrNoToken},
		{"dots", bySecret, "..", jwtauth.ErrMalformed},
		{"many dots", bySecret, strings.Repeat(".", 8000), jwtauth.ErrNoToken},
		{"encrypted", bySecret, mine(nil) + ".a.b", jwtauth.ErrNoToken},
		{"space behind", bySecret, mine(nil) + " ", jwtauth.ErrMalformed},
		{"bytes behind the signature", bySecret, mine(nil) + "A", jwtauth.ErrSignature},
		{"padded", bySecret, mine(nil) + "=", jwtauth.ErrMalformed},
		{"huge", bySecret, mine(object{"x": strings.Repeat("x", 1<<20)}), jwtauth.ErrMalformed},
		{"nested claims", bySecret, body(`,"x":` + strings.Repeat("[", 3000) + strings.Repeat("]", 3000)), jwtauth.ErrMalformed},
		{"token in a token", bySecret, raw(t, `{"alg":"HS256","cty":"JWT"}`, mine(nil), secret), jwtauth.ErrMalformed},
		{"null claims", bySecret, raw(t, header, "null", secret), jwtauth.ErrMalformed},
		{"list of claims", bySecret, raw(t, header, "[]", secret), jwtauth.ErrMalformed},
		{"no claims", bySecret, raw(t, header, "{}", secret), jwtauth.ErrMalformed},
		{"claims twice", bySecret, body(`,"streams":"live/*"`), jwtauth.ErrMalformed},
		{"claims twice in another case", bySecret, body(`,"Actions":"publish"`), jwtauth.ErrMalformed},
		{"no UTF-8", bySecret, body(",\"x\":\"\xff\""), jwtauth.ErrMalformed},

		{"no exp", bySecret, mine(object{"exp": nil}), jwtauth.ErrMalformed},
		{"exp of text", bySecret, mine(object{"exp": "9999999999"}), jwtauth.ErrMalformed},
		{"exp null", bySecret, raw(t, header, `{"iss":"me","aud":"delta","exp":null}`, secret), jwtauth.ErrMalformed},
		{"exp of the far future", bySecret, mine(object{"exp": 1e300}), jwtauth.ErrMalformed},
		{"exp below zero", bySecret, mine(object{"exp": -1}), jwtauth.ErrMalformed},
		{"expired", bySecret, mine(object{"exp": now - 1}), jwtauth.ErrExpired},
		{"not yet", bySecret, mine(object{"nbf": now + 60}), jwtauth.ErrNotYet},
		{"nbf of text", bySecret, mine(object{"nbf": "0"}), jwtauth.ErrMalformed},
		{"iat of text", bySecret, mine(object{"iat": true}), jwtauth.ErrMalformed},
		{"other issuer", bySecret, mine(object{"iss": "you"}), jwtauth.ErrIssuer},
		{"no issuer", bySecret, mine(object{"iss": nil}), jwtauth.ErrMalformed},
		{"list of issuers", bySecret, mine(object{"iss": []string{"me"}}), jwtauth.ErrMalformed},
		{"other audience", bySecret, mine(object{"aud": "gamma"}), jwtauth.ErrAudience},
		{"no audience", bySecret, mine(object{"aud": nil}), jwtauth.ErrMalformed},
		{"audience of a number", bySecret, mine(object{"aud": []any{"delta", 1}}), jwtauth.ErrMalformed},

		{"no streams", bySecret, mine(object{"streams": nil}), jwtauth.ErrStream},
		{"empty streams", bySecret, mine(object{"streams": []string{}}), jwtauth.ErrStream},
		{"empty pattern", bySecret, mine(object{"streams": ""}), jwtauth.ErrMalformed},
		{"bad pattern", bySecret, mine(object{"streams": "live/["}), jwtauth.ErrMalformed},
		{"one bad pattern", bySecret, mine(object{"streams": []string{"**", "a//b"}}), jwtauth.ErrMalformed},
		{"streams of an object", bySecret, mine(object{"streams": object{"**": true}}), jwtauth.ErrMalformed},
		{"streams null", bySecret, raw(t, header, fmt.Sprintf(`{"iss":"me","aud":"delta","exp":%d,"streams":null,"actions":"play"}`, now+9), secret), jwtauth.ErrMalformed},
		{"many streams", bySecret, mine(object{"streams": strings.Split(strings.Repeat("a,", 99)+"**", ",")}), jwtauth.ErrMalformed},
		{"no actions", bySecret, mine(object{"actions": nil}), jwtauth.ErrAction},
		{"unknown action", bySecret, mine(object{"actions": []string{"*"}}), jwtauth.ErrAction},
		{"action in another case", bySecret, mine(object{"actions": "Play"}), jwtauth.ErrAction},
		{"actions of a number", bySecret, mine(object{"actions": []any{"play", 1}}), jwtauth.ErrMalformed},
		{"bitrate of text", bySecret, mine(object{"max_bitrate": "1000"}), jwtauth.ErrMalformed},
		{"bitrate of nothing", bySecret, mine(object{"max_bitrate": 0}), jwtauth.ErrMalformed},
		{"bitrate below zero", bySecret, mine(object{"max_bitrate": -1}), jwtauth.ErrMalformed},
		{"bitrate beyond int", bySecret, mine(object{"max_bitrate": 1e30}), jwtauth.ErrMalformed},
		{"subject of a number", bySecret, mine(object{"sub": 1}), jwtauth.ErrMalformed},
		{"jti with a line break", bySecret, mine(object{"jti": "a\nb"}), jwtauth.ErrMalformed},
		{"long tag", bySecret, mine(object{"tag": strings.Repeat("t", 300)}), jwtauth.ErrMalformed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g, err := tc.a.Authorize(t.Context(), playing(tc.token))
			require.ErrorIs(t, err, tc.err)
			require.Zero(t, g)
			require.Less(t, len(err.Error()), 1000)
			var e *cdn.Error
			require.ErrorAs(t, err, &e)
			require.NotEmpty(t, e.Detail, "a sentence for the client")
		})
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// An algorithm that is not configured is not taken, though there is a key for it.
func TestAlgorithms(t *testing.T) {
	a := authorizer(t, jwtauth.Config{PublicKeys: []string{pemFile(t, rsaKey())}, Algorithms: []string{"RS256"}})
	_, err := a.Authorize(t.Context(), playing(sign(t, jwt.SigningMethodRS256, rsaKey(), "", good(nil))))
	require.NoError(t, err)
	_, err = a.Authorize(t.Context(), playing(sign(t, jwt.SigningMethodPS256, rsaKey(), "", good(nil))))
	require.ErrorIs(t, err, jwtauth.ErrSignature)
}

func TestConfig(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	private := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey())})
	weak := pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(weakKey().Public().(*rsa.PublicKey))})
	for name, c := range map[string]jwtauth.Config{
		"no key":                {},
		"short secret":          {Secret: secret[:31]},
		"empty secret":          {Secret: []byte{}},
		"algorithm none":        {Secret: secret, Algorithms: []string{"none"}},
		"leeway below zero":     {Secret: secret, Leeway: -1},
		"http elsewhere":        {JWKS: "http://id.example/keys"},
		"no URL":                {JWKS: "id.example/keys"},
		"file URL":              {JWKS: "file:///etc/passwd", AllowPlain: true},
		"no such set":           {JWKSFile: filepath.Join(dir, "nowhere")},
		"set of no keys":        {JWKSFile: file("a", `{"keys":[]}`)},
		"set of a list":         {JWKSFile: file("b", `[]`)},
		"set of rubbish":        {JWKSFile: file("c", `<html>`)},
		"huge set":              {JWKSFile: file("d", `{"keys":[],"x":"`+strings.Repeat("x", 1<<20)+`"}`)},
		"set of secrets":        {JWKSFile: file("e", `{"keys":[{"kty":"oct","kid":"a","k":"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"}]}`)},
		"no such PEM":           {PublicKeys: []string{filepath.Join(dir, "nowhere")}},
		"PEM of rubbish":        {PublicKeys: []string{file("f", "rubbish")}},
		"private key":           {PublicKeys: []string{file("g", string(private))}},
		"weak key":              {PublicKeys: []string{file("h", string(weak))}},
		"directory as PEM":      {PublicKeys: []string{dir}},
		"broken key in a block": {PublicKeys: []string{file("i", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")}},
	} {
		a, err := jwtauth.New(t.Context(), c)
		require.ErrorIs(t, err, cdn.ErrInvalid, name)
		require.Nil(t, a, name)
		require.NotContains(t, err.Error(), string(secret[:31]))
	}
}

// A token is good until "exp" plus the leeway, and so is its session.
func TestLeeway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := authorizer(t, jwtauth.Config{Secret: secret, Leeway: 5 * time.Second})
		exp := time.Now().Add(time.Minute)
		r := playing(sign(t, jwt.SigningMethodHS256, secret, "", good(object{"exp": exp.Unix(), "nbf": time.Now().Add(3 * time.Second).Unix()})))
		g, err := a.Authorize(t.Context(), r)
		require.NoError(t, err)
		require.Equal(t, exp.Add(5*time.Second), g.Expires.Add(0))
		time.Sleep(65*time.Second - 1)
		_, err = a.Authorize(t.Context(), r)
		require.NoError(t, err)
		time.Sleep(time.Nanosecond)
		_, err = a.Authorize(t.Context(), r)
		require.ErrorIs(t, err, jwtauth.ErrExpired)
	})
}

// A revocation ends the sessions of a token and refuses it until its time, and
// nobody else's.
func TestRevoke(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := authorizer(t, jwtauth.Config{Secret: secret})
		token := func(jti string) cdn.AuthRequest {
			return playing(sign(t, jwt.SigningMethodHS256, secret, "", good(object{"jti": jti})))
		}
		one, other := token("one"), token("other")
		first, err := a.Authorize(t.Context(), one)
		require.NoError(t, err)
		second, err := a.Authorize(t.Context(), one)
		require.NoError(t, err)
		others, err := a.Authorize(t.Context(), other)
		require.NoError(t, err)

		a.Revoke("one", time.Now().Add(time.Minute))
		a.Revoke("", time.Time{})
		for _, g := range []cdn.Grant{first, second} {
			require.Error(t, g.Revoked.Err())
			require.ErrorIs(t, context.Cause(g.Revoked), jwtauth.ErrRevoked)
			require.ErrorIs(t, context.Cause(g.Revoked), cdn.ErrUnauthorized)
		}
		require.NoError(t, others.Revoked.Err())
		_, err = a.Authorize(t.Context(), one)
		require.ErrorIs(t, err, jwtauth.ErrRevoked)
		_, err = a.Authorize(t.Context(), token(""))
		require.NoError(t, err, "a token without a name")
		time.Sleep(time.Minute)
		_, err = a.Authorize(t.Context(), one)
		require.NoError(t, err, "the revocation is over")

		a.Revoke("one", time.Time{})
		time.Sleep(50 * time.Minute)
		_, err = a.Authorize(t.Context(), one)
		require.ErrorIs(t, err, jwtauth.ErrRevoked, "for ever")
	})
}
