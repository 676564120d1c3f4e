package outbound_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn/internal/outbound"
)

func TestCheckURL(t *testing.T) {
	for _, tc := range []struct {
		url   string
		plain bool
		ok    bool
	}{
		{url: "https://example.com/hook?a=b", ok: true},
		{url: "https://user:password@example.com/", ok: true},
		{url: "http://127.0.0.1:8080/", ok: true},
		{url: "http://[::1]/", ok: true},
		{url: "http://localhost/", ok: true},
		{url: "http://example.com/", plain: true, ok: true},
		{url: "http://example.com/"},
		{url: "http://127.0.0.1.example.com/"},
		{url: "http://127.0.0.1@example.com/"},
		{url: "http://localhost.example.com/"},
		{url: "file:///etc/passwd", plain: true},
		{url: "ftp://127.0.0.1/", plain: true},
		{url: "example.com/hook", plain: true},
		{url: "https://", plain: true},
		{url: "https:///path", plain: true},
		{url: "https://example.com/#x", plain: true},
		{url: "", plain: true},
		{url: "https://exa\x00mple.com/secret", plain: true},
	} {
		_, err := outbound.CheckURL(tc.url, tc.plain)
		require.Equal(t, tc.ok, err == nil, "%q: %v", tc.url, err)
		if err != nil {
			require.NotContains(t, err.Error(), "secret")
		}
	}
}

func TestNoRedirect(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	defer elsewhere.Close()
	s := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	defer s.Close()
	c := outbound.NewClient(1, nil)
	defer c.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL, strings.NewReader("x"))
	require.NoError(t, err)
	resp, err := c.Do(r)
	require.NoError(t, err)
	outbound.Discard(resp.Body)
	require.Equal(t, http.StatusTemporaryRedirect, resp.StatusCode)
}

func TestReadAll(t *testing.T) {
	data, err := outbound.ReadAll(strings.NewReader("12345"), 5)
	require.NoError(t, err)
	require.Equal(t, "12345", string(data))
	_, err = outbound.ReadAll(strings.NewReader("123456"), 5)
	require.ErrorIs(t, err, outbound.ErrTooLarge)
}

func TestErrorsKeepSecrets(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close()
	c := outbound.NewClient(1, nil)
	defer c.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/secret", nil)
	require.NoError(t, err)
	_, err = c.Do(r)
	require.Error(t, err)
	require.NotContains(t, err.Error(), "secret")
}
