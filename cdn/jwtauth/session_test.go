package jwtauth_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/cdn/jwtauth"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/signal/whep"
	"github.com/deltacdn/delta/signal/whip"
)

// patience bounds every wait. It is not asserted: a slow machine only waits.
const patience = 20 * time.Second

// A site is a node with WHIP and WHEP over HTTP, whose clients have tokens.
type site struct {
	*testing.T
	tokens *jwtauth.Authorizer
	ended  chan cdn.SessionEnded
	url    string
}

func newSite(t *testing.T) *site {
	s := &site{T: t, tokens: authorizer(t, jwtauth.Config{Secret: secret}), ended: make(chan cdn.SessionEnded, 100)}
	node, err := cdn.Listen(cdn.Config{
		Addr: "127.0.0.1:0", Authorizer: s.tokens, OnEvent: func(e cdn.Event) {
			if e, ok := e.(cdn.SessionEnded); ok {
				s.ended <- e
			}
		},
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, node.Close()) })
	live, err := origin.New(node, origin.Config{})
	require.NoError(t, err)
	out, err := edge.New(node, edge.Config{Source: live})
	require.NoError(t, err)
	in, err := whip.New(live, whip.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = in.Close() })
	play, err := whep.New(out, whep.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = play.Close() })
	mux := http.NewServeMux()
	mux.Handle("/whip/", in)
	mux.Handle("/whep/", play)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

func (s *site) token(changes object) string {
	return sign(s, jwt.SigningMethodHS256, secret, "", good(changes))
}

func (s *site) publish(token string) *cdntest.Publisher {
	p, err := cdntest.NewPublisher(s.Context(), cdntest.PublisherConfig{
		Dialer: &whip.Client{}, URL: s.url + "/whip/live/a", Stream: "live/a", Credential: token,
	})
	require.NoError(s, err)
	s.Cleanup(p.Kill)
	require.NoError(s, p.WaitConnected(s.within(patience)))
	return p
}

func (s *site) tryView(token string) (*cdntest.Viewer, error) {
	return cdntest.NewViewer(s.Context(), cdntest.ViewerConfig{
		Dialer: &whep.Client{}, URL: s.url + "/whep/live/a", Stream: "live/a", Credential: token,
	})
}

func (s *site) view(token string) *cdntest.Viewer {
	v, err := s.tryView(token)
	require.NoError(s, err)
	s.Cleanup(v.Kill)
	require.NoError(s, v.WaitFrames(s.within(patience), 10))
	return v
}

func (s *site) within(d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(s.Context(), d)
	s.Cleanup(cancel)
	return ctx
}

// endsAfter waits for the end of the session of a grant, and returns when that was.
func (s *site) waitEnd(grant string, reason error) time.Time {
	for {
		select {
		case e := <-s.ended:
			if e.Grant == grant {
				require.ErrorIs(s, e.Err, reason)
				return time.Now()
			}
		case <-s.within(10 * time.Second).Done():
			s.Fatalf("the session of %s does not end", grant)
		}
	}
}

func (s *site) requireDone(done <-chan struct{}, who string) {
	select {
	case <-done:
	case <-time.After(patience):
		s.Errorf("%s was not told", who)
	}
}

func playingOn(v *cdntest.Viewer, ctx context.Context) error {
	return v.WaitFrames(ctx, len(v.Report().Video().Frames)+10)
}

// Over real WHIP, WHEP, ICE, DTLS and SRTP: a token that is revoked or expires ends its
// session, also after the stream was published anew, and no other. How soon is looked at in
// virtual time (authorizer_test.go).
func TestTokensEndSessions(t *testing.T) {
	s := newSite(t)
	p := s.publish(s.token(object{"jti": "publisher", "actions": "publish"}))
	revoked := s.token(object{"jti": "revoked", "sub": "bob", "actions": "play"})
	bob, ann := s.view(revoked), s.view(s.token(object{"jti": "other", "actions": "play"}))
	_, err := s.tryView(s.token(object{"streams": "other/*"}))
	require.ErrorIs(t, err, cdn.ErrForbidden)
	_, err = s.tryView("rubbish")
	require.ErrorIs(t, err, cdn.ErrUnauthorized)

	// The same subject takes the stream over.
	again := s.publish(s.token(object{"jti": "again", "actions": "publish"}))
	s.waitEnd("publisher", cdn.ErrSuperseded)
	p.Kill()
	require.NoError(t, playingOn(bob, s.within(patience)))

	began := time.Now()
	s.tokens.Revoke("revoked", time.Now().Add(time.Hour))
	took := s.waitEnd("revoked", jwtauth.ErrRevoked).Sub(began)
	s.requireDone(bob.Done(), "the viewer")
	t.Logf("revoked: ended after %v, the viewer knew after %v", took, time.Since(began))
	_, err = s.tryView(revoked)
	require.ErrorIs(t, err, cdn.ErrUnauthorized)
	require.NoError(t, playingOn(ann, s.within(patience)))

	exp := time.Now().Add(5 * time.Second).Truncate(time.Millisecond)
	short, err := s.tryView(s.token(object{"jti": "short", "exp": float64(exp.UnixMilli()) / 1000, "actions": "play"}))
	require.NoError(t, err)
	defer short.Kill()
	took = s.waitEnd("short", cdn.ErrUnauthorized).Sub(exp)
	require.GreaterOrEqual(t, took, -time.Millisecond)
	s.requireDone(short.Done(), "the viewer")
	t.Logf("expired: ended %v after its time, the viewer knew after %v", took, time.Since(exp))
	require.NoError(t, playingOn(ann, s.within(patience)))

	began = time.Now()
	s.tokens.Revoke("again", time.Now().Add(time.Hour))
	took = s.waitEnd("again", jwtauth.ErrRevoked).Sub(began)
	s.requireDone(again.Done(), "the publisher")
	t.Logf("publisher revoked: ended after %v, it knew after %v", took, time.Since(began))
}
