package main

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/signal/whep"
	"github.com/deltacdn/delta/signal/whip"
)

// stop ends a node, and waits for that.
func (p *process) stop(t *testing.T) {
	require.NoError(t, p.Process.Signal(os.Interrupt))
	require.NoError(t, p.Wait())
}

// secure is a client that knows the certificate.
func secure(known *x509.Certificate) *http.Client {
	pool := x509.NewCertPool()
	pool.AddCert(known)
	return &http.Client{
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// A certificate whose files change is served from then on; a broken file changes
// nothing.
func TestCertificateFiles(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	names := certificate{names: []string{"localhost"}}
	first := writeCertificate(t, cert, key, names)
	n := launch(t, "-name", "n", "-tls-cert", cert, "-tls-key", key, "-http-redirect", "127.0.0.1:0", "-hsts", "1h", "-v")
	require.True(t, strings.HasPrefix(n.url, "https://localhost:"), n.url)
	addr := strings.TrimPrefix(n.url, "https://")
	shows := func(c *x509.Certificate) bool {
		pool := x509.NewCertPool()
		pool.AddCert(c)
		return shown(addr, "localhost", pool) != nil
	}
	require.True(t, shows(first))
	resp, err := secure(first).Get(n.url + "/healthz")
	require.NoError(t, err)
	_ = resp.Body.Close()
	require.Equal(t, 2, resp.ProtoMajor)
	require.Equal(t, "max-age=3600", resp.Header.Get("Strict-Transport-Security"))

	require.NoError(t, os.WriteFile(cert, []byte("broken"), 0o600))
	reload := func(times int) {
		require.NoError(t, n.Process.Signal(syscall.SIGHUP))
		require.Eventually(t, func() bool { return strings.Count(n.log.String(), "the configuration was read again") == times }, patience, 10*time.Millisecond)
	}
	reload(1)
	require.True(t, shows(first))

	second := writeCertificate(t, cert, key, names)
	require.Eventually(t, func() bool { return shows(second) && !shows(first) }, patience, 50*time.Millisecond, "by itself")
	third := writeCertificate(t, cert, key, names)
	reload(2)
	require.True(t, shows(third), "at once")
}

// Two nodes that speak HTTPS link and fetch, if they know who has signed each other's
// certificates.
func TestHTTPSNetwork(t *testing.T) {
	ctx := within(t, time.Minute)
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	known := writeCertificate(t, cert, key, certificate{names: []string{"localhost"}})
	tls := []string{"-tls-cert", cert, "-tls-key", key, "-tls-ca-file", cert}
	o := launch(t, append(tls, "-name", "o", "-roles", "origin")...)
	e := launch(t, append(tls, "-name", "e", "-roles", "edge", "-entry", o.url)...)
	client := secure(known)
	pub, err := cdntest.NewPublisher(ctx, cdntest.PublisherConfig{Dialer: &whip.Client{HTTP: client}, URL: o.url + "/whip/live"})
	require.NoError(t, err)
	defer pub.Kill()
	require.NoError(t, pub.WaitConnected(ctx))
	v, err := cdntest.NewViewer(ctx, cdntest.ViewerConfig{Dialer: &whep.Client{HTTP: client}, URL: e.url + "/whep/live"})
	require.NoError(t, err)
	defer v.Kill()
	require.NoError(t, v.WaitFrames(ctx, 30))
}
