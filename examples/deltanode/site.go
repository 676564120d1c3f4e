package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/examples/deltanode/acme"
	"github.com/deltacdn/delta/examples/deltanode/config"
	"github.com/deltacdn/delta/examples/deltanode/tlsfiles"
	"github.com/deltacdn/delta/internal/demo/media"
	"github.com/deltacdn/delta/signal"
)

// site is the node's web server, and the one for plain HTTP that leads to it.
type site struct {
	listener net.Listener
	mux      *http.ServeMux
	http     *http.Server
	redirect *http.Server // nil: there is none
	plain    net.Listener // of redirect
	files    *tlsfiles.Files
	acme     *acme.Manager
	client   *http.Client // asks other nodes

	ctx    context.Context // ends with close
	cancel context.CancelFunc
	work   sync.WaitGroup
}

// openWeb opens the ports for HTTP. It serves nothing yet.
func (n *node) openWeb() (err error) {
	c := &n.config
	w := &site{mux: http.NewServeMux()}
	n.site = w
	w.ctx, w.cancel = context.WithCancel(context.Background())
	if w.listener, err = net.Listen("tcp", c.HTTP.Addr); err != nil {
		return fmt.Errorf("%s: %w", c.Where("http"), err)
	}
	if c.HTTP.Redirect != "" {
		if w.plain, err = net.Listen("tcp", c.HTTP.Redirect); err != nil {
			return fmt.Errorf("%s: %w", c.Where("http_redirect"), err)
		}
	}
	if w.client, err = httpClient(c); err != nil {
		return err
	}
	quiet := log.New(discard{}, "", 0) // clients that go away, and such
	w.http = signal.ServerDefaults(&http.Server{Handler: strict(w.mux, c.HTTP), ErrorLog: quiet})
	if err := n.openTLS(); err != nil {
		return err
	}
	n.url = n.ownURL()
	if w.plain != nil {
		var h http.Handler = http.HandlerFunc(n.leadToHTTPS)
		if w.acme != nil {
			h = w.acme.HTTP(h)
		}
		w.redirect = signal.ServerDefaults(&http.Server{Handler: h, ErrorLog: quiet})
	}
	return nil
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// openTLS gets the certificates, if there are to be any.
func (n *node) openTLS() (err error) {
	c, w := &n.config, n.site
	switch t := &c.TLS; {
	case t.Cert != "":
		if w.files, err = tlsfiles.Open(t.Cert, t.Key, n.log); err != nil {
			return fmt.Errorf("%s: %w", c.Where("tls.cert_file"), err)
		}
		w.http.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: w.files.Certificate}
	case len(t.ACME.Names) > 0:
		a, err := acmeConfig(c, n)
		if err != nil {
			return err
		}
		if w.acme, err = acme.New(a); err != nil {
			return err
		}
		w.http.TLSConfig = w.acme.TLS()
		w.http.TLSConfig.NextProtos = append([]string{"h2", "http/1.1"}, w.http.TLSConfig.NextProtos...)
	}
	return nil
}

func acmeConfig(c *config.Config, n *node) (acme.Config, error) {
	t := &c.TLS.ACME
	a := acme.Config{
		Names: t.Names, Email: t.Email, Directory: t.Directory, Dir: t.Dir,
		KeyID: t.KeyID, KeyMAC: t.KeyMAC, Logger: n.log,
	}
	for _, challenge := range t.Challenges {
		switch {
		case challenge == "tls-alpn-01":
			a.TLSPort = n.site.listener.Addr().(*net.TCPAddr).Port
		case n.site.plain != nil:
			a.HTTPPort = n.site.plain.Addr().(*net.TCPAddr).Port
		}
	}
	if t.CA == "" {
		return a, nil
	}
	var err error
	if a.Roots, err = readPool(x509.NewCertPool(), t.CA); err != nil {
		return a, fmt.Errorf("%s: %w", c.Where("tls.acme.ca_file"), err)
	}
	return a, nil
}

func readPool(pool *x509.CertPool, file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s has no certificate (PEM)", file)
	}
	return pool, nil
}

// httpClient returns the client that asks other nodes.
func httpClient(c *config.Config) (*http.Client, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if c.TLS.CA != "" {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		if pool, err = readPool(pool, c.TLS.CA); err != nil {
			return nil, fmt.Errorf("%s: %w", c.Where("tls.ca_file"), err)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return &http.Client{Transport: transport}, nil
}

// strict has browsers insist on HTTPS, if the operator wants that.
func strict(next http.Handler, c config.HTTP) http.Handler {
	if c.HSTS == 0 {
		return next
	}
	value := "max-age=" + strconv.Itoa(int(c.HSTS.Seconds()))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Strict-Transport-Security", value)
		next.ServeHTTP(w, r)
	})
}

// leadToHTTPS redirects to the node's own URL, and never to the host that the request
// names, which is the client's to choose.
func (n *node) leadToHTTPS(w http.ResponseWriter, r *http.Request) {
	code := http.StatusPermanentRedirect
	http.Redirect(w, r, strings.TrimRight(n.url, "/")+r.URL.EscapedPath()+query(r), code)
}

func query(r *http.Request) string {
	if r.URL.RawQuery == "" {
		return ""
	}
	return "?" + r.URL.RawQuery
}

// ownURL is where others reach the node's web server.
func (n *node) ownURL() string {
	c := &n.config
	if c.HTTP.URL != "" {
		return strings.TrimRight(c.HTTP.URL, "/")
	}
	scheme, standard := "http", 80
	if c.TLS.On() {
		scheme, standard = "https", 443
	}
	host := n.ownHost()
	port := n.site.listener.Addr().(*net.TCPAddr).Port
	if port == standard {
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		return scheme + "://" + host
	}
	return scheme + "://" + net.JoinHostPort(host, strconv.Itoa(port))
}

// ownHost is the host of a URL that the operator has not said.
func (n *node) ownHost() string {
	c := &n.config
	if len(c.TLS.ACME.Names) > 0 {
		return c.TLS.ACME.Names[0]
	}
	if n.site.files != nil {
		if names := n.site.files.Leaf().DNSNames; len(names) > 0 && !strings.Contains(names[0], "*") {
			return names[0]
		}
	}
	host, _, _ := net.SplitHostPort(c.HTTP.Addr)
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		return cmp.Or(first(c.Media.Public), "127.0.0.1")
	}
	return host
}

func first(all []string) string {
	if len(all) == 0 {
		return ""
	}
	return all[0]
}

// mediaAddresses returns where the node takes media, and which addresses it offers
// for that.
func (n *node) mediaAddresses() (udp string, public []netip.Addr, err error) {
	c := &n.config
	public = n.publicIPs()
	if c.Media.UDP != "" {
		return c.Media.UDP, public, nil
	}
	host, port, err := net.SplitHostPort(c.HTTP.Addr)
	if err != nil {
		return "", nil, err
	}
	bind, offered, err := media.Addresses(host, cdn.SystemNetwork())
	if len(public) > 0 {
		offered = public
	}
	return net.JoinHostPort(bind, port), offered, err
}

// serve runs the web servers until close.
func (w *site) serve(failed chan<- error) {
	serve := w.http.Serve
	if w.http.TLSConfig != nil {
		serve = func(l net.Listener) error { return w.http.ServeTLS(l, "", "") }
	}
	w.work.Go(func() { serveHTTP("the web server", serve, w.listener, failed) })
	if w.redirect != nil {
		w.work.Go(func() { serveHTTP("the server that leads to HTTPS", w.redirect.Serve, w.plain, failed) })
	}
	if w.files != nil {
		w.work.Go(func() { w.files.Watch(w.ctx, tlsfiles.Every) })
	}
	if w.acme != nil {
		if err := w.acme.Run(w.ctx); err != nil {
			failed <- fmt.Errorf("tls.acme: %w", err)
		}
	}
}

// close ends the servers. Who plays hears the end of its event stream first.
func (w *site) close() {
	if w == nil {
		return
	}
	w.cancel()
	for _, s := range []*http.Server{w.http, w.redirect} {
		if s != nil {
			shutdown(s)
		}
	}
	for _, l := range []net.Listener{w.listener, w.plain} {
		if l != nil {
			_ = l.Close()
		}
	}
	w.work.Wait()
	if w.acme != nil {
		w.acme.Close()
	}
	if w.client != nil {
		w.client.CloseIdleConnections()
	}
}
