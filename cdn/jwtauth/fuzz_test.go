package jwtauth_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn/jwtauth"
)

// Whatever the claims are, what is granted is what they say.
func FuzzClaims(f *testing.F) {
	for _, s := range []string{
		`{"exp":4000000000,"streams":"**","actions":"play"}`,
		`{"exp":4000000000.5,"streams":["live/*"],"actions":["play","publish"],"sub":"a","jti":"b","tag":"c","max_bitrate":1e6}`,
		`{"exp":4e9,"streams":null,"actions":{}}`, `{"exp":-1}`, `{"EXP":4000000000}`, `null`, `[]`, `{"aud":[1]}`, `{"exp":1e309}`,
		`{"exp":4000000000,"exp":4000000000}`,
	} {
		f.Add(s)
	}
	a := authorizer(f, jwtauth.Config{Secret: secret})
	f.Fuzz(func(t *testing.T, payload string) {
		g, err := a.Authorize(t.Context(), playing(raw(t, `{"alg":"HS256"}`, payload, secret)))
		if err != nil {
			require.Zero(t, g)
			return
		}
		var plain map[string]any
		require.NoError(t, json.Unmarshal([]byte(payload), &plain))
		require.Contains(t, plain, "exp")
		require.Contains(t, plain, "streams")
		require.True(t, g.Expires.After(time.Now()))
		require.GreaterOrEqual(t, g.MaxBitrate, 0)
		if plain["actions"] != "play" {
			require.Contains(t, plain["actions"], "play")
		}
		if g.Subject != "" {
			require.Equal(t, plain["sub"], g.Subject)
		}
	})
}

// A token that was changed anywhere lets nobody in.
func FuzzToken(f *testing.F) {
	good := sign(f, jwt.SigningMethodHS256, secret, "", good(object{"exp": 4_000_000_000}))
	f.Add(good)
	f.Add(strings.Replace(good, ".", "..", 1))
	f.Add(sign(f, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, "", jwt.MapClaims{"exp": 4_000_000_000}))
	f.Add(`eyJhbGciOiJIUzI1NiJ9..`)
	a := authorizer(f, jwtauth.Config{Secret: secret, PublicKeys: []string{pemFile(f, rsaKey(), edKey())}})
	f.Fuzz(func(t *testing.T, token string) {
		g, err := a.Authorize(t.Context(), playing(token))
		if token == good {
			require.NoError(t, err)
			return
		}
		require.Error(t, err)
		require.Zero(t, g)
	})
}

// Any set of keys is read or refused, and verifies nothing that its keys did not sign.
func FuzzKeySet(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AAAA"},{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]}`))
	f.Add(jwks(f, nil))
	token := sign(f, jwt.SigningMethodEdDSA, otherKey(), "a", good(object{"exp": 4_000_000_000}))
	f.Fuzz(func(t *testing.T, set []byte) {
		s := &keyServer{answer: answers(200, set)}
		a := authorizer(t, jwtauth.Config{JWKS: "https://id.example/", Transport: s})
		_, err := a.Authorize(t.Context(), playing(token))
		require.Error(t, err)
	})
}
