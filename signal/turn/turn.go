// Package turn makes time-limited credentials for TURN servers that share a secret with
// this one, as draft-uberti-behave-turn-rest describes: coturn's use-auth-secret. A
// client that has them can use the server until they expire.
package turn

import (
	"context"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // what TURN servers expect; HMAC-SHA1 is not broken
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/signal"
)

// Credentials returns the user name and the password by which a client can use a TURN
// server that has the secret, until expires, in seconds. user tells users apart in the
// server's log and quotas; it must not contain a colon.
func Credentials(secret, user string, expires time.Time) (username, password string) {
	username = strconv.FormatInt(expires.Unix(), 10)
	if user != "" {
		username += ":" + user
	}
	mac := hmac.New(sha1.New, []byte(secret))
	mac.Write([]byte(username))
	return username, base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// Config sets up [New].
type Config struct {
	// URLs are the addresses of the TURN server, such as
	// "turn:turn.example.com:3478?transport=udp". Required.
	URLs []string
	// Secret is shared with the server: coturn's static-auth-secret. Required.
	Secret string
	// User is the name of all users. If empty, "delta".
	User string
	// TTL is how long credentials are valid. A client needs them when it begins, and again
	// when it restarts ICE. If zero, 24 h.
	TTL time.Duration
}

// New returns a function for the ICEServersFor of whip and whep handlers: it makes
// credentials for each client that has its session, and for nobody else. It fails with an
// error wrapping [cdn.ErrInvalid] if c is not valid.
func New(c Config) (signal.ICEServers, error) {
	if c.User == "" {
		c.User = "delta"
	}
	if c.TTL <= 0 {
		c.TTL = 24 * time.Hour
	}
	server := func(now time.Time) signal.ICEServer {
		username, password := Credentials(c.Secret, c.User, now.Add(c.TTL))
		return signal.ICEServer{URLs: c.URLs, Username: username, Credential: password}
	}
	if err := c.check(server(time.Now())); err != nil {
		return nil, &cdn.Error{Op: "new TURN server", Err: err}
	}
	return func(_ context.Context, r signal.ICERequest) []signal.ICEServer {
		if !r.Admitted {
			return nil
		}
		return []signal.ICEServer{server(time.Now())}
	}, nil
}

func (c Config) check(s signal.ICEServer) error {
	if c.Secret == "" {
		return fmt.Errorf("%w: no secret", cdn.ErrInvalid)
	}
	if strings.Contains(c.User, ":") {
		return fmt.Errorf("%w: user %q has a colon", cdn.ErrInvalid, c.User)
	}
	for _, u := range c.URLs {
		if !strings.HasPrefix(u, "turn:") && !strings.HasPrefix(u, "turns:") {
			return fmt.Errorf("%w: %q is not the URL of a TURN server, such as turn:turn.example.com:3478", cdn.ErrInvalid, u)
		}
	}
	_, err := s.Links()
	return err
}
