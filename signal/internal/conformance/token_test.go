package conformance

import (
	"bytes"
	"context"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/signal"
	"github.com/deltacdn/delta/signal/whep"
	"github.com/deltacdn/delta/signal/whip"
)

// lines are what everybody has logged.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// redirecting sends all offers to another node.
type redirecting struct{ to string }

func (r redirecting) Offer(context.Context, signal.Offer) (signal.Session, error) {
	return nil, &signal.RedirectError{URL: r.to, Err: cdn.ErrOverLimit}
}

// No token gets into a log, at any level, nor into the text of an error, whatever becomes
// of the request; and a redirect keeps it, since the client has nothing else to show.
func TestTokensAreNotLogged(t *testing.T) {
	logged := &lines{}
	logger := slog.New(slog.NewTextHandler(logged, &slog.HandlerOptions{Level: slog.LevelDebug, AddSource: true}))
	var asked []cdn.AuthRequest
	var asking sync.Mutex
	node, err := cdn.Listen(cdn.Config{
		Addr: "127.0.0.1:0", Logger: logger,
		OnEvent: func(e cdn.Event) { logger.Info("event", "event", e) },
		Authorizer: cdn.AuthorizerFunc(func(ctx context.Context, r cdn.AuthRequest) (cdn.Grant, error) {
			asking.Lock()
			asked = append(asked, r)
			asking.Unlock()
			return guarded(ctx, r)
		}),
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, node.Close()) })
	live, err := origin.New(node, origin.Config{})
	require.NoError(t, err)
	view, err := edge.New(node, edge.Config{Source: live})
	require.NoError(t, err)
	mux := http.NewServeMux()
	s := httptest.NewUnstartedServer(mux)
	s.Config.ErrorLog = log.New(logged, "", 0)
	s.Start()
	t.Cleanup(s.Close)
	handle := func(path string, h http.Handler, err error) {
		require.NoError(t, err)
		mux.Handle(path, h)
	}
	publish, err := whip.New(live, whip.Config{Logger: logger})
	handle("/whip/", publish, err)
	t.Cleanup(func() { require.NoError(t, publish.Close()) })
	play, err := whep.New(view, whep.Config{Logger: logger})
	handle("/whep/", play, err)
	t.Cleanup(func() { require.NoError(t, play.Close()) })
	away, err := whep.New(redirecting{s.URL}, whep.Config{Prefix: "/away", Logger: logger})
	handle("/away/", away, err)

	const wrong = "a.wrong-token"
	inURL := func(path, token string) string {
		return s.URL + path + "?access_token=" + url.QueryEscape(token) + "&layer="
	}
	var failures []string
	fails := func(d signal.Dialer, target, credential, stream string) {
		sdp := (&Target{Playback: !strings.Contains(target, "/whip/")}).offer()
		_, err := d.Dial(t.Context(), target, signal.Offer{Stream: cdn.StreamID(stream), SDP: sdp, Credential: credential})
		require.Error(t, err)
		failures = append(failures, err.Error())
	}
	fails(&whip.Client{}, inURL("/whip/live/one", wrong), "", "live/one")
	fails(&whip.Client{}, s.URL+"/whip/live/one", wrong, "live/one")
	fails(&whip.Client{}, inURL("/whip/live/one", token), token, "live/one")
	fails(&whep.Client{}, inURL("/whep/live/none", token), "", "live/none")
	fails(&whep.Client{}, "http://127.0.0.1:1/whep/live/one?access_token="+url.QueryEscape(token), token, "live/one")
	fails(&whep.Client{}, inURL("/whep/-/-", token), "", "live/one")

	p := cdntest.Publish(t, cdntest.PublisherConfig{Dialer: &whip.Client{}, URL: inURL("/whip/live/one", token)})
	require.NoError(t, p.WaitConnected(t.Context()))
	v := cdntest.View(t, cdntest.ViewerConfig{Dialer: &whep.Client{}, URL: inURL("/whep/live/one", token)})
	require.NoError(t, v.WaitFrames(t.Context(), 5))
	require.NoError(t, v.Close())

	resp, err := (&Target{}).do(t.Context(), http.MethodPost, inURL("/away/live/one", token), (&Target{Playback: true}).offer(), typeSDP)
	require.NoError(t, err)
	require.Equal(t, http.StatusTemporaryRedirect, resp.StatusCode)
	require.Equal(t, inURL("/away/live/one", token), resp.Header.Get("Location"))
	require.Equal(t, "no-store", resp.Header.Get("Cache-Control"))

	require.NoError(t, p.Stop(t.Context()))
	// The clients are told ahead of the log.
	require.Eventually(t, func() bool { return strings.Contains(logged.String(), "the client left") }, 20*time.Second, time.Millisecond)
	require.Contains(t, logged.String(), "request refused")
	for _, secret := range []string{token, wrong, url.QueryEscape(token), "access_token"} {
		require.NotContains(t, logged.String(), secret)
		for _, text := range failures {
			require.NotContains(t, text, secret)
		}
	}
	asking.Lock()
	defer asking.Unlock()
	for _, r := range asked {
		require.False(t, r.Query.Has("access_token"), "it is the credential, and nowhere else")
	}
}
