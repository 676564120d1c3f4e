package jwtauth

import (
	"errors"
	"fmt"

	"github.com/golang-jwt/jwt/v5"

	"github.com/deltacdn/delta/cdn"
)

// The reasons for which a token is refused. Test for them with [errors.Is]. Most wrap
// [cdn.ErrUnauthorized], since another token is needed: ErrExpired by way of
// [cdn.ErrExpired], and ErrNoToken by way of [cdn.ErrUnknownCredential], also for a
// credential that does not look like a token. ErrAction and ErrStream wrap
// [cdn.ErrForbidden], since the token is good for something else. ErrKeys wraps
// [cdn.ErrUnavailable].
var (
	ErrNoToken   = fmt.Errorf("there is no JSON Web Token: %w", cdn.ErrUnknownCredential)
	ErrMalformed = unauthorized("the token cannot be read")
	ErrSignature = unauthorized("the token's signature is wrong, or its algorithm is not taken")
	ErrKey       = unauthorized("the token is signed with an unknown key")
	ErrExpired   = fmt.Errorf("the token has expired: %w", cdn.ErrExpired)
	ErrNotYet    = unauthorized("the token is not valid yet")
	ErrIssuer    = unauthorized("the token is of another issuer")
	ErrAudience  = unauthorized("the token is for another audience")
	ErrRevoked   = unauthorized("the token was revoked")
	ErrAction    = fmt.Errorf("the token is for another action: %w", cdn.ErrForbidden)
	ErrStream    = fmt.Errorf("the token is for other streams: %w", cdn.ErrForbidden)
	ErrKeys      = fmt.Errorf("the keys for tokens cannot be read: %w", cdn.ErrUnavailable)
)

func unauthorized(text string) error { return fmt.Errorf("%s: %w", text, cdn.ErrUnauthorized) }

// sentences are for the clients that are refused.
var sentences = []struct {
	err      error
	sentence string
}{
	{ErrNoToken, "A valid token is needed for this."},
	{ErrExpired, "The token has expired. Ask for a new one."},
	{ErrNotYet, "The token is not valid yet."},
	{ErrRevoked, "The token was revoked."},
	{ErrAction, "The token does not allow this action."},
	{ErrStream, "The token does not allow this stream."},
	{ErrKeys, "The server cannot check tokens at the moment. Try again in a few seconds."},
	{cdn.ErrUnauthorized, "The token is not valid."},
}

// refuse returns the error that a client gets.
func refuse(r cdn.AuthRequest, err error) error {
	e := &cdn.Error{Op: "check the token for", Stream: r.Stream, Err: err}
	for _, s := range sentences {
		if errors.Is(err, s.err) {
			e.Detail = s.sentence
			break
		}
	}
	return e
}

// reason returns which of the errors above one of the JWT library is.
func reason(err error) error {
	for _, r := range []struct{ theirs, ours error }{
		{ErrMalformed, ErrMalformed},
		{ErrKey, ErrKey},
		{ErrKeys, ErrKeys},
		{jwt.ErrTokenMalformed, ErrMalformed},
		{jwt.ErrTokenSignatureInvalid, ErrSignature},
		{jwt.ErrTokenUnverifiable, ErrSignature},
		{jwt.ErrTokenExpired, ErrExpired},
		{jwt.ErrTokenNotValidYet, ErrNotYet},
		{jwt.ErrTokenInvalidIssuer, ErrIssuer},
		{jwt.ErrTokenInvalidAudience, ErrAudience},
		{jwt.ErrTokenRequiredClaimMissing, ErrMalformed},
	} {
		if errors.Is(err, r.theirs) {
			return r.ours
		}
	}
	return ErrMalformed
}
