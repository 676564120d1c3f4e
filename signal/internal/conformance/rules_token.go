package conformance

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
)

// withToken returns the endpoint with a token in its URL.
func (t *Target) withToken(tokens ...string) string {
	return t.Endpoint + "?" + url.Values{"access_token": tokens}.Encode()
}

func refusesTwoTokens(ctx context.Context, t *Target) error {
	token := cmp.Or(t.Token, "any")
	var bad error
	for _, c := range []struct{ target, header string }{
		{t.withToken(token), "Bearer " + token},
		{t.withToken("other"), "Bearer " + token},
		{t.withToken(token, token), ""},
	} {
		resp, err := t.do(ctx, http.MethodPost, c.target, t.offer(), typeSDP, "Authorization: "+c.header)
		if err == nil {
			err = resp.wants(http.StatusBadRequest)
		}
		bad = errors.Join(bad, err)
	}
	return bad
}

func keepsURLTokensPrivate(ctx context.Context, t *Target) error {
	target := t.withToken(cmp.Or(t.Token, "any"))
	resp, err := t.do(ctx, http.MethodPost, target, t.offer(), typeSDP, "Authorization: ")
	if err != nil {
		return err
	}
	if session, err := resp.Location(); err == nil {
		t.made = append(t.made, session.String())
	}
	got, err := t.do(ctx, http.MethodGet, target, "")
	if err != nil {
		return err
	}
	return failures(resp.wants(http.StatusCreated),
		check(strings.Contains(resp.Header.Get("Cache-Control"), "private"), "a created session may be cached: %q", resp.Header.Get("Cache-Control")),
		check(strings.Contains(got.Header.Get("Cache-Control"), "private"), "the answer to GET may be cached: %q", got.Header.Get("Cache-Control")))
}

func challenges(ctx context.Context, t *Target) error {
	if t.Token == "" {
		return nil // nothing is protected
	}
	var bad error
	for _, c := range []struct{ target, header, want string }{
		{t.Endpoint, "", "Bearer"},
		{t.Endpoint, "Basic eDp5", "Bearer"},
		{t.Endpoint, "Bearer wrong", `Bearer error="invalid_token"`},
		{t.withToken("wrong"), "", `Bearer error="invalid_token"`},
	} {
		resp, err := t.do(ctx, http.MethodPost, c.target, t.offer(), typeSDP, "Authorization: "+c.header)
		if err == nil {
			got := resp.Header.Get("WWW-Authenticate")
			err = failures(resp.wants(http.StatusUnauthorized), check(got == c.want, "challenged with %q, not %q", got, c.want))
		}
		bad = errors.Join(bad, err)
	}
	return bad
}
