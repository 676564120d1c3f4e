package viewer

import (
	"net"
	"net/netip"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtcp"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/internal/endpoint/certificate"
	"github.com/deltacdn/delta/internal/endpoint/dtlssrtp"
	"github.com/deltacdn/delta/internal/endpoint/icecheck"
	"github.com/deltacdn/delta/internal/service"
)

// A lean viewer is one that sets its own DTLS connection aside, too: whatever
// goroutine of DTLS there is then, is the session's.
type lean struct {
	t    *testing.T
	conn net.PacketConn
	node netip.AddrPort
	its  *service.Runtime     // whose certificate is good enough for both
	ice  icecheck.Credentials // its own
	pipe *dtlssrtp.Pipe
	read sync.WaitGroup
}

func newLean(t *testing.T, host *cdntest.Host, node *cdn.Node) *lean {
	conn, err := host.Net().ListenUDP(netip.AddrPortFrom(host.IP(), 0))
	require.NoError(t, err)
	v := &lean{t: t, conn: conn, node: netip.MustParseAddrPort(node.Addr().String()), its: node.Internal(), ice: icecheck.NewCredentials()}
	v.pipe = dtlssrtp.NewPipe(v.send)
	v.read.Go(v.receive)
	return v
}

func (v *lean) send(b []byte) error {
	_, err := v.conn.WriteTo(b, net.UDPAddrFromAddrPort(v.node))
	return err
}

// receive answers checks, and hands records to DTLS.
func (v *lean) receive() {
	buf := make([]byte, 1500)
	for {
		n, from, err := v.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		switch b := buf[:n]; {
		case b[0] >= 20 && b[0] < 64:
			v.pipe.Put(b)
		case b[0] < 4 && !icecheck.IsAnswer(b):
			c, err := icecheck.Read(b, func(ufrag string) (string, bool) { return v.ice.Pwd, ufrag == v.ice.Ufrag })
			if err != nil {
				continue
			}
			raw, err := c.Answer(from.(*net.UDPAddr).AddrPort())
			if err == nil {
				_ = v.send(raw)
			}
		}
	}
}

// own returns somebody's offer as its own.
func (v *lean) own(offer string) string {
	for of, its := range map[string]string{"fingerprint": v.its.Fingerprint, "ice-ufrag": v.ice.Ufrag, "ice-pwd": v.ice.Pwd} {
		offer = regexp.MustCompile(`a=`+of+`:[^\r\n]+`).ReplaceAllString(offer, "a="+of+":"+its)
	}
	return offer
}

// connect returns what seals for the session, once DTLS is up and set aside.
func (v *lean) connect(theirs icecheck.Credentials) *dtlssrtp.Sealer {
	raw, err := icecheck.Nominating(icecheck.NewID(), icecheck.NewTieBreaker(), v.ice, theirs)
	require.NoError(v.t, err)
	require.NoError(v.t, v.send(raw))
	hash, err := certificate.ParseHash(v.its.Fingerprint)
	require.NoError(v.t, err)
	conn, err := dtlssrtp.Handshake(v.t.Context(), v.pipe, dtlssrtp.Config{
		Client: true, Certificate: v.its.Certificate, Peer: []certificate.Hash{hash},
	})
	require.NoError(v.t, err)
	keys, err := dtlssrtp.Export(conn, true)
	require.NoError(v.t, err)
	sealer, err := keys.Sealer()
	require.NoError(v.t, err)
	v.pipe.Mute(true)
	require.NoError(v.t, conn.Close())
	return sealer
}

func (v *lean) close() {
	require.NoError(v.t, v.conn.Close())
	require.NoError(v.t, v.pipe.Close())
	v.read.Wait()
}

// In steady state a session has no goroutine, neither of its own nor of DTLS.
func TestNoGoroutinesInSteadyState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := cdntest.NewNetwork(t, cdntest.NetworkConfig{})
		host := network.Host("node", cdntest.Path{})
		node, err := cdn.Listen(cdn.Config{Addr: host.IP().String() + ":7000", Net: host.Net()})
		require.NoError(t, err)
		defer func() { require.NoError(t, node.Close()) }()
		v := newLean(t, network.Host("viewer", cdntest.Path{}), node)
		s, err := Answer(Config{Transport: node.Internal(), Log: node.Internal().PionLog}, v.own(offerOfOneVideo))
		require.NoError(t, err)
		ours := func() (all []string) {
			synctest.Wait()
			stacks := make([]byte, 1<<20)
			for one := range strings.SplitSeq(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
				if strings.Contains(one, "endpoint.(*Endpoint)") || strings.Contains(one, "pion/dtls") {
					all = append(all, one)
				}
			}
			return all
		}
		sealer := v.connect(s.Credentials())
		require.NotEmpty(t, ours(), "DTLS is there until it reports")
		raw, err := rtcp.Marshal([]rtcp.Packet{&rtcp.ReceiverReport{SSRC: 1}})
		require.NoError(t, err)
		sealed, err := sealer.RTCP(raw)
		require.NoError(t, err)
		require.NoError(t, v.send(sealed))
		time.Sleep(time.Second)
		require.Empty(t, ours())
		require.NoError(t, s.Err())
		require.NoError(t, s.Close())
		v.close()
	})
}
