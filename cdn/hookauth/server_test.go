package hookauth_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/hookauth"
	"github.com/deltacdn/delta/cdn/webhook"
)

const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// A script is a hook in memory, for bubbles: a transport that answers by itself.
type script struct {
	t      testing.TB
	mu     sync.Mutex
	asked  []hookauth.Question
	most   int // requests at a time
	now    int
	answer func(*http.Request, hookauth.Question) (*http.Response, error)
}

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	var q hookauth.Question
	if err := json.Unmarshal(body, &q); err != nil {
		s.t.Errorf("%q: %v", body, err)
	}
	if err := webhook.Verify(secret, r.Header, body, time.Now()); err != nil {
		s.t.Error(err)
	}
	s.mu.Lock()
	s.asked = append(s.asked, q)
	s.now++
	s.most = max(s.most, s.now)
	answer := s.answer
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.now--
		s.mu.Unlock()
	}()
	return answer(r, q)
}

func (s *script) set(answer func(*http.Request, hookauth.Question) (*http.Response, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

// take returns the questions since the last call.
func (s *script) take() []hookauth.Question {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := s.asked
	s.asked = nil
	return asked
}

func says(text string) func(*http.Request, hookauth.Question) (*http.Response, error) {
	return func(r *http.Request, _ hookauth.Question) (*http.Response, error) { return answerOf(r, text), nil }
}

func answerOf(r *http.Request, text string) *http.Response {
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json; charset=utf-8"}},
		Body: io.NopCloser(strings.NewReader(text)), Request: r,
	}
}

func hangs(r *http.Request, _ hookauth.Question) (*http.Response, error) {
	<-r.Context().Done()
	return nil, context.Cause(r.Context())
}

// later answers after a second.
func later(text string) func(*http.Request, hookauth.Question) (*http.Response, error) {
	return func(r *http.Request, _ hookauth.Question) (*http.Response, error) {
		time.Sleep(time.Second)
		return answerOf(r, text), nil
	}
}

func scripted(t testing.TB, set func(*hookauth.Config), answer func(*http.Request, hookauth.Question) (*http.Response, error)) (*hookauth.Authorizer, *script) {
	s := &script{t: t, answer: answer}
	c := hookauth.Config{URL: "https://hook.example/secret-path", Secrets: []string{secret}, Node: "edge-1", Transport: s}
	if set != nil {
		set(&c)
	}
	return authorizer(t, c), s
}

func authorizer(t testing.TB, c hookauth.Config) *hookauth.Authorizer {
	a, err := hookauth.New(c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, a.Close()) })
	return a
}

func playing(token string) cdn.AuthRequest {
	return cdn.AuthRequest{Action: cdn.ActionPlay, Stream: "live/a", Credential: token, RemoteAddr: "192.0.2.1:7"}
}

type logged struct {
	mu sync.Mutex
	bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(p)
}

func (l *logged) lines() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.String(), "\n")
}

func (l *logged) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }
