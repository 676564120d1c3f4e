package jwtauth

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"

	"github.com/MicahParks/jwkset"
	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"

	"github.com/deltacdn/delta/cdn/internal/outbound"
	"github.com/deltacdn/delta/cdn/internal/strictjson"
)

// algorithms are all that can be taken.
var algorithms = []string{
	"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "HS256", "HS384", "HS512",
}

const (
	minSecret  = 32 // bytes; RFC 7518 section 3.2
	minRSA     = 2048
	maxRSA     = 8192 // bits: what is longer takes long to verify
	maxKeys    = 32   // of one set, since a token without "kid" may be tried with all
	maxKeyFile = 256 << 10
)

// fits reports whether a key is for an algorithm. This is what keeps a token from
// choosing how a key is used: a public key is never a secret.
func fits(key any, alg string) bool {
	switch key := key.(type) {
	case []byte:
		return alg == "HS256" && len(key) >= 32 || alg == "HS384" && len(key) >= 48 || alg == "HS512" && len(key) >= 64
	case *rsa.PublicKey:
		bits := key.N.BitLen()
		return bits >= minRSA && bits <= maxRSA && key.E >= 3 && (alg[:2] == "RS" || alg[:2] == "PS")
	case *ecdsa.PublicKey:
		switch key.Curve.Params().BitSize {
		case 256:
			return alg == "ES256"
		case 384:
			return alg == "ES384"
		case 521:
			return alg == "ES512"
		}
	case ed25519.PublicKey:
		return alg == "EdDSA" && len(key) == ed25519.PublicKeySize
	}
	return false
}

// usable reports whether a key is for any algorithm.
func usable(key any) bool {
	for _, alg := range algorithms {
		if fits(key, alg) {
			return true
		}
	}
	return false
}

// fitting returns those of the keys that are for an algorithm.
func fitting(alg string, keys ...jwt.VerificationKey) (fit []jwt.VerificationKey) {
	for _, key := range keys {
		if fits(key, alg) {
			fit = append(fit, key)
		}
	}
	return fit
}

// parseSet returns the keys of a JWKS that can verify tokens. Others are skipped
// (RFC 7517 section 5), and so are secrets, which have no business in a public set.
func parseSet(data []byte) (keyfunc.Keyfunc, error) {
	if _, err := strictjson.Object(data); err != nil {
		return nil, fmt.Errorf("the key set cannot be read: %w", err)
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, errors.New("the key set has no list of keys")
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("the set has %d keys, %d are allowed", len(set.Keys), maxKeys)
	}
	storage, found := jwkset.NewMemoryStorage(), 0
	for _, raw := range set.Keys {
		key, err := jwkset.NewJWKFromRawJSON(raw, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
		if err != nil || !usable(key.Key()) || !verifies(key.Marshal()) {
			continue
		}
		if err := storage.KeyWrite(context.Background(), key); err != nil {
			return nil, err
		}
		found++
	}
	if found == 0 {
		return nil, fmt.Errorf("of the set's %d keys none can verify tokens", len(set.Keys))
	}
	return keyfunc.New(keyfunc.Options{Storage: storage})
}

// verifies reports whether a key may be used to verify (RFC 7517 sections 4.2, 4.3).
func verifies(m jwkset.JWKMarshal) bool {
	if m.USE != "" && m.USE != jwkset.UseSig {
		return false
	}
	for _, op := range m.KEYOPS {
		if op == jwkset.KeyOpsVerify {
			return true
		}
	}
	return len(m.KEYOPS) == 0
}

// readPublicKeys returns the keys of a PEM file.
func readPublicKeys(path string) (keys []jwt.VerificationKey, err error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		key, err := parsePublicKey(block)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if !usable(key) {
			return nil, fmt.Errorf("%s: a key of type %T, or of its size, cannot verify tokens", path, key)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%s: there is no PEM block", path)
	}
	return keys, nil
}

func parsePublicKey(block *pem.Block) (any, error) {
	switch block.Type {
	case "PUBLIC KEY":
		return x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		return x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		return cert.PublicKey, nil
	}
	return nil, fmt.Errorf("a PEM block %.40q is no public key", block.Type)
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return outbound.ReadAll(f, maxKeyFile)
}
