package check

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"

	"github.com/nats-io/nats.go"

	"github.com/deltacdn/delta/cdn/hookauth"
	"github.com/deltacdn/delta/cdn/jwtauth"
	"github.com/deltacdn/delta/cdn/webhook"
	"github.com/deltacdn/delta/examples/deltanode/config"
)

// files opens every file that is named, besides those of secrets, which the configuration
// has read, and those that the rest of the report speaks of.
func (r *report) files() {
	n, t := &r.config.Network, &r.config.TLS
	r.authorities(t.CA, "tls.ca_file")
	r.authorities(t.ACME.CA, "tls.acme.ca_file")
	r.authorities(n.NATS.CA, "nats.ca_file")
	r.authorities(n.Redis.CA, "redis.ca_file")
	r.authorities(n.Embedded.CA, "embedded.ca_file")
	r.pair(n.NATS.Cert, n.NATS.Key, "nats.cert_file")
	r.pair(n.Embedded.Cert, n.Embedded.Key, "embedded.cert_file")
	if n.NATS.Credentials != "" {
		if err := credentials(n.NATS.Credentials); err != nil {
			r.fail("%s: the credentials cannot be used: %s", r.config.Where("nats.credentials_file"), err)
		}
	}
	r.tokenKeys()
	r.signing()
}

func (r *report) authorities(file, key string) {
	if file == "" {
		return
	}
	text, err := os.ReadFile(file)
	if err == nil && !x509.NewCertPool().AppendCertsFromPEM(text) {
		err = fmt.Errorf("%s has no certificate (PEM)", file)
	}
	if err != nil {
		r.fail("%s: the certificates cannot be used: %s", r.config.Where(key), err)
	}
}

func (r *report) pair(cert, private, key string) {
	if cert == "" {
		return
	}
	if _, err := tls.LoadX509KeyPair(cert, private); err != nil {
		r.fail("%s: the certificate cannot be used: %s", r.config.Where(key), err)
	}
}

// credentials reads a file as the client of NATS does.
func credentials(file string) error {
	var o nats.Options
	if err := nats.UserCredentials(file)(&o); err != nil {
		return err
	}
	if _, err := o.UserJWT(); err != nil {
		return err
	}
	_, err := o.SignatureCB([]byte("nonce"))
	return err
}

// tokenKeys reads the keys of tokens that are in files, and asks for no others.
func (r *report) tokenKeys() {
	j := &r.config.Auth.JWT
	key := "auth.jwt.jwks_file"
	if j.JWKSFile == "" {
		key = "auth.jwt.public_keys"
	}
	if j.JWKSFile == "" && len(j.PublicKeys) == 0 {
		return
	}
	a, err := jwtauth.New(context.WithoutCancel(r.ctx), jwtauth.Config{JWKSFile: j.JWKSFile, PublicKeys: j.PublicKeys})
	if err != nil {
		r.fail("%s: the keys of tokens cannot be used: %s", r.config.Where(key), err)
		return
	}
	_ = a.Close()
}

// signing looks at the secrets that sign what others are told and asked.
func (r *report) signing() {
	if w := &r.config.Webhooks; len(w.URLs) > 0 {
		var at []webhook.Endpoint
		for _, u := range w.URLs {
			at = append(at, webhook.Endpoint{URL: u, Secrets: config.Lines(w.Secrets)})
		}
		hooks, err := webhook.New(webhook.Config{Endpoints: at, AllowPlain: w.AllowPlain})
		if err != nil {
			r.fail("%s: webhooks cannot be sent: %s", r.config.Where("webhooks.urls"), err)
		} else {
			_ = hooks.Close(r.ctx) // it has nothing to send
		}
	}
	if h := &r.config.Auth.Hook; h.URL != "" {
		hook, err := hookauth.New(hookauth.Config{URL: h.URL, Secrets: config.Lines(h.Secrets), AllowPlain: h.AllowPlain})
		if err != nil {
			r.fail("%s: the hook cannot be asked: %s", r.config.Where("auth.hook.url"), err)
		} else {
			_ = hook.Close()
		}
	}
}
