package main

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/access"
	"github.com/deltacdn/delta/cdn/hookauth"
	"github.com/deltacdn/delta/cdn/jwtauth"
	"github.com/deltacdn/delta/cdn/urlauth"
	"github.com/deltacdn/delta/examples/deltanode/config"
)

// openAuth makes the access list, which decides what clients and nodes may do: it asks who
// they are, if anybody is to show that.
func (n *node) openAuth() error {
	c := &n.config.Auth
	policy, err := readPolicy(c.Access)
	if err != nil {
		return fmt.Errorf("%s: %w", n.config.Where("auth.access_file"), err)
	}
	var who cdn.Authorizer // nil: everybody, and nodes by the secret
	if c.On() {
		if who, err = n.credentials(c); err != nil {
			return err
		}
	}
	n.access, err = access.New(who, policy)
	return err
}

// credentials returns who knows the clients by what they show.
func (n *node) credentials(c *config.Auth) (cdn.Authorizer, error) {
	n.demoToken = rand.Text()
	all := []cdn.Authorizer{
		cdn.AuthorizerFunc(trusted),
		token{n.demoToken, "demo", cdn.ActionPublish},
		token{c.PublishToken, "publish_token", cdn.ActionPublish},
		token{c.PlayToken, "play_token", cdn.ActionPlay},
	}
	if c.URLKeys != "" {
		urls, err := urlauth.New(config.URLKeys(c.URLKeys)...)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", n.config.Where("auth.url_keys"), err)
		}
		all = append(all, urls)
	}
	if c.JWT.On() {
		tokens, err := n.openJWT(c.JWT)
		if err != nil {
			return nil, fmt.Errorf("auth.jwt: %w", err)
		}
		all = append(all, tokens)
	}
	all = append(all, open(c.Open))
	if c.Hook.URL != "" {
		hook, err := n.openHook(c.Hook)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", n.config.Where("auth.hook.url"), err)
		}
		all = append(all, hook) // the last one, since it decides about all
	}
	return access.Any(all...), nil
}

func (n *node) openJWT(c config.JWT) (cdn.Authorizer, error) {
	a, err := jwtauth.New(n.closed, jwtauth.Config{
		JWKS: c.JWKS, JWKSFile: c.JWKSFile, PublicKeys: c.PublicKeys, Secret: []byte(c.Secret), Algorithms: c.Algorithms,
		Issuer: c.Issuer, Audience: c.Audience, Leeway: c.Leeway, Parameter: c.Parameter, Refresh: c.Refresh,
		AllowPlain: c.AllowPlain, Logger: n.log,
	})
	if err != nil {
		return nil, err
	}
	n.closers = append(n.closers, a)
	return cdn.AuthorizerFunc(func(ctx context.Context, r cdn.AuthRequest) (cdn.Grant, error) {
		g, err := a.Authorize(ctx, r)
		if errors.Is(err, jwtauth.ErrNoToken) || errors.Is(err, jwtauth.ErrMalformed) {
			err = cdn.ErrUnknownCredential // it is no such token, and may be of another kind
		}
		return g, err
	}), nil
}

func (n *node) openHook(c config.Hook) (cdn.Authorizer, error) {
	recheck := c.Recheck
	if recheck == 0 {
		recheck = -1 // never, and not the default
	}
	a, err := hookauth.New(hookauth.Config{
		URL: c.URL, Secrets: config.Lines(c.Secrets), Node: cdn.NodeID(n.config.Node.Name), Parameters: c.Parameters,
		Timeout: c.Timeout, Recheck: recheck, AllowPlain: c.AllowPlain, Logger: n.log,
	})
	if err != nil {
		return nil, err
	}
	n.closers = append(n.closers, a)
	return a, nil
}

// readPolicy reads the access list, which is empty if there is no file.
func readPolicy(file string) (access.Policy, error) {
	if file == "" {
		return access.Policy{}, nil
	}
	text, err := config.ReadFile(file)
	if err != nil {
		return access.Policy{}, err
	}
	p, err := access.ParsePolicy(text)
	if err != nil {
		return p, fmt.Errorf("%s: %w", file, err)
	}
	return p, nil
}

// trusted lets in other nodes, which have proved to be such.
func trusted(_ context.Context, r cdn.AuthRequest) (cdn.Grant, error) {
	if r.Action == cdn.ActionFetch && r.Trusted {
		return cdn.Grant{}, nil
	}
	return cdn.Grant{}, cdn.ErrUnknownCredential
}

// token lets in who shows a text that was configured.
type token struct {
	text    string
	subject string
	action  cdn.Action
}

// Authorize implements cdn.Authorizer.
func (t token) Authorize(_ context.Context, r cdn.AuthRequest) (cdn.Grant, error) {
	if t.text == "" || subtle.ConstantTimeCompare([]byte(t.text), []byte(r.Credential)) != 1 {
		return cdn.Grant{}, cdn.ErrUnknownCredential
	}
	if r.Action != t.action {
		return cdn.Grant{}, fmt.Errorf("the token is for another action: %w", cdn.ErrForbidden)
	}
	return cdn.Grant{Subject: t.subject}, nil
}

// open lets in those who show nothing, for what anybody may do.
type open []string

// Authorize implements cdn.Authorizer.
func (o open) Authorize(_ context.Context, r cdn.AuthRequest) (cdn.Grant, error) {
	if r.Credential == "" && slices.Contains(o, r.Action.String()) {
		return cdn.Grant{}, nil
	}
	return cdn.Grant{}, cdn.ErrUnknownCredential
}
