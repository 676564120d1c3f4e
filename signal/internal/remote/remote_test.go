package remote

import (
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAddr(t *testing.T) {
	r := httptest.NewRequest("POST", "/", nil)
	r.RemoteAddr = "127.0.0.1:7"
	require.Equal(t, "127.0.0.1:7", Addr(r))
	for name, value := range map[string]string{"Forwarded": "for=127.0.0.1", "X-Forwarded-For": "", "X-Real-IP": "::1", "via": "1.1 x"} {
		r := httptest.NewRequest("POST", "/", nil)
		r.RemoteAddr = "127.0.0.1:7"
		r.Header.Set(name, value)
		require.Equal(t, "proxied:0", Addr(r), name)
	}
}
