package jwtauth_test

import (
	"bytes"
	"context"
	"crypto"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/jwtauth"
)

// A keyServer answers requests for a key set in a bubble.
type keyServer struct {
	mu     sync.Mutex
	asked  int
	answer func(*http.Request) (*http.Response, error)
}

func (s *keyServer) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	s.asked++
	answer := s.answer
	s.mu.Unlock()
	return answer(r)
}

func (s *keyServer) set(answer func(*http.Request) (*http.Response, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

// times returns how often it was asked since the last call.
func (s *keyServer) times() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.asked
	s.asked = 0
	return n
}

func answers(status int, body []byte) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		return &http.Response{
			StatusCode: status, Status: http.StatusText(status), Header: http.Header{"Location": {"https://elsewhere.example/"}},
			Body: io.NopCloser(bytes.NewReader(body)), Request: r,
		}, nil
	}
}

func hangs(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, context.Cause(r.Context())
}

// drips sends its headers at once, and its body never.
func drips(r *http.Request) (*http.Response, error) {
	body, w := io.Pipe()
	context.AfterFunc(r.Context(), func() { w.CloseWithError(context.Cause(r.Context())) })
	return &http.Response{StatusCode: http.StatusOK, Body: body, Request: r}, nil
}

type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logged) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func eddsa(t testing.TB, kid string, key crypto.Signer) cdn.AuthRequest {
	return playing(sign(t, jwt.SigningMethodEdDSA, key, kid, good(nil)))
}

// A key that is new at the server is found by the first token of it; unknown ones
// cause one request every Between, however many they are.
func TestUnknownKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &keyServer{answer: answers(http.StatusOK, jwks(t, map[string]crypto.Signer{"old": edKey()}))}
		a := authorizer(t, jwtauth.Config{JWKS: "https://id.example/keys", Transport: s})
		require.Equal(t, 1, s.times())
		_, err := a.Authorize(t.Context(), eddsa(t, "old", edKey()))
		require.NoError(t, err)
		_, err = a.Authorize(t.Context(), eddsa(t, "new", otherKey()))
		require.ErrorIs(t, err, jwtauth.ErrKey)
		require.Zero(t, s.times(), "it was read just now")

		s.set(answers(http.StatusOK, jwks(t, map[string]crypto.Signer{"old": edKey(), "new": otherKey()})))
		time.Sleep(30 * time.Second)
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				_, err := a.Authorize(t.Context(), eddsa(t, "new", otherKey()))
				require.NoError(t, err)
			})
		}
		all.Wait()
		require.Equal(t, 1, s.times())
		for range 600 {
			_, err := a.Authorize(t.Context(), eddsa(t, "of a flood", otherKey()))
			require.ErrorIs(t, err, jwtauth.ErrKey)
			time.Sleep(100 * time.Millisecond)
		}
		require.LessOrEqual(t, s.times(), 2, "in a minute")

		s.set(answers(http.StatusOK, jwks(t, map[string]crypto.Signer{"new": otherKey()})))
		time.Sleep(15 * time.Minute)
		_, err = a.Authorize(t.Context(), eddsa(t, "old", edKey()))
		require.ErrorIs(t, err, jwtauth.ErrKey, "a key that was withdrawn")
	})
}

// The last good set serves while the server is away, whatever way that has.
func TestKeyServerFails(t *testing.T) {
	good := jwks(t, map[string]crypto.Signer{"a": edKey()})
	for name, answer := range map[string]func(*http.Request) (*http.Response, error){
		"slow":               hangs,
		"slow body":          drips,
		"huge":               answers(http.StatusOK, append(bytes.Repeat([]byte(" "), 1<<20), good...)),
		"error":              answers(http.StatusInternalServerError, good),
		"redirect":           answers(http.StatusFound, good),
		"page":               answers(http.StatusOK, []byte("<html>Log in</html>")),
		"nothing":            answers(http.StatusOK, nil),
		"no keys":            answers(http.StatusOK, []byte(`{"keys":[]}`)),
		"keys of another":    answers(http.StatusOK, []byte(`{"keys":[{"kty":"XX"},{"kty":"RSA","n":"AQ","e":"AQ"},7,null]}`)),
		"keys of an object":  answers(http.StatusOK, []byte(`{"keys":{"a":1}}`)),
		"too many":           answers(http.StatusOK, []byte(`{"keys":[`+strings.Repeat("{},", 99)+`{}]}`)),
		"keys twice":         answers(http.StatusOK, append([]byte(`{"keys":[],`), good[1:]...)),
		"for encryption":     answers(http.StatusOK, bytes.Replace(good, []byte(`"kty"`), []byte(`"use":"enc","kty"`), 1)),
		"for something else": answers(http.StatusOK, bytes.Replace(good, []byte(`"kty"`), []byte(`"key_ops":["sign"],"kty"`), 1)),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, log := &keyServer{answer: answers(http.StatusOK, good)}, &logged{}
				a := authorizer(t, jwtauth.Config{JWKS: "https://id.example/secret", Transport: s, Logger: log.logger()})
				s.set(answer)
				time.Sleep(24 * time.Hour)
				synctest.Wait()
				_, err := a.Authorize(t.Context(), eddsa(t, "a", edKey()))
				require.NoError(t, err)
				_, err = a.Authorize(t.Context(), eddsa(t, "b", edKey()))
				require.ErrorIs(t, err, jwtauth.ErrKeys, "nothing is known of other keys")
				require.ErrorIs(t, err, cdn.ErrUnavailable)
				require.LessOrEqual(t, s.times(), 24*4+15)
				require.Equal(t, 1, strings.Count(log.String(), "\n"), "one line for one trouble: %s", log)
				require.NotContains(t, log.String(), "secret")

				s.set(answers(http.StatusOK, good))
				time.Sleep(15*time.Minute + 10*time.Second)
				_, err = a.Authorize(t.Context(), eddsa(t, "b", edKey()))
				require.ErrorIs(t, err, jwtauth.ErrKey)
				require.Equal(t, 2, strings.Count(log.String(), "\n"), log)
			})
		})
	}
}

// A server that is away at the start keeps nobody from starting, and lets nobody in.
func TestNoKeysYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, log := &keyServer{answer: hangs}, &logged{}
		began := time.Now()
		a := authorizer(t, jwtauth.Config{JWKS: "https://id.example/keys", Transport: s, Secret: secret, Logger: log.logger()})
		require.Equal(t, 5*time.Second, time.Since(began), "the time limit")
		_, err := a.Authorize(t.Context(), eddsa(t, "a", edKey()))
		require.ErrorIs(t, err, jwtauth.ErrKeys)
		_, err = a.Authorize(t.Context(), playing(sign(t, jwt.SigningMethodHS256, secret, "", good(nil))))
		require.NoError(t, err, "the secret is there")
		require.Contains(t, log.String(), "has_keys=false")
		s.set(answers(http.StatusOK, jwks(t, map[string]crypto.Signer{"a": edKey()})))
		time.Sleep(7 * time.Second)
		_, err = a.Authorize(t.Context(), eddsa(t, "a", edKey()))
		require.NoError(t, err)
	})
}

// Close ends a request that goes on, and those who wait for it.
func TestCloseWhileReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &keyServer{answer: answers(http.StatusOK, jwks(t, map[string]crypto.Signer{"a": edKey()}))}
		a, err := jwtauth.New(t.Context(), jwtauth.Config{JWKS: "https://id.example/keys", Transport: s})
		require.NoError(t, err)
		s.set(hangs)
		time.Sleep(time.Minute)
		waited := make(chan error)
		go func() {
			_, err := a.Authorize(t.Context(), eddsa(t, "b", edKey()))
			waited <- err
		}()
		synctest.Wait()
		require.NoError(t, a.Close())
		require.Error(t, <-waited)
		_, err = a.Authorize(t.Context(), eddsa(t, "c", edKey()))
		require.Error(t, err, "and not for ever")
		_, err = a.Authorize(t.Context(), eddsa(t, "a", edKey()))
		require.NoError(t, err)
	})
}

// A real server, and a redirect to another, which is not asked.
func TestRealKeyServer(t *testing.T) {
	set := jwks(t, map[string]crypto.Signer{"a": edKey()})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(set) }))
	defer s.Close()
	a := authorizer(t, jwtauth.Config{JWKS: s.URL})
	_, err := a.Authorize(t.Context(), eddsa(t, "a", edKey()))
	require.NoError(t, err)

	redirecting := httptest.NewServer(http.RedirectHandler(s.URL, http.StatusTemporaryRedirect))
	defer redirecting.Close()
	b := authorizer(t, jwtauth.Config{JWKS: redirecting.URL})
	_, err = b.Authorize(t.Context(), eddsa(t, "a", edKey()))
	require.ErrorIs(t, err, jwtauth.ErrKeys)
}

// A file is read again.
func TestKeyFileChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "keys.json")
		require.NoError(t, os.WriteFile(path, jwks(t, map[string]crypto.Signer{"a": edKey()}), 0o600))
		a := authorizer(t, jwtauth.Config{JWKSFile: path, Refresh: time.Minute})
		require.NoError(t, os.WriteFile(path, jwks(t, map[string]crypto.Signer{"b": otherKey()}), 0o600))
		time.Sleep(time.Minute)
		synctest.Wait()
		_, err := a.Authorize(t.Context(), eddsa(t, "b", otherKey()))
		require.NoError(t, err)
		_, err = a.Authorize(t.Context(), eddsa(t, "a", edKey()))
		require.ErrorIs(t, err, jwtauth.ErrKey)
	})
}
