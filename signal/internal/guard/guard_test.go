package guard

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// short are the limits of tests: what takes longer than patience hangs.
var short = Limits{Body: 300 * time.Millisecond, Answer: 300 * time.Millisecond}

const patience = 10 * time.Second

// reads is a handler that reads its body, or leaves it where the path is /leave. Where it
// is /patient, no limit may be reached, and on a busy machine the short ones would be.
func reads(w http.ResponseWriter, r *http.Request) {
	limits := short
	if r.URL.Path == "/patient" {
		limits = Limits{}
	}
	limits.Serve(w, r, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/leave" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		if body, ok := ReadBody(w, r, 1<<10); ok {
			_, _ = fmt.Fprintf(w, "%d bytes", len(body))
		}
	})
}

func dial(t *testing.T, s *httptest.Server) net.Conn {
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
	return c
}

// A body that drips, or that the handler does not even read, keeps no connection:
// on a plain server, and on one that keeps connections for long.
func TestBodiesThatDripAreCutOff(t *testing.T) {
	const each = 50
	for _, idle := range []time.Duration{0, time.Hour} {
		for _, path := range []string{"/", "/leave"} {
			t.Run(fmt.Sprintf("idle %v %s", idle, path), func(t *testing.T) {
				s := httptest.NewUnstartedServer(http.HandlerFunc(reads))
				s.Config.IdleTimeout = idle
				s.Start()
				defer s.Close()
				var all sync.WaitGroup
				for range each {
					c := dial(t, s)
					_, err := io.WriteString(c, "POST "+path+" HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nv")
					require.NoError(t, err)
					all.Go(func() {
						for range 100 { // 10 s, unless the server hangs up
							time.Sleep(100 * time.Millisecond)
							if _, err := io.WriteString(c, "="); err != nil {
								return
							}
						}
						t.Error("the server waits for the body")
					})
					all.Go(func() {
						answer, err := io.ReadAll(c)
						if len(answer) == 0 {
							t.Errorf("no answer: %v", err)
						}
						if path == "/" && !strings.HasPrefix(string(answer), "HTTP/1.1 408 ") {
							t.Errorf("answer: %.80q", answer)
						}
					})
				}
				all.Wait()
			})
		}
	}
}

// Where a server keeps idle connections for ever, none is kept after an answer.
func TestIdleConnections(t *testing.T) {
	for _, c := range []struct {
		idle, read time.Duration
		closed     bool
	}{{0, 0, true}, {-1, time.Hour, true}, {time.Hour, 0, false}, {0, time.Hour, false}} {
		s := httptest.NewUnstartedServer(http.HandlerFunc(reads))
		s.Config.IdleTimeout, s.Config.ReadTimeout = c.idle, c.read
		s.Start()
		for range 50 {
			conn := dial(t, s)
			in := bufio.NewReader(conn)
			_, err := io.WriteString(conn, "POST /patient HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
			require.NoError(t, err)
			resp, err := http.ReadResponse(in, nil)
			require.NoError(t, err)
			_, err = io.Copy(io.Discard, resp.Body)
			require.NoError(t, err)
			require.Equal(t, c.closed, resp.Close)
			if c.closed {
				_, err = in.ReadByte()
				require.ErrorIs(t, err, io.EOF, "the connection is closed")
			}
		}
		s.Close()
	}
}

// The deadlines of one answer do not reach into the connection's next, however
// long that takes.
func TestDeadlinesEndWithTheAnswer(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/", reads)
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		_, _ = w.Write(body)
	})
	s := httptest.NewUnstartedServer(mux)
	s.Config.IdleTimeout = time.Hour
	s.Start()
	defer s.Close()
	conn := dial(t, s)
	in := bufio.NewReader(conn)
	answer := func() string {
		resp, err := http.ReadResponse(in, nil)
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return string(body)
	}
	_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
	require.Equal(t, "2 bytes", answer())
	_, _ = io.WriteString(conn, "POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nh")
	time.Sleep(2 * short.Body)
	_, _ = io.WriteString(conn, "i")
	require.Equal(t, "hi", answer())
}

// A handler that takes longer than a body may is not disturbed by its deadline.
func TestHandlersMayTakeTime(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		short.Serve(w, r, func(w http.ResponseWriter, r *http.Request) {
			_, ok := ReadBody(w, r, 1<<10)
			if !ok {
				return
			}
			select {
			case <-r.Context().Done():
				t.Error("the request was given up")
			case <-time.After(3 * short.Body):
			}
			w.WriteHeader(http.StatusNoContent)
		})
	}))
	defer s.Close()
	for _, body := range []string{"", "offer"} {
		resp, err := http.Post(s.URL, "", strings.NewReader(body))
		require.NoError(t, err)
		_ = resp.Body.Close()
		require.Equal(t, http.StatusNoContent, resp.StatusCode)
	}
}

// A stream lasts as long as its parts are taken, and no longer.
func TestStreamsThatAreNotRead(t *testing.T) {
	over := make(chan error, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		short.Serve(w, r, func(w http.ResponseWriter, _ *http.Request) {
			out := short.NewStream(w)
			for {
				if err := out.Send(strings.Repeat("x", 64<<10)); err != nil {
					over <- err
					return
				}
			}
		})
	}))
	defer s.Close()
	conn := dial(t, s)
	_, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	select {
	case <-over:
	case <-time.After(patience):
		t.Fatal("the server waits for a client that reads nothing")
	}
}
