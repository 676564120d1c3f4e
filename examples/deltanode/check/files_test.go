package check

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/examples/deltanode/config"
)

// natsCredentials are of the seed that is all zeros.
const natsCredentials = `-----BEGIN NATS USER JWT-----
e30.e30.c2lnbmF0dXJl
------END NATS USER JWT------

-----BEGIN USER NKEY SEED-----
SUAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAEQ
------END USER NKEY SEED------
`

// Every file that a configuration names is opened: one that is missing, or has something
// else in it, is an error with its key.
func TestFiles(t *testing.T) {
	t.Chdir(t.TempDir())
	writeCertificate(t, "good", now, now.Add(time.Hour), "a.example")
	public, err := x509.MarshalPKIXPublicKey(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)).Public())
	require.NoError(t, err)
	for name, text := range map[string]string{
		"broken": "something else",
		"secret": "0123456789abcdef0123456789abcdef", "hooks": "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", "urls": "k1:0123456789abcdef",
		"creds": natsCredentials, "access": `{"version": 1}`, "public": string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})),
		"jwks": `{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": "O2onvM62pC1io6jQKm8Nc2UyFXcd4kOmOsBIoYtZ2ik"}]}`,
	} {
		require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
	}
	const nats, embedded = "directory: nats\nnats: {servers: [nats://192.0.2.1], %s}", "directory: embedded\nembedded: {%s}"
	for _, c := range []struct{ key, good, yaml string }{
		{"tls.cert_file", "good.pem", "tls: {cert_file: FILE, key_file: good.key}"},
		{"tls.key_file", "good.key", "tls: {cert_file: good.pem, key_file: FILE}"},
		{"tls.ca_file", "good.pem", "tls: {ca_file: FILE}"},
		{"tls.acme.ca_file", "good.pem", "http_redirect: :80\ntls: {acme: {names: a.example, agree: true, dir: acme, ca_file: FILE}}"},
		{"nats.ca_file", "good.pem", fmt.Sprintf(nats, "ca_file: FILE")},
		{"nats.cert_file", "good.pem", fmt.Sprintf(nats, "cert_file: FILE, key_file: good.key")},
		{"nats.key_file", "good.key", fmt.Sprintf(nats, "cert_file: good.pem, key_file: FILE")},
		{"nats.credentials_file", "creds", fmt.Sprintf(nats, "credentials_file: FILE")},
		{"redis.ca_file", "good.pem", "directory: redis\nredis: {servers: ['192.0.2.1:6379'], ca_file: FILE}"},
		{"embedded.cert_file", "good.pem", fmt.Sprintf(embedded, "cert_file: FILE, key_file: good.key, ca_file: good.pem")},
		{"embedded.key_file", "good.key", fmt.Sprintf(embedded, "cert_file: good.pem, key_file: FILE, ca_file: good.pem")},
		{"embedded.ca_file", "good.pem", fmt.Sprintf(embedded, "cert_file: good.pem, key_file: good.key, ca_file: FILE")},
		{"auth.jwt.jwks_file", "jwks", "auth: {jwt: {jwks_file: FILE}}"},
		{"auth.jwt.public_keys", "public", "auth: {jwt: {public_keys: [public, FILE]}}"},
		{"auth.url_keys_file", "urls", "auth: {url_keys_file: FILE}"},
		{"auth.access_file", "access", "auth: {access_file: FILE}"},
		{"auth.hook.secrets_file", "hooks", "auth: {hook: {url: 'https://a.example', secrets_file: FILE}}"},
		{"webhooks.secrets_file", "hooks", "webhooks: {urls: ['https://a.example'], secrets_file: FILE}"},
	} {
		t.Run(c.key, func(t *testing.T) {
			errorsOf := func(file string) (all []string) {
				require.NoError(t, os.WriteFile("node.yaml", []byte("secret_file: secret\n"+strings.ReplaceAll(c.yaml, "FILE", file)), 0o600))
				conf, _, err := config.Load([]string{"-config", "node.yaml"}, nil, io.Discard)
				if err != nil {
					return []string{err.Error()}
				}
				for _, l := range Report(t.Context(), conf, machine) {
					if l.Kind == Error {
						all = append(all, l.Text)
					}
				}
				return all
			}
			require.Empty(t, errorsOf(c.good))
			section := c.key[:strings.LastIndexByte(c.key, '.')]
			for _, file := range []string{"missing", "broken"} {
				got := errorsOf(file)
				require.Len(t, got, 1, file)
				require.Contains(t, got[0], section+".", "the key")
				require.Contains(t, got[0], "node.yaml:", "the line")
			}
		})
	}
}

// Every option that names a file is in the table of TestFiles, or a secret.
func TestFilesAreAll(t *testing.T) {
	source, err := os.ReadFile("files_test.go")
	require.NoError(t, err)
	keys := map[string]bool{}
	for _, o := range config.Options() {
		keys[o.Key] = true
	}
	for _, o := range config.Options() {
		if o.Arg == "file" && !keys[strings.TrimSuffix(o.Key, "_file")] {
			require.Contains(t, string(source), `{"`+o.Key+`",`)
		}
	}
}
