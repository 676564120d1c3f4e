package signal_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/signal"
)

func TestServerDefaults(t *testing.T) {
	s := signal.ServerDefaults(&http.Server{})
	require.Positive(t, s.ReadHeaderTimeout)
	require.Positive(t, s.IdleTimeout)
	require.Positive(t, s.MaxHeaderBytes)
	require.Zero(t, s.WriteTimeout, "event streams last")
	set := http.Server{ReadHeaderTimeout: 1, IdleTimeout: 2, MaxHeaderBytes: 3}
	require.Equal(t, []int{1, 2, 3}, []int{int(signal.ServerDefaults(&set).ReadHeaderTimeout), int(set.IdleTimeout), set.MaxHeaderBytes})
}

// A connection on which nothing is sent, or not all of a header, is closed.
func TestSilentConnectionsAreClosed(t *testing.T) {
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ReadHeaderTimeout = 200 * time.Millisecond
	signal.ServerDefaults(s.Config)
	s.Start()
	defer s.Close()
	var all []net.Conn
	for _, sent := range []string{"", "GET / HTTP/1.1\r\nHost:"} {
		for range 20 {
			c, err := net.Dial("tcp", s.Listener.Addr().String())
			require.NoError(t, err)
			defer func() { _ = c.Close() }()
			require.NoError(t, c.SetDeadline(time.Now().Add(10*time.Second)))
			_, _ = io.WriteString(c, sent) // on a busy machine the server may have hung up
			all = append(all, c)
		}
	}
	for _, c := range all {
		_, err := io.ReadAll(c) // a reset, if there was more than the server has read
		require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "the server hangs up")
	}
}
