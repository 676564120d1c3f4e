package jwtauth_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/jwtauth"
)

var (
	secret   = []byte("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")
	rsaKey   = sync.OnceValue(func() *rsa.PrivateKey { k, _ := rsa.GenerateKey(rand.Reader, 2048); return k })
	weakKey  = sync.OnceValue(func() *rsa.PrivateKey { k, _ := rsa.GenerateKey(rand.Reader, 1024); return k })
	p256Key  = sync.OnceValue(func() *ecdsa.PrivateKey { k, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader); return k })
	p384Key  = sync.OnceValue(func() *ecdsa.PrivateKey { k, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader); return k })
	edKey    = sync.OnceValue(func() ed25519.PrivateKey { _, k, _ := ed25519.GenerateKey(rand.Reader); return k })
	otherKey = sync.OnceValue(func() ed25519.PrivateKey { _, k, _ := ed25519.GenerateKey(rand.Reader); return k })
)

type object = map[string]any

// good returns claims that allow everything, with changes. A nil takes a claim away.
func good(changes object) jwt.MapClaims {
	c := jwt.MapClaims{
		"sub": "ann", "exp": time.Now().Add(time.Hour).Unix(), "streams": "**", "actions": []string{"publish", "play"},
	}
	maps.Copy(c, changes)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

// sign makes a token. kid is in its header, unless it is "".
func sign(t testing.TB, method jwt.SigningMethod, key any, kid string, c jwt.Claims) string {
	t.Helper()
	token := jwt.NewWithClaims(method, c)
	if kid != "" {
		token.Header["kid"] = kid
	}
	s, err := token.SignedString(key)
	require.NoError(t, err)
	return s
}

// raw makes a token of any header and payload, signed by HMAC with a key.
func raw(t testing.TB, header, payload string, key []byte) string {
	t.Helper()
	enc := base64.RawURLEncoding.EncodeToString
	text := enc([]byte(header)) + "." + enc([]byte(payload))
	sig, err := jwt.SigningMethodHS256.Sign(text, key)
	require.NoError(t, err)
	return text + "." + enc(sig)
}

// jwks returns a set with the public keys of keys by their names.
func jwks(t testing.TB, keys map[string]crypto.Signer, more ...any) []byte {
	t.Helper()
	var set struct {
		Keys []any `json:"keys"`
	}
	set.Keys = append(set.Keys, more...)
	for kid, key := range keys {
		k, err := jwkset.NewJWKFromKey(key.Public(), jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: kid}})
		require.NoError(t, err)
		set.Keys = append(set.Keys, k.Marshal())
	}
	data, err := json.Marshal(set)
	require.NoError(t, err)
	return data
}

// pemFile writes public keys to a file.
func pemFile(t testing.TB, keys ...crypto.Signer) string {
	t.Helper()
	var all []byte
	for _, key := range keys {
		der, err := x509.MarshalPKIXPublicKey(key.Public())
		require.NoError(t, err)
		all = append(all, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})...)
	}
	path := filepath.Join(t.TempDir(), "keys.pem")
	require.NoError(t, os.WriteFile(path, all, 0o600))
	return path
}

func authorizer(t testing.TB, c jwtauth.Config) *jwtauth.Authorizer {
	t.Helper()
	a, err := jwtauth.New(t.Context(), c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, a.Close()) })
	return a
}

func playing(token string) cdn.AuthRequest {
	return cdn.AuthRequest{Action: cdn.ActionPlay, Stream: "live/a", Credential: token, RemoteAddr: "192.0.2.1:7"}
}
