package link

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/signal"
)

type handler func(o signal.LinkOffer) ([]byte, error)

func (h handler) Link(_ context.Context, o signal.LinkOffer) ([]byte, error) { return h(o) }

func TestConformance(t *testing.T) {
	cdntest.TestLinkDialer(t, func(t *testing.T, h signal.LinkHandler) (signal.LinkDialer, string) {
		mux := http.NewServeMux()
		if h != nil {
			mux.Handle(Path, New(h, nil))
		}
		s := httptest.NewServer(mux)
		t.Cleanup(s.Close)
		return &Client{HTTP: s.Client()}, s.URL
	})
}

func TestOfferAndAnswer(t *testing.T) {
	s := httptest.NewServer(New(handler(func(o signal.LinkOffer) ([]byte, error) {
		if !strings.HasPrefix(o.RemoteAddr, "127.0.0.1:") {
			return nil, cdn.ErrUnauthorized
		}
		return append([]byte("answer to "), o.Body...), nil
	}), nil))
	defer s.Close()
	answer, err := (&Client{}).DialLink(t.Context(), s.URL+"/", []byte("offer"))
	require.NoError(t, err)
	require.Equal(t, "answer to offer", string(answer))
}

// What a node says arrives as the same error; what is no node of ours is told
// apart.
func TestErrors(t *testing.T) {
	for _, want := range []error{cdn.ErrUnauthorized, cdn.ErrOverLimit, cdn.ErrInvalid, cdn.ErrLoop} {
		s := httptest.NewServer(New(handler(func(signal.LinkOffer) ([]byte, error) { return nil, want }), nil))
		_, err := (&Client{}).DialLink(t.Context(), s.URL, nil)
		require.ErrorIs(t, err, want)
		require.NotErrorIs(t, err, cdn.ErrUnsupported)
		s.Close()
	}
	for _, status := range []int{http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusUnsupportedMediaType} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
		_, err := (&Client{}).DialLink(t.Context(), s.URL, nil)
		require.ErrorIs(t, err, cdn.ErrUnsupported)
		s.Close()
	}
	_, err := (&Client{}).DialLink(t.Context(), "http://127.0.0.1:1", nil)
	require.ErrorIs(t, err, cdn.ErrPeerLost)
}

func TestBadRequests(t *testing.T) {
	from := ""
	h := New(handler(func(o signal.LinkOffer) ([]byte, error) {
		from = o.RemoteAddr
		return nil, errors.New("no")
	}), nil)
	ask := func(method, kind, body, forwarded string) int {
		r := httptest.NewRequest(method, Path, strings.NewReader(body))
		r.Header.Set("Content-Type", kind)
		if forwarded != "" {
			r.Header.Set("X-Forwarded-For", forwarded)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code
	}
	require.Equal(t, http.StatusMethodNotAllowed, ask(http.MethodGet, MediaType, "", ""))
	require.Equal(t, http.StatusUnsupportedMediaType, ask(http.MethodPost, "application/sdp", "", ""))
	require.Equal(t, http.StatusRequestEntityTooLarge, ask(http.MethodPost, MediaType, strings.Repeat("x", maxBody+1), ""))
	require.Equal(t, http.StatusInternalServerError, ask(http.MethodPost, MediaType, "{}", "127.0.0.1"))
	require.Equal(t, "192.0.2.1:1234", from, "whoever forwards without being declared counts as itself")
}
