package conformance

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/signal"
	"github.com/deltacdn/delta/signal/link"
	"github.com/deltacdn/delta/signal/whep"
	"github.com/deltacdn/delta/signal/whip"
)

// A pipes is a listener whose connections are pipes, so that they live in virtual time.
type pipes struct {
	accepted chan net.Conn
	closed   chan struct{}
	close    func()
}

func newPipes() *pipes {
	p := &pipes{accepted: make(chan net.Conn), closed: make(chan struct{})}
	p.close = sync.OnceFunc(func() { close(p.closed) })
	return p
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.accepted:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.close()
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial() net.Conn {
	ours, theirs := net.Pipe()
	p.accepted <- theirs
	return ours
}

// linked takes every offer of a link.
type linked struct{}

func (linked) Link(context.Context, signal.LinkOffer) ([]byte, error) { return []byte("{}"), nil }

// onBareServer calls f in virtual time for each kind of handler, on a server that has
// no timeouts of its own: for a path at which kind is posted.
func onBareServer(t *testing.T, f func(t *testing.T, p *pipes, path, kind string)) {
	const sdp = "application/sdp"
	for path, kind := range map[string]string{"/whip/live": sdp, "/whep/live": sdp, link.Path: link.MediaType} {
		t.Run(path, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				publish, err := whip.New(&cdntest.ScriptedHandler{}, whip.Config{})
				require.NoError(t, err)
				play, err := whep.New(&cdntest.ScriptedHandler{}, whep.Config{})
				require.NoError(t, err)
				mux := http.NewServeMux()
				mux.Handle("/whip/", publish)
				mux.Handle("/whep/", play)
				mux.Handle(link.Path, link.New(linked{}, nil))
				server, p := &http.Server{Handler: mux}, newPipes()
				served := make(chan error, 1)
				go func() { served <- server.Serve(p) }()
				f(t, p, path, kind)
				require.NoError(t, server.Close())
				require.ErrorIs(t, <-served, http.ErrServerClosed)
				require.NoError(t, publish.Close())
				require.NoError(t, play.Close())
			})
		})
	}
}

// A body that drips is answered with 408 and keeps no connection, whatever the server's
// own timeouts are.
func TestBodiesThatDrip(t *testing.T) {
	for _, each := range []time.Duration{time.Second, 13 * time.Second} {
		onBareServer(t, func(t *testing.T, p *pipes, path, kind string) {
			conn, begun := p.dial(), time.Now()
			idle := time.AfterFunc(12*time.Hour, func() { _ = conn.Close() }) // the server has to be first
			var client sync.WaitGroup
			client.Go(func() {
				_, _ = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: 1000\r\n\r\n", path, kind)
				for range 1000 {
					if _, err := io.WriteString(conn, "v"); err != nil {
						return
					}
					time.Sleep(each)
				}
			})
			answer, err := io.ReadAll(conn)
			took := time.Since(begun)
			client.Wait()
			idle.Stop()
			require.NoError(t, err)
			require.Regexp(t, `^HTTP/1.1 408 `, string(answer))
			require.LessOrEqual(t, took, 11*time.Second)
		})
	}
}

// Nor is a connection kept after its answer on a server that would keep idle ones for
// ever.
func TestIdleConnections(t *testing.T) {
	onBareServer(t, func(t *testing.T, p *pipes, path, kind string) {
		conn, begun := p.dial(), time.Now()
		idle := time.AfterFunc(time.Hour, func() { _ = conn.Close() }) // the server has to be first
		var client sync.WaitGroup
		client.Go(func() {
			_, _ = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: 5\r\n\r\nv=0\r\n", path, kind)
		})
		answer, err := io.ReadAll(conn)
		took := time.Since(begun)
		client.Wait()
		idle.Stop()
		require.NoError(t, err)
		require.Regexp(t, `^HTTP/1.1 20[01] `, string(answer))
		require.Less(t, took, time.Minute)
	})
}
