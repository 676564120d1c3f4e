package viewer_test

import (
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/stun/v4"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/internal/viewer"
)

// A stranger is an address that checks of s come from without a nomination, as a
// viewer's do whose NAT has given it another one.
type stranger struct {
	t     *testing.T
	s     *viewer.Session
	at    netip.AddrPort
	conn  net.PacketConn
	node  net.Addr
	asked atomic.Pointer[[]byte] // the last check of ours that went there
	media atomic.Int32           // packets that did
}

func newStranger(p *place, s *viewer.Session) *stranger {
	host := p.network.Host("stranger", cdntest.Path{})
	conn, err := host.Net().ListenUDP(netip.AddrPortFrom(host.IP(), 53))
	require.NoError(p.t, err)
	p.t.Cleanup(func() { _ = conn.Close() })
	return &stranger{t: p.t, s: s, at: netip.AddrPortFrom(host.IP(), 53), conn: conn, node: p.node.Addr()}
}

// see is a filter of the network.
func (r *stranger) see(dst netip.AddrPort, b []byte) {
	switch {
	case dst != r.at:
	case b[0] == 0 && b[1] == 1:
		asked := slices.Clone(b)
		r.asked.Store(&asked)
	case b[0] >= 128:
		r.media.Add(1)
	}
}

func (r *stranger) check() {
	sdp := r.s.SDP()
	m, err := stun.Build(stun.BindingRequest, stun.TransactionID, stun.NewUsername(value(r.t, sdp, "ice-ufrag")+":x"),
		stun.NewShortTermIntegrity(value(r.t, sdp, "ice-pwd")), stun.Fingerprint)
	require.NoError(r.t, err)
	r.send(m)
}

func (r *stranger) send(m *stun.Message) {
	_, err := r.conn.WriteTo(m.Raw, r.node)
	require.NoError(r.t, err)
}

// prove answers the check of ours.
func (r *stranger) prove(pwd string) {
	r.check()
	time.Sleep(20 * time.Millisecond) // the path has 5 ms each way
	asked := r.asked.Load()
	require.NotNil(r.t, asked)
	var id [12]byte
	copy(id[:], (*asked)[8:])
	m, err := stun.Build(stun.NewTransactionIDSetter(id), stun.BindingSuccess, stun.NewShortTermIntegrity(pwd), stun.Fingerprint)
	require.NoError(r.t, err)
	r.send(m)
}

// A viewer whose address has changed, and whose agent does not nominate again, is
// followed within seconds, but only once it has proved to be there, and not as
// long as it lives where it was.
func TestANewMappingIsFollowed(t *testing.T) {
	for name, k := range map[string]struct {
		silent, proves bool
		follows        bool
		ends           error
	}{
		"silent and proved": {silent: true, proves: true, follows: true},
		"not proved":        {silent: true, ends: cdn.ErrPeerLost},
		"not silent":        {proves: true},
	} {
		t.Run(name, func(t *testing.T) {
			inPlace(t, func(t *testing.T, p *place) {
				c, s := p.join("viewer", nil)
				r := newStranger(p, s)
				p.network.SetFilter(func(src, dst netip.AddrPort, b []byte) bool {
					r.see(dst, b)
					return !k.silent || src == netip.AddrPortFrom(src.Addr(), 7000) || src == r.at
				})
				if k.proves {
					r.prove(value(t, c.LocalDescription().SDP, "ice-pwd"))
				}
				for range 4 { // each 2.5 s
					r.check()
					p.frames(75)
				}
				before := r.media.Load()
				for range 2 {
					r.check()
					p.frames(75)
				}
				if k.follows {
					require.Greater(t, r.media.Load()-before, int32(140))
				} else {
					require.Zero(t, r.media.Load())
				}
				require.ErrorIs(t, s.Err(), k.ends)
				require.NoError(t, s.Close())
				require.NoError(t, c.GracefulClose())
			})
		})
	}
}
