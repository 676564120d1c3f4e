package check

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"io"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/examples/deltanode/config"
	"github.com/deltacdn/delta/internal/freeport"
)

var update = flag.Bool("update", false, "write the golden files anew")

var now = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// machine is one on which some names resolve, and port 9999 is in use.
var machine = Machine{
	Lookup: func(_ context.Context, host string) ([]netip.Addr, error) {
		switch {
		case strings.HasPrefix(host, "lost"):
			return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
		case strings.HasPrefix(host, "slow"):
			return nil, &net.DNSError{Err: "i/o timeout", Name: host, IsTimeout: true}
		}
		return []netip.Addr{netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::7")}, nil
	},
	Free: func(network, addr string) error {
		if strings.HasSuffix(addr, ":9999") {
			return &net.OpError{Op: "listen", Net: network, Err: os.NewSyscallError("bind", syscall.EADDRINUSE)}
		}
		return nil
	},
	Now: func() time.Time { return now },
}

// writeCertificate writes NAME.pem and NAME.key, for names.
func writeCertificate(t *testing.T, name string, from, until time.Time, names ...string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	c := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: names, NotBefore: from, NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	require.NoError(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(name+".pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(name+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
}

// What a configuration would do is written in testdata/NAME.golden.
func TestReports(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	dir, err := filepath.Abs("testdata")
	require.NoError(t, err)
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			t.Chdir(t.TempDir())
			writeCertificate(t, "good", now.Add(-time.Hour), now.Add(60*24*time.Hour), "a.example", "b.example")
			writeCertificate(t, "soon", now.Add(-time.Hour), now.Add(5*24*time.Hour), "a.example")
			writeCertificate(t, "over", now.Add(-48*time.Hour), now.Add(-time.Hour), "a.example")
			writeCertificate(t, "early", now.Add(time.Hour), now.Add(60*24*time.Hour), "a.example")
			require.NoError(t, os.WriteFile("secret", []byte("0123456789abcdef0123456789abcdef"), 0o600))
			require.NoError(t, os.WriteFile("keys", []byte("k1:0123456789abcdef0123456789abcdef"), 0o600))
			require.NoError(t, os.WriteFile("hooks", []byte("whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="), 0o600))
			require.NoError(t, os.WriteFile("access.json", []byte(`{"rules": [{"effect": "deny"}]}`), 0o600))
			require.NoError(t, os.WriteFile("node.yaml", text, 0o600))
			c, _, err := config.Load([]string{"-config", "node.yaml"}, nil, io.Discard)
			var got strings.Builder
			if err != nil {
				got.WriteString(err.Error() + "\n")
			} else {
				for _, l := range Report(t.Context(), c, machine) {
					got.WriteString(l.String() + "\n")
				}
			}
			golden := filepath.Join(dir, name+".golden")
			if *update {
				require.NoError(t, os.WriteFile(golden, []byte(got.String()), 0o600))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			require.Equal(t, string(want), got.String())
		})
	}
}

// A port that is in use is one on the real machine, too, and is free again afterwards.
func TestFree(t *testing.T) {
	addr := freeport.Addr(t) // which nobody else has once it is free again
	l, err := net.Listen("tcp", addr)
	require.NoError(t, err)
	require.True(t, errors.Is(cause(free("tcp", addr)), syscall.EADDRINUSE))
	require.NoError(t, l.Close())
	for range 2 {
		require.NoError(t, free("tcp", addr))
		require.NoError(t, free("udp", addr))
	}
}
