package jwtauth

import (
	"errors"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/internal/strictjson"
)

const (
	maxText    = 256  // bytes of a claim that is a text
	maxPattern = 512  // bytes of a stream pattern
	maxBitrate = 1e12 // bits a second
)

// claims are what is read of a token. Others are ignored.
type claims struct {
	issuer, subject, id, tag   string
	audience, actions          []string
	expires, notBefore, issued time.Time
	streams                    []cdn.StreamPattern
	maxBitrate                 int
}

// UnmarshalJSON reads the claims. It fails if one of them is of another type than it
// has to be, or is there twice.
func (c *claims) UnmarshalJSON(data []byte) error {
	m, err := strictjson.Object(data)
	if err != nil {
		return err
	}
	var streams []string
	err = errors.Join(
		m.Text("iss", maxText, &c.issuer),
		m.Text("sub", maxText, &c.subject),
		m.Text("jti", maxText, &c.id),
		m.Text("tag", maxText, &c.tag),
		m.Texts("aud", maxText, &c.audience),
		m.Texts("actions", maxText, &c.actions),
		m.Texts("streams", maxPattern, &streams),
		m.Time("exp", &c.expires),
		m.Time("nbf", &c.notBefore),
		m.Time("iat", &c.issued),
		m.Whole("max_bitrate", 1, maxBitrate, &c.maxBitrate),
	)
	for _, s := range streams {
		p, wrong := cdn.ParseStreamPattern(s)
		err = errors.Join(err, wrong)
		c.streams = append(c.streams, p)
	}
	return err
}

// The methods of [jwt.Claims].

func (c *claims) GetExpirationTime() (*jwt.NumericDate, error) { return date(c.expires), nil }
func (c *claims) GetNotBefore() (*jwt.NumericDate, error)      { return date(c.notBefore), nil }
func (c *claims) GetIssuedAt() (*jwt.NumericDate, error)       { return date(c.issued), nil }
func (c *claims) GetAudience() (jwt.ClaimStrings, error)       { return c.audience, nil }
func (c *claims) GetIssuer() (string, error)                   { return c.issuer, nil }
func (c *claims) GetSubject() (string, error)                  { return c.subject, nil }

func date(t time.Time) *jwt.NumericDate {
	if t.IsZero() {
		return nil
	}
	return &jwt.NumericDate{Time: t}
}
