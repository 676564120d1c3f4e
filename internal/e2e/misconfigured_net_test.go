package delta_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/relay"
	signallink "github.com/deltacdn/delta/signal/link"
	"github.com/deltacdn/delta/signal/whep"
)

// A webOfPipes is what a bubble has in place of TCP: HTTP servers by host:port, to which
// clients have pipes. What is not there fails as it does on a machine.
type webOfPipes struct {
	t *testing.T

	mu    sync.Mutex
	at    map[string]*pipeListener
	fails map[string]error // of dialing
	mute  map[string]bool  // places that drop what is sent there
}

func newWebOfPipes(t *testing.T) *webOfPipes {
	return &webOfPipes{t: t, at: map[string]*pipeListener{}, fails: map[string]error{}, mute: map[string]bool{}}
}

func (w *webOfPipes) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

// dial implements the DialContext of a transport.
func (w *webOfPipes) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	w.mu.Lock()
	l, err, mute := w.at[addr], w.fails[addr], w.mute[addr]
	w.mu.Unlock()
	host, _, _ := net.SplitHostPort(addr)
	switch {
	case err != nil:
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	case mute:
		select {
		case <-ctx.Done(): // which a transport keeps from dialing for its own request
		case <-time.After(10 * time.Second):
		}
		return nil, &net.OpError{Op: "dial", Net: network, Err: os.ErrDeadlineExceeded}
	case l != nil:
		return l.connect(ctx)
	}
	if _, err := netip.ParseAddr(host); err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}}
	}
	return nil, &net.OpError{Op: "dial", Net: network, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
}

// client returns an HTTP client that trusts the authority, if there is one.
func (w *webOfPipes) client(ca *authority) *http.Client {
	transport := &http.Transport{DialContext: w.dial, DisableKeepAlives: true}
	if ca != nil {
		transport.TLSClientConfig = &tls.Config{RootCAs: ca.pool()}
	}
	return &http.Client{Transport: transport}
}

// serve has a handler answer at host:port, by TLS if there is a certificate.
func (w *webOfPipes) serve(addr string, h http.Handler, cert *tls.Certificate) {
	l := w.listen(addr)
	var listener net.Listener = l
	if cert != nil {
		listener = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{*cert}})
	}
	server := &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener)
	}()
	w.t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
}

func (w *webOfPipes) listen(addr string) *pipeListener {
	l := &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
	w.set(func() { w.at[addr] = l })
	return l
}

type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) connect(ctx context.Context) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case l.conns <- newBufferedPipe(theirs):
		return newBufferedPipe(ours), nil
	case <-l.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(10, 9, 9, 9), Port: 80} }

// A bufferedPipe is a pipe whose other end is on another machine: what is written is on its
// way, and does not wait for the reader.
type bufferedPipe struct {
	net.Conn
	out  chan []byte
	done chan struct{}
	once sync.Once
}

func newBufferedPipe(c net.Conn) *bufferedPipe {
	p := &bufferedPipe{Conn: c, out: make(chan []byte, 1000), done: make(chan struct{})}
	go p.carry()
	return p
}

func (p *bufferedPipe) carry() {
	defer p.Conn.Close()
	for {
		select {
		case b := <-p.out:
			if _, err := p.Conn.Write(b); err != nil {
				return
			}
			continue
		default:
		}
		select {
		case b := <-p.out:
			if _, err := p.Conn.Write(b); err != nil {
				return
			}
		case <-p.done:
			return
		}
	}
}

func (p *bufferedPipe) Write(b []byte) (int, error) {
	select {
	case p.out <- bytes.Clone(b):
		return len(b), nil
	case <-p.done:
		return 0, net.ErrClosed
	}
}

func (p *bufferedPipe) Close() error {
	p.once.Do(func() {
		_ = p.Conn.SetWriteDeadline(time.Now().Add(time.Second))
		close(p.done)
	})
	return nil
}

func (*bufferedPipe) RemoteAddr() net.Addr {
	return &net.TCPAddr{IP: net.IPv4(10, 9, 9, 9), Port: 1234}
}

// An authority makes certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority of a test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(raw)
	require.NoError(t, err)
	return &authority{t, cert, key}
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// sign returns a certificate for a host, good from now until after that long.
func (a *authority) sign(host string, from, until time.Duration) *tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(a.t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{host}, NotBefore: time.Now().Add(from), NotAfter: time.Now().Add(until),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	require.NoError(a.t, err)
	return &tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key}
}

// overHTTP returns the fetcher that a node has by default, with an HTTP client.
func (w *world) overHTTP(n *node, c *http.Client) relay.Fetcher {
	f, err := relay.NewLink(n.Node, relay.LinkConfig{
		Dialer:   &signallink.Client{HTTP: c},
		Fallback: relay.NewWHEP(n.Node, relay.WHEPConfig{Dialer: &whep.Client{HTTP: c}}),
	})
	require.NoError(w.t, err)
	return f
}

// nodesOverHTTP returns what a node serves other nodes with.
func (w *world) nodesOverHTTP(n *node) http.Handler {
	mux := http.NewServeMux()
	h, err := n.server.Handler()
	require.NoError(w.t, err)
	mux.Handle(relay.Prefix, h)
	return mux
}
