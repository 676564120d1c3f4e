package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/freeport"
)

// acmeName is the name that certificates are ordered for.
const acmeName = "node.cdn.example"

// authority is an ACME server that asks names of the test, and gives certificates
// that nobody else trusts.
type authority struct {
	directory, ca, management string
	httpPort, tlsPort         int // where it expects the answers to its challenges
}

// buildPebble builds the server, or skips the test.
func buildPebble(t *testing.T) (binary string) {
	binary = filepath.Join(t.TempDir(), "pebble")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-C", "acme/testdata/pebble", "-o", binary, "github.com/letsencrypt/pebble/v2/cmd/pebble")
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=readonly")
	if out, err := cmd.CombinedOutput(); err != nil {
		if os.Getenv("DELTA_REQUIRE_PEBBLE") == "" {
			t.Skipf("skipped: pebble, the ACME server, could not be built: %s", out)
		}
		t.Fatalf("building pebble: %s", out)
	}
	return binary
}

func startAuthority(t *testing.T) *authority {
	binary := buildPebble(t)
	dir := t.TempDir()
	a := &authority{httpPort: freeport.Port(t), tlsPort: freeport.Port(t), ca: filepath.Join(dir, "cert.pem")}
	at, management := freeport.Port(t), freeport.Port(t)
	a.directory = fmt.Sprintf("https://127.0.0.1:%d/dir", at)
	a.management = fmt.Sprintf("https://127.0.0.1:%d", management)
	key := filepath.Join(dir, "key.pem")
	writeCertificate(t, a.ca, key, certificate{ips: []net.IP{net.IPv4(127, 0, 0, 1)}})
	text, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": fmt.Sprintf("127.0.0.1:%d", at), "managementListenAddress": fmt.Sprintf("127.0.0.1:%d", management),
		"certificate": a.ca, "privateKey": key, "httpPort": a.httpPort, "tlsPort": a.tlsPort,
		"profiles": map[string]any{"default": map[string]any{"description": "default", "validityPeriod": 7776000}},
	}})
	require.NoError(t, err)
	config := filepath.Join(dir, "pebble.json")
	require.NoError(t, os.WriteFile(config, text, 0o600))
	cmd := exec.Command(binary, "-config", config, "-dnsserver", serveNames(t))
	cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0")
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	require.Eventually(t, func() bool {
		resp, err := a.client(t).Get(a.directory)
		if err == nil {
			_ = resp.Body.Close()
		}
		return err == nil
	}, 20*time.Second, 50*time.Millisecond)
	return a
}

func (a *authority) client(t *testing.T) *http.Client {
	text, err := os.ReadFile(a.ca)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(text))
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}}
}

// roots are those who sign what the authority gives.
func (a *authority) roots(t *testing.T) *x509.CertPool {
	resp, err := a.client(t).Get(a.management + "/roots/0")
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(text))
	return pool
}

// serveNames runs a DNS server in which all names are this machine.
func serveNames(t *testing.T) (addr string) {
	l, err := net.Listen("tcp", freeport.Addr(t)) // whose number nobody has by UDP, either
	require.NoError(t, err)
	pc, err := net.ListenPacket("udp", l.Addr().String())
	require.NoError(t, err)
	answer := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		if q.Question[0].Qtype == dns.TypeA {
			m.Answer = []dns.RR{&dns.A{
				Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(127, 0, 0, 1),
			}}
		}
		_ = w.WriteMsg(m)
	})
	var work sync.WaitGroup
	for _, server := range []*dns.Server{{PacketConn: pc, Handler: answer}, {Listener: l, Handler: answer}} {
		work.Go(func() { _ = server.ActivateAndServe() })
	}
	t.Cleanup(func() {
		_ = pc.Close()
		_ = l.Close()
		work.Wait()
	})
	return l.Addr().String()
}

// certificate says what writeCertificate writes.
type certificate struct {
	names []string
	ips   []net.IP
	until time.Time // zero: in an hour
}

// writeCertificate writes a certificate that signs itself, and its key.
func writeCertificate(t *testing.T, cert, key string, c certificate) *x509.Certificate {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	require.NoError(t, err)
	if c.until.IsZero() {
		c.until = time.Now().Add(time.Hour)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "test"}, DNSNames: c.names, IPAddresses: c.ips,
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: c.until, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	require.NoError(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600))
	parsed, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return parsed
}

// shown returns the certificate that a server shows, nil: none that those roots have
// signed for the name.
func shown(addr, name string, roots *x509.CertPool) *x509.Certificate {
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: time.Second}, Config: &tls.Config{ServerName: name, RootCAs: roots}}
	c, err := d.Dial("tcp", addr)
	if err != nil {
		return nil
	}
	defer func() { _ = c.Close() }()
	return c.(*tls.Conn).ConnectionState().PeerCertificates[0]
}

// A node orders its certificate from an authority, by either challenge, serves it, and
// has it still when it is started again.
func TestACME(t *testing.T) {
	a := startAuthority(t)
	roots := a.roots(t)
	for _, challenge := range []string{"http-01", "tls-alpn-01"} {
		t.Run(challenge, func(t *testing.T) {
			addr := fmt.Sprintf("127.0.0.1:%d", a.tlsPort)
			args := []string{
				"-name", "n", "-roles", "origin", "-http", addr, "-http-redirect", fmt.Sprintf("127.0.0.1:%d", a.httpPort),
				"-tls-acme-names", acmeName, "-tls-acme-agree", "-tls-acme-email", "admin@cdn.example", "-tls-acme-challenges", challenge,
				"-tls-acme-directory", a.directory, "-tls-acme-ca-file", a.ca, "-tls-acme-dir", t.TempDir(),
			}
			n := launch(t, args...)
			require.Equal(t, fmt.Sprintf("https://%s:%d", acmeName, a.tlsPort), n.url)
			var first *x509.Certificate
			require.Eventually(t, func() bool { first = shown(addr, acmeName, roots); return first != nil }, 30*time.Second, 100*time.Millisecond)
			require.Equal(t, []string{acmeName}, first.DNSNames)
			require.Nil(t, shown(addr, "other.example", roots))

			n.stop(t)
			launch(t, args...)
			var again *x509.Certificate
			require.Eventually(t, func() bool { again = shown(addr, acmeName, roots); return again != nil }, 10*time.Second, 20*time.Millisecond)
			require.Equal(t, first.SerialNumber, again.SerialNumber, "it was ordered once")
		})
	}
}
