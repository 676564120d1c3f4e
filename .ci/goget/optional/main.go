// Command optional is a stranger's program with the modules that only some need: tokens,
// the hook, metrics and traces. It is built outside of this repository, without their replace
// lines. .ci/goget/run builds and runs it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/access"
	"github.com/deltacdn/delta/cdn/hookauth"
	"github.com/deltacdn/delta/cdn/jwtauth"
	"github.com/deltacdn/delta/cdn/otel"
	"github.com/deltacdn/delta/cdn/prom"
	"github.com/deltacdn/delta/cdn/webhook"
)

const hookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

func main() {
	log.SetFlags(0)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := run(ctx); err != nil {
		log.Fatal("optional: ", err)
	}
	fmt.Println("optional: ok")
}

// run has a node ask for tokens first, and a hook about everything else.
func run(ctx context.Context) error {
	hook := httptest.NewServer(http.HandlerFunc(decide))
	defer hook.Close()
	secret := []byte("a secret of thirty-two bytes and more")
	tokens, err := jwtauth.New(ctx, jwtauth.Config{Secret: secret})
	if err != nil {
		return err
	}
	defer func() { _ = tokens.Close() }()
	asking, err := hookauth.New(hookauth.Config{URL: hook.URL, Secrets: []string{hookSecret}, Node: "stranger"})
	if err != nil {
		return err
	}
	defer func() { _ = asking.Close() }()
	node, err := cdn.Listen(cdn.Config{
		ID: "stranger", Addr: "127.0.0.1:0", Authorizer: access.Any(tokens, asking), Tracer: otel.New(otel.Config{}),
	})
	if err != nil {
		return err
	}
	defer func() { _ = node.Close() }()

	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"sub": "ann", "exp": time.Now().Add(time.Hour).Unix(), "streams": "live/*", "actions": "play",
	}).SignedString(secret)
	if err != nil {
		return err
	}
	for _, tc := range []struct {
		action     cdn.Action
		credential string
		subject    string
		err        error
	}{
		{cdn.ActionPlay, token, "ann", nil},
		{cdn.ActionPublish, token, "", cdn.ErrForbidden},
		{cdn.ActionPublish, "for the hook", "bob", nil},
		{cdn.ActionPlay, token[:len(token)-1], "", cdn.ErrUnauthorized},
	} {
		a, err := node.Authorize(ctx, cdn.AuthRequest{Action: tc.action, Stream: "live/a", Credential: tc.credential})
		if !errors.Is(err, tc.err) || err == nil && a.Grant().Subject != tc.subject {
			return fmt.Errorf("%v with %.10q…: %w", tc.action, tc.credential, err)
		}
	}
	return scrape(node)
}

// scrape asks for the node's metrics, which tell of those that were refused.
func scrape(node *cdn.Node) error {
	w := httptest.NewRecorder()
	prom.Handler(prom.New(prom.Config{Node: node})).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
	if !strings.Contains(w.Body.String(), `delta_sessions_refused_total{action="publish",reason="forbidden"} 1`) {
		return fmt.Errorf("metrics: %d: %s", w.Code, w.Body)
	}
	return nil
}

// decide is a hook that lets everybody in.
func decide(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil || webhook.Verify(hookSecret, r.Header, body, time.Now()) != nil {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"allow":true,"subject":"bob"}`)
}
