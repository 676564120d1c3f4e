package endpoint

import (
	"crypto/x509"
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtcp"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
)

// A party is an endpoint and its owner, whose DTLS connection stays up.
type party struct {
	Endpoint
	connected chan struct{}
	admit     error // by Connected
	data      chan string
	rtcp      chan []byte
	closed    chan struct{} // by the peer
}

func (p *party) Connected() error {
	close(p.connected)
	return p.admit
}

func (p *party) RTP(time.Time, []byte) bool { return false }

func (p *party) RTCP(_ time.Time, compound []byte, _ netip.AddrPort) {
	p.rtcp <- append([]byte(nil), compound...)
}

func (p *party) Ending(error) (goodbye []byte, ended func()) { return nil, func() {} }

// newParty returns one on a node, 10 ms from the others.
func newParty(t *testing.T, network *cdntest.Network, name string, dials bool, r Remote) (*party, Local) {
	host := network.Host(name, cdntest.Path{Delay: 5 * time.Millisecond})
	node, err := cdn.Listen(cdn.Config{Addr: host.IP().String() + ":7000", Net: host.Net()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, node.Close()) })
	return newPartyOn(t, node, dials, r)
}

func newPartyOn(t *testing.T, node *cdn.Node, dials bool, r Remote) (*party, Local) {
	p := &party{connected: make(chan struct{}), data: make(chan string, 10), rtcp: make(chan []byte, 10), closed: make(chan struct{})}
	role := Role{Controlling: dials, Client: dials, Data: func(_ time.Time, d []byte) {
		if d == nil {
			close(p.closed)
			return
		}
		p.data <- string(d)
	}}
	p.Init(Config{Transport: node.Internal(), Log: node.Internal().PionLog, Remote: r, Role: role}, p)
	local, err := p.Open()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	return p, local
}

// remoteOf returns what the other side is told.
func remoteOf(t *testing.T, l Local) Remote {
	r, err := NewRemote(l.ICE.Ufrag, l.ICE.Pwd, l.Fingerprint)
	require.NoError(t, err)
	for _, c := range l.Candidates {
		r.Candidates = append(r.Candidates, netip.MustParseAddrPort(c.String()))
	}
	return r
}

var errNot = errors.New("not this one")

// A full agent dials a lite one. Its ClientHello goes beside its checks, to all
// candidates, so that a peer that is known costs two round trips; any other has to
// answer a check first.
func TestDial(t *testing.T) {
	refuse := func([]*x509.Certificate) error { return errNot }
	for name, tc := range map[string]struct {
		known            bool
		named            []netip.AddrPort // candidates besides
		here, there      func([]*x509.Certificate) error
		admit            error
		trips            int
		err, errOfListen error
	}{
		"known":                      {known: true, trips: 2},
		"not known":                  {trips: 3},
		"candidates, some dead":      {known: true, named: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.99:9")}, trips: 2},
		"verified by its owner":      {known: true, here: func([]*x509.Certificate) error { return nil }, trips: 2},
		"refused by the dialler":     {known: true, here: refuse, err: errNot, errOfListen: cdn.ErrPeerLost},
		"refused by the other":       {known: true, there: refuse, err: cdn.ErrPeerLost, errOfListen: errNot},
		"refused once it is there":   {known: true, admit: errNot, err: cdn.ErrPeerLost, errOfListen: errNot},
		"another certificate signed": {known: true, err: cdn.ErrInvalid, errOfListen: cdn.ErrPeerLost},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				network := cdntest.NewNetwork(t, cdntest.NetworkConfig{Seed: 1})
				a, la := newParty(t, network, "one", true, Remote{})
				ra := remoteOf(t, la)
				ra.Known, ra.Verify = tc.known, tc.there
				b, lb := newParty(t, network, "two", false, ra)
				b.admit = tc.admit
				rb := remoteOf(t, lb)
				rb.Candidates, rb.Verify = append(tc.named, rb.Candidates...), tc.here
				if errors.Is(tc.err, cdn.ErrInvalid) {
					rb.Fingerprints = ra.Fingerprints
				}
				begun := time.Now()
				a.Dial(rb)
				if tc.err != nil {
					<-a.Done()
					<-b.Done()
					require.ErrorIs(t, a.Err(), tc.err)
					require.ErrorIs(t, b.Err(), tc.errOfListen)
					return
				}
				<-a.connected
				<-b.connected
				require.Equal(t, time.Duration(tc.trips)*20*time.Millisecond, time.Since(begun))
				require.Equal(t, rb.Candidates[len(rb.Candidates)-1], a.To())
				require.Equal(t, ra.Candidates[0], b.To())
				for _, one := range [][2]*party{{a, b}, {b, a}} {
					require.NoError(t, one[0].Write([]byte("hello")))
					require.Equal(t, "hello", <-one[1].data)
					raw, err := rtcp.Marshal([]rtcp.Packet{&rtcp.ReceiverReport{SSRC: 7}})
					require.NoError(t, err)
					one[0].SendRTCP(raw)
					require.Equal(t, raw, <-one[1].rtcp)
				}
				time.Sleep(time.Minute) // the owners mind whether the peer lives
				require.NoError(t, a.Err())
				require.NoError(t, b.Err())
				require.NoError(t, a.Close())
				<-b.closed
				<-b.Done()
				require.ErrorIs(t, b.Err(), cdn.ErrPeerLost)
			})
		})
	}
}

// A host of several addresses answers the checks of all of them at about the same time,
// so the two sides may end the handshake at different ones. Media and RTCP arrive all the
// same, which DTLS records would do in any case.
func TestBetweenHostsOfSeveralAddresses(t *testing.T) {
	listen := func() *cdn.Node {
		node, err := cdn.Listen(cdn.Config{Addr: ":0"})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, node.Close()) })
		return node
	}
	here, there := listen(), listen()
	raw, err := rtcp.Marshal([]rtcp.Packet{&rtcp.ReceiverReport{SSRC: 7}})
	require.NoError(t, err)
	for range 50 {
		a, la := newPartyOn(t, here, true, Remote{})
		ra := remoteOf(t, la)
		ra.Known = true
		b, lb := newPartyOn(t, there, false, ra)
		a.Dial(remoteOf(t, lb))
		<-a.connected
		<-b.connected
		for _, one := range [][2]*party{{a, b}, {b, a}} {
			require.Eventually(t, func() bool {
				one[0].SendRTCP(raw)
				select {
				case <-one[1].rtcp:
					return true
				case <-time.After(50 * time.Millisecond):
					return false
				}
			}, 20*time.Second, time.Millisecond, "from %v to %v, and back from %v to %v", a.Transport().Port.LocalAddr(), a.To(), b.Transport().Port.LocalAddr(), b.To())
		}
		require.NoError(t, a.Close())
		require.NoError(t, b.Close())
	}
}

// What ended cannot be opened, since nothing would take that back.
func TestOpenAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := newParty(t, cdntest.NewNetwork(t, cdntest.NetworkConfig{}), "one", true, Remote{})
		require.NoError(t, p.Close())
		_, err := p.Open()
		require.ErrorIs(t, err, cdn.ErrClosed)
		p.Dial(Remote{})
		require.Error(t, p.Write([]byte("late")))
	})
}
