package guard

import (
	"bufio"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Over HTTP/2 a deadline is a stream's: a body that drips is refused while an
// answer that lasts goes on beside it, also once the connection takes no more
// requests.
func TestHTTP2(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/stream" {
			reads(w, r)
			return
		}
		short.Serve(w, r, func(w http.ResponseWriter, r *http.Request) {
			out := short.NewStream(w)
			for r.Context().Err() == nil && out.Send("x\n") == nil {
				time.Sleep(2 * short.Answer) // what is not sent has no deadline
			}
		})
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	c := s.Client()
	stream, err := c.Get(s.URL + "/stream")
	require.NoError(t, err)
	defer func() { _ = stream.Body.Close() }()
	require.Equal(t, 2, stream.ProtoMajor)
	in := bufio.NewReader(stream.Body)
	for range 2 { // by the second the client knows that this connection takes no more
		_, err := in.ReadString('\n')
		require.NoError(t, err)
	}

	body, drip := io.Pipe()
	go func() { _, _ = io.WriteString(drip, "v") }()
	resp, err := c.Post(s.URL+"/", "", body)
	require.NoError(t, err)
	_ = resp.Body.Close()
	_ = drip.Close()
	require.Equal(t, http.StatusRequestTimeout, resp.StatusCode)
	for range 3 { // each on a connection of its own
		resp, err := c.Post(s.URL+"/patient", "", strings.NewReader("hi"))
		require.NoError(t, err)
		_ = resp.Body.Close()
		require.Equal(t, http.StatusOK, resp.StatusCode)
	}
	for range 4 {
		_, err := in.ReadString('\n')
		require.NoError(t, err, "the stream goes on")
	}
}
