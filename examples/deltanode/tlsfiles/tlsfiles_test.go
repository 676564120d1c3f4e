package tlsfiles

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// pair is a certificate on a disk. Each time that it is written, its files are a second
// younger, whatever the disk's clock can tell apart.
type pair struct {
	cert, key string
	at        time.Time
}

func newPair(t *testing.T) *pair {
	dir := t.TempDir()
	return &pair{filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), time.Now().Add(-time.Hour)}
}

func (p *pair) write(t *testing.T, cert, key []byte) {
	p.at = p.at.Add(time.Second)
	for name, text := range map[string][]byte{p.cert: cert, p.key: key} {
		if text != nil {
			require.NoError(t, os.WriteFile(name, text, 0o600))
			require.NoError(t, os.Chtimes(name, p.at, p.at))
		}
	}
}

// issue returns a certificate and its key.
func issue(t *testing.T, serial int64, until time.Time) (cert, key []byte) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	c := &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &private.PublicKey, private)
	require.NoError(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

func (f *Files) serial() int64 { return f.Leaf().SerialNumber.Int64() }

// However the files are replaced, a handshake always finds a certificate that goes with
// its key, and a warning comes once for each trouble that lasts.
func TestReplaced(t *testing.T) {
	var log strings.Builder
	warnings := func() (n int) {
		n = strings.Count(log.String(), "level=WARN")
		log.Reset()
		return n
	}
	p := newPair(t)
	now := time.Now()
	far := now.Add(30 * 24 * time.Hour)
	cert, key := issue(t, 1, far)
	p.write(t, cert, key)
	f, err := Open(p.cert, p.key, slog.New(slog.NewTextHandler(&log, nil)))
	require.NoError(t, err)
	look := func(times int) {
		for range times {
			f.look(now)
		}
	}
	look(3)
	require.EqualValues(t, 1, f.serial())
	require.Zero(t, warnings())

	second, key2 := issue(t, 2, far)
	p.write(t, second, nil)
	look(1)
	require.EqualValues(t, 1, f.serial(), "the key is not there yet")
	p.write(t, nil, key2)
	look(1)
	require.EqualValues(t, 2, f.serial())
	require.Zero(t, warnings(), "nothing was wrong but for a moment")

	p.write(t, []byte("broken"), nil)
	look(5)
	require.EqualValues(t, 2, f.serial())
	require.Equal(t, 1, warnings())
	p.write(t, []byte("broken otherwise"), nil)
	look(5)
	require.Equal(t, 1, warnings())

	require.NoError(t, os.Remove(p.cert))
	look(5)
	require.EqualValues(t, 2, f.serial())
	require.Equal(t, 1, warnings())

	third, key3 := issue(t, 3, far)
	p.write(t, third, key3)
	look(1)
	require.EqualValues(t, 3, f.serial())
	require.Zero(t, warnings())

	require.Error(t, f.Use("/nowhere", p.key))
	fourth, key4 := issue(t, 4, now.Add(-time.Minute))
	p.write(t, fourth, key4)
	look(3)
	require.EqualValues(t, 4, f.serial(), "the files that worked are still watched")
	require.Equal(t, 1, warnings(), "it has expired")
	now = now.Add(25 * time.Hour)
	look(3)
	require.Equal(t, 1, warnings(), "and that is said once a day")
}

func TestOpenFails(t *testing.T) {
	p := newPair(t)
	_, err := Open(p.cert, p.key, nil)
	require.ErrorIs(t, err, os.ErrNotExist)
	cert, _ := issue(t, 1, time.Now())
	_, other := issue(t, 2, time.Now())
	p.write(t, cert, other)
	_, err = Open(p.cert, p.key, nil)
	require.ErrorContains(t, err, "private key does not match public key")
}
