package link

import (
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/dtls/v3/pkg/crypto/fingerprint"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/internal/service"
	"github.com/deltacdn/delta/internal/trouble"
	"github.com/deltacdn/delta/signal"
)

// wires carry offers to links by URL, from an address.
type wires struct {
	to   map[string]*Links
	from string
}

func (w wires) DialLink(ctx context.Context, url string, offer []byte) ([]byte, error) {
	return w.to[url].Link(ctx, signal.LinkOffer{Body: offer, RemoteAddr: cmp.Or(w.from, "127.0.0.1:1")})
}

type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &authority{cert, key, pool}
}

// issue returns a certificate for a node, and its fingerprint.
func (a *authority) issue(t *testing.T, name string) (*tls.Certificate, string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "node"}, DNSNames: []string{name},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0), KeyUsage: x509.KeyUsageDigitalSignature,
	}, a.cert, &key.PublicKey, a.key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	print, err := fingerprint.Fingerprint(cert, crypto.SHA256)
	require.NoError(t, err)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: cert}, "sha-256 " + print
}

// links returns those of a node on a network in memory.
func links(t *testing.T, network *cdntest.Network, name string, tune ...func(*cdn.Config)) *Links {
	host := network.Host(name, cdntest.Path{Delay: 5 * time.Millisecond})
	c := cdn.Config{ID: cdn.NodeID(name), Addr: netip.AddrPortFrom(host.IP(), 7000).String(), Net: host.Net()}
	for _, f := range tune {
		f(&c)
	}
	n, err := cdn.Listen(c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, n.Close()) })
	ls, err := service.Shared(n.Internal(), func() (*Links, error) { return New(n) })
	require.NoError(t, err)
	return ls
}

// trusting sets by what a node knows others.
func trusting(trust cdn.Trust) func(*cdn.Config) { return func(c *cdn.Config) { c.Trust = trust } }

// pair is two nodes on a network in memory.
func pair(t *testing.T, a, b cdn.Trust) (one, two *Links) {
	network := cdntest.NewNetwork(t, cdntest.NetworkConfig{Seed: 1})
	return links(t, network, "one", trusting(a)), links(t, network, "two", trusting(b))
}

// Who is trusted, and by what; and both sides have to trust each other.
func TestTrust(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	one, onePrint := ca.issue(t, "one")
	two, twoPrint := ca.issue(t, "two")
	three, _ := ca.issue(t, "three")
	foreign, _ := other.issue(t, "one")
	secret := cdn.Trust{Secret: "a long one that nobody guesses"}
	const local, remote = "127.0.0.1:999", "192.0.2.7:999"
	for name, tc := range map[string]struct {
		one, two cdn.Trust
		from     string
		bad      bool
	}{
		"nothing, from here":                    {from: local},
		"nothing, from who knows where":         {from: "?", bad: true},
		"nothing, from elsewhere":               {from: remote, bad: true},
		"a secret":                              {one: secret, two: secret, from: remote},
		"another secret":                        {one: cdn.Trust{Secret: "a guess"}, two: secret, from: local, bad: true},
		"no secret":                             {two: secret, from: local, bad: true},
		"a secret that the other does not know": {one: secret, from: local, bad: true},
		"pins":                                  {one: cdn.Trust{Certificate: one, Pins: []string{twoPrint}}, two: cdn.Trust{Certificate: two, Pins: []string{onePrint}}, from: remote},
		"a certificate not pinned":              {one: cdn.Trust{Certificate: three, Pins: []string{twoPrint}}, two: cdn.Trust{Certificate: two, Pins: []string{onePrint}}, from: remote, bad: true},
		"the other is not pinned":               {one: cdn.Trust{Certificate: one, Pins: []string{onePrint}}, two: cdn.Trust{Certificate: two, Pins: []string{onePrint}}, from: remote, bad: true},
		"a CA":                                  {one: cdn.Trust{Certificate: one, CAs: ca.pool}, two: cdn.Trust{Certificate: two, CAs: ca.pool}, from: remote},
		"another CA's":                          {one: cdn.Trust{Certificate: foreign, CAs: ca.pool}, two: cdn.Trust{Certificate: two, CAs: ca.pool}, from: remote, bad: true},
		"another node's name":                   {one: cdn.Trust{Certificate: three, CAs: ca.pool}, two: cdn.Trust{Certificate: two, CAs: ca.pool}, from: remote, bad: true},
		"the dialled one's is not its own":      {one: cdn.Trust{Certificate: one, CAs: ca.pool}, two: cdn.Trust{Certificate: three, CAs: ca.pool}, from: remote, bad: true},
		"a secret or a pin":                     {one: cdn.Trust{Certificate: one, Secret: secret.Secret}, two: cdn.Trust{Pins: []string{onePrint}, Secret: secret.Secret}, from: remote},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := pair(t, tc.one, tc.two)
				l, err := a.to(cdn.Entry{URL: "two"}, wires{map[string]*Links{"two": b}, tc.from})
				require.NoError(t, err)
				l.start()
				select {
				case <-l.up:
				case <-l.Done():
				}
				if tc.bad {
					<-l.Done()
					require.Error(t, l.Err())
					time.Sleep(10 * time.Second)
					require.Empty(t, b.Stats(), "nothing of it stays")
					require.Zero(t, count(b))
					return
				}
				require.NoError(t, l.Err())
				time.Sleep(time.Second)
				require.Equal(t, cdn.NodeID("two"), a.Stats()[0].Node)
				require.Equal(t, cdn.NodeID("one"), b.Stats()[0].Node)
			})
		})
	}
}

// With pins an offer proves nothing, and can be sent again by somebody who has seen
// it and has no key for the certificate: no link comes of it, and what it costs is
// bounded and passes.
func TestRepeatedOffersComeToNothing(t *testing.T) {
	ca := newAuthority(t)
	one, onePrint := ca.issue(t, "one")
	two, twoPrint := ca.issue(t, "two")
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, cdn.Trust{Certificate: one, Pins: []string{twoPrint}}, cdn.Trust{Certificate: two, Pins: []string{onePrint}})
		var seen []byte
		l, err := a.to(cdn.Entry{URL: "two"}, dialFunc(func(ctx context.Context, _ string, offer []byte) ([]byte, error) {
			seen = offer
			return b.Link(ctx, signal.LinkOffer{Body: offer, RemoteAddr: "192.0.2.7:1"})
		}))
		require.NoError(t, err)
		l.start()
		<-l.up
		for range 3 * maxHalfOpen {
			_, err := b.Link(t.Context(), signal.LinkOffer{Body: seen, RemoteAddr: "198.51.100.1:1"})
			require.NoError(t, err)
		}
		synctest.Wait()
		require.Equal(t, 1+maxHalfOpen, count(b))
		time.Sleep(connectTimeout + time.Second)
		require.Equal(t, 1, count(b))
		require.NoError(t, l.Err(), "the link itself is as it was")
	})
}

// count returns how many links there are, up or not.
func count(ls *Links) int {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return len(ls.all)
}

type dialFunc func(ctx context.Context, url string, offer []byte) ([]byte, error)

func (f dialFunc) DialLink(ctx context.Context, url string, offer []byte) ([]byte, error) {
	return f(ctx, url, offer)
}

// A node that is asked for a link with itself says so.
func TestALinkWithItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := pair(t, cdn.Trust{}, cdn.Trust{})
		l, err := a.to(cdn.Entry{URL: "one"}, wires{to: map[string]*Links{"one": a}})
		require.NoError(t, err)
		l.start()
		<-l.Done()
		require.ErrorIs(t, l.Err(), cdn.ErrLoop)
	})
}

// lost is a source that has lost all its streams, and counts who asks.
type lost struct{ opened *atomic.Int32 }

func (s lost) Open(context.Context, cdn.Request) (*cdn.Subscription, error) {
	s.opened.Add(1)
	return nil, cdn.ErrPeerLost
}

// A node that says that it has lost a stream is not asked again over a link that
// is as it should be.
func TestALostStreamIsNoLostLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, cdn.Trust{}, cdn.Trust{})
		opened := &atomic.Int32{}
		b.Serve(lost{opened})
		s, err := a.node.NewStream("live")
		require.NoError(t, err)
		defer s.End(nil)
		for want := int32(1); want <= 2; want++ {
			err := a.Fetch(t.Context(), cdn.Entry{URL: "two"}, FetchConfig{
				Request: cdn.Request{Stream: "live"}, Dialer: wires{to: map[string]*Links{"two": b}}, Silence: time.Minute,
			}, s)
			require.ErrorIs(t, err, cdn.ErrPeerLost)
			require.Equal(t, want, opened.Load())
		}
	})
}

// Nodes that have no kind of address in common have no link, and see that at once:
// there are other ways to fetch.
func TestNoKindOfAddressInCommon(t *testing.T) {
	at := func(addr string) *Links {
		n, err := cdn.Listen(cdn.Config{Addr: addr})
		if err != nil {
			t.Skipf("this machine has no %s: %v", addr, err)
		}
		t.Cleanup(func() { require.NoError(t, n.Close()) })
		ls, err := service.Shared(n.Internal(), func() (*Links, error) { return New(n) })
		require.NoError(t, err)
		return ls
	}
	four, six := at("127.0.0.1:0"), at("[::1]:0")
	four.Serve(hangs{})
	s, err := six.node.NewStream("live")
	require.NoError(t, err)
	defer s.End(nil)
	err = six.Fetch(t.Context(), cdn.Entry{URL: "four"}, FetchConfig{
		Request: cdn.Request{Stream: "live"}, Dialer: wires{to: map[string]*Links{"four": four}}, Silence: time.Minute,
	}, s)
	require.ErrorIs(t, err, ErrNone)
	why, _ := trouble.Of(err)
	require.Equal(t, trouble.NoCommonFamily, why.Cause)
	require.Zero(t, count(four))
}

// A bad offer is refused as what it is, and nothing that it holds does harm.
func FuzzOpen(f *testing.F) {
	good := description{
		Node: "n", Instance: "i", Ufrag: "ufrag", Pwd: "0123456789012345678901",
		Fingerprint: "sha-256 " + "00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF",
		Candidates:  []string{"192.0.2.1:7000", "[2001:db8::1]:7000"}, Control: [][]byte{{1}},
	}
	trust := cdn.Trust{Secret: "s"}
	body, err := seal(good, trust, []byte("context"))
	require.NoError(f, err)
	_, proved, err := open(body, trust, []byte("context"))
	require.NoError(f, err)
	require.True(f, proved)
	_, proved, err = open(body, trust, []byte("another"))
	require.NoError(f, err)
	require.False(f, proved)
	f.Add(body)
	f.Add([]byte(`{"link":{"node":"n","candidates":["224.0.0.1:1"]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, proved, err := open(b, cdn.Trust{Secret: "another"}, nil)
		if err != nil {
			require.ErrorIs(t, err, cdn.ErrInvalid)
			return
		}
		require.False(t, proved)
		require.NotEmpty(t, r.node)
		require.LessOrEqual(t, len(r.Candidates), maxCandidates)
	})
}

// ignore is what does not want to be told whether a link is kept.
func ignore(error) {}
