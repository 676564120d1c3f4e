package embedded_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/natsdir"
	"github.com/deltacdn/delta/cdn/natsdir/embedded"
	"github.com/deltacdn/delta/internal/freeport"
)

// node is a server of a cluster, and a directory on it.
type node struct {
	*embedded.Server
	*natsdir.Directory
	close func()
}

// begin starts a node on a loopback address, with those seeds.
func begin(t *testing.T, c embedded.Config, seeds ...node) node {
	t.Helper()
	if c.Listen == "" {
		c.Listen = "127.0.0.1:0"
	}
	for _, s := range seeds {
		c.Seeds = append(c.Seeds, s.Addr().String())
	}
	s, err := embedded.Start(c)
	require.NoError(t, err)
	nc, err := s.Connect()
	require.NoError(t, err)
	d, err := natsdir.New(nc, natsdir.Config{Reaches: s.Reaches})
	require.NoError(t, err)
	n := node{s, d, func() {
		_ = d.Close()
		nc.Close()
		_ = s.Close()
	}}
	t.Cleanup(n.close)
	return n
}

func (n node) put(t *testing.T, stream string, lease time.Duration) {
	t.Helper()
	require.NoError(t, n.Put(t.Context(), cdn.Entry{Stream: cdn.StreamID(stream), Node: "n", URL: "https://n"}, lease))
}

func (n node) finds(t *testing.T, stream string) bool {
	t.Helper()
	found, err := n.Find(t.Context(), cdn.StreamID(stream))
	return err == nil && len(found) == 1
}

// patience bounds every wait. It is not asserted: a slow machine only waits.
const patience = 20 * time.Second

func eventually(t *testing.T, f func() bool) {
	t.Helper()
	require.Eventually(t, f, patience, 10*time.Millisecond)
}

func (n node) Close() { n.close() }

// TestCluster: each node is told the address of one other. All find each other, and one
// that starts later finds everything.
func TestCluster(t *testing.T) {
	t.Parallel()
	var nodes []node
	for i := range 6 {
		nodes = append(nodes, begin(t, embedded.Config{Name: fmt.Sprint("node-", i)}, nodes[max(0, i-1):i]...))
	}
	for i, n := range nodes {
		n.put(t, fmt.Sprint("early/", i), time.Minute) // perhaps ahead of the way to the others
	}
	for i, n := range nodes {
		eventually(t, func() bool { return n.Servers() == len(nodes)-1 })
		for j := range nodes {
			eventually(t, func() bool { return n.finds(t, fmt.Sprint("early/", j)) })
		}
		n.put(t, fmt.Sprint("live/", i), time.Minute)
	}
	begun := time.Now()
	late := begin(t, embedded.Config{}, nodes[3])
	for i := range nodes {
		eventually(t, func() bool {
			return late.finds(t, fmt.Sprint("live/", i)) && late.finds(t, fmt.Sprint("early/", i))
		})
	}
	t.Logf("found all %v after the start", time.Since(begun).Round(time.Millisecond))
}

// TestFirstIsNotSpecial: the node that all others were told of can go.
func TestFirstIsNotSpecial(t *testing.T) {
	t.Parallel()
	first := begin(t, embedded.Config{})
	a, b := begin(t, embedded.Config{}, first), begin(t, embedded.Config{}, first)
	eventually(t, func() bool { return a.Servers() == 2 && b.Servers() == 2 })
	first.Close()
	a.put(t, "live", time.Minute)
	eventually(t, func() bool { return b.finds(t, "live") })
	c := begin(t, embedded.Config{}, b)
	eventually(t, func() bool { return c.finds(t, "live") && a.Servers() == 2 })
}

// TestLateRoute: what was announced while there was no way to a node is told it when
// there is one.
func TestLateRoute(t *testing.T) {
	t.Parallel()
	addr := freeport.Addr(t)
	l, err := net.Listen("tcp", addr)
	require.NoError(t, err)
	a := begin(t, embedded.Config{Seeds: []string{addr}})
	a.put(t, "live", time.Minute)
	time.Sleep(5 * time.Second) // nobody asks any more
	require.NoError(t, l.Close())
	b := begin(t, embedded.Config{Listen: addr})
	time.Sleep(5 * time.Second)
	eventually(t, func() bool { return b.Servers() == 1 })
	a.put(t, "other", time.Minute)
	eventually(t, func() bool { return b.finds(t, "other") && b.finds(t, "live") })
}

// TestCutOff: a node that has lost all others keeps what it knows of them, and its own.
func TestCutOff(t *testing.T) {
	t.Parallel()
	a := begin(t, embedded.Config{Listen: freeport.Addr(t)}) // it comes back to the same address
	assert.True(t, a.Reaches(), "it is the first")
	b := begin(t, embedded.Config{}, a)
	eventually(t, b.Reaches)
	a.put(t, "live", 3*time.Second)
	eventually(t, func() bool { return b.finds(t, "live") })
	addr := a.Addr().String()
	a.Close()
	eventually(t, func() bool { return !b.Reaches() })
	b.put(t, "own", time.Minute)
	time.Sleep(4 * time.Second)
	assert.True(t, b.finds(t, "live"))
	again := begin(t, embedded.Config{Listen: addr})
	eventually(t, b.Reaches)
	eventually(t, func() bool { return again.finds(t, "own") })
	eventually(t, func() bool { return !b.finds(t, "live") }) // nobody announces it
}

// TestSecrets: only servers with the right password and certificate come in.
func TestSecrets(t *testing.T) {
	t.Parallel()
	ours, theirs := newCA(t), newCA(t)
	config := embedded.Config{User: "delta", Password: "secret", TLS: ours.config(t)}
	a := begin(t, config)
	b := begin(t, config, a)
	for name, wrong := range map[string]embedded.Config{
		"password":    {User: "delta", Password: "wrong", TLS: ours.config(t)},
		"no password": {TLS: ours.config(t)},
		"certificate": {User: "delta", Password: "secret", TLS: theirs.config(t)},
		"no TLS":      {User: "delta", Password: "secret"},
		"cluster":     {User: "delta", Password: "secret", TLS: ours.config(t), Cluster: "other"},
	} {
		stranger := begin(t, wrong, a)
		stranger.put(t, strings.ReplaceAll(name, " ", ""), time.Minute)
	}
	a.put(t, "live", time.Minute)
	eventually(t, func() bool { return b.finds(t, "live") })
	time.Sleep(2 * time.Second)
	assert.Equal(t, 1, a.Servers())
	assert.Equal(t, 1, b.Servers())
	assert.Equal(t, 1, a.Stats().Entries)
}

func TestStartRefuses(t *testing.T) {
	for name, c := range map[string]embedded.Config{
		"open to all":          {Listen: ":0"},
		"open on an address":   {Listen: "192.0.2.1:0"},
		"no user":              {Listen: "127.0.0.1:0", Password: "p"},
		"no password":          {Listen: "127.0.0.1:0", User: "u"},
		"no certificate":       {Listen: "127.0.0.1:0", TLS: &tls.Config{RootCAs: x509.NewCertPool()}},
		"no RootCAs":           {Listen: "127.0.0.1:0", TLS: &tls.Config{Certificates: []tls.Certificate{{}}}},
		"no port":              {Listen: "127.0.0.1:x"},
		"port of a seed":       {Listen: "127.0.0.1:0", Seeds: []string{"127.0.0.1:0"}},
		"URL for a seed":       {Listen: "127.0.0.1:0", Seeds: []string{"nats://127.0.0.1:6222"}},
		"empty seed":           {Listen: "127.0.0.1:0", Seeds: []string{""}},
		"odd seed":             {Listen: "127.0.0.1:0", Seeds: []string{"1:2:x"}},
		"advertise anything":   {Listen: "127.0.0.1:0", Advertise: ":6222"},
		"name of many words":   {Listen: "127.0.0.1:0", Name: "a b"},
		"cluster of two words": {Listen: "127.0.0.1:0", Cluster: "a b"},
	} {
		s, err := embedded.Start(c)
		var typed *cdn.Error
		require.ErrorAs(t, err, &typed, name)
		require.ErrorIs(t, err, cdn.ErrInvalid, name)
		require.Nil(t, s, name)
	}
	a := begin(t, embedded.Config{})
	_, err := embedded.Start(embedded.Config{Listen: a.Addr().String()})
	require.ErrorContains(t, err, "address already in use", "and not that the server is not ready in time")
}

func TestClose(t *testing.T) {
	n := begin(t, embedded.Config{})
	n.Close()
	n.Close()
	// Those of the server end themselves a moment after it has shut down.
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		var stacks strings.Builder
		require.NoError(c, pprof.Lookup("goroutine").WriteTo(&stacks, 2))
		assert.NotContains(c, stacks.String(), "nats-server")
	}, 5*time.Second, 10*time.Millisecond)
}

// ca signs certificates of nodes.
type ca struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newCA(t *testing.T) ca {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return ca{cert, key}
}

// config returns what a node has whose certificate is for a name, wherever it is.
func (c ca) config(t *testing.T) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "node"}, NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"node.delta"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, c.cert, &key.PublicKey, c.key)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(c.cert)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, RootCAs: pool, ServerName: "node.delta"}
}
