package link

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/internal/endpoint"
	"github.com/deltacdn/delta/internal/endpoint/dtlssrtp"
	"github.com/deltacdn/delta/internal/endpoint/icecheck"
	"github.com/deltacdn/delta/internal/udp/egress"
	"github.com/deltacdn/delta/signal"
)

// arrive has a datagram arrive at a link as the port's reader does. What is answered
// leaves at once, by a batch of its own, since the reader runs, too.
func arrive(l *Link, packet []byte, from netip.AddrPort) {
	own := egress.New(l.links.transport.Port, nil).NewNonblockingBatch()
	was := l.conn.ReplyBy(own)
	l.conn.Receive(time.Now(), time.Now(), packet, from)
	_ = own.Flush()
	l.conn.ReplyBy(was)
}

// socket returns one of a host's, and its address.
func socket(t *testing.T, host *cdntest.Host) (net.PacketConn, netip.AddrPort) {
	addr := netip.AddrPortFrom(host.IP(), 9)
	conn, err := host.Net().ListenUDP(addr)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	return conn, addr
}

// Who has read the signaling knows the passwords of checks. It cannot lead a link
// that stands away with them.
func TestALinkThatStandsIsNotLedAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := cdntest.NewNetwork(t, cdntest.NetworkConfig{Seed: 1})
		trust := trusting(cdn.Trust{Secret: "secret"})
		a, b := links(t, network, "one", trust), links(t, network, "two", trust)
		var offer, answer []byte
		l, err := a.to(cdn.Entry{URL: "two"}, dialFunc(func(ctx context.Context, _ string, body []byte) (_ []byte, err error) {
			offer = body
			answer, err = b.Link(ctx, signal.LinkOffer{Body: body, RemoteAddr: "192.0.2.7:1"})
			return answer, err
		}))
		require.NoError(t, err)
		l.start()
		<-l.up
		time.Sleep(time.Second)
		theirs, _, err := open(offer, cdn.Trust{}, nil)
		require.NoError(t, err)
		ours, _, err := open(answer, cdn.Trust{}, nil)
		require.NoError(t, err)
		conn, eve := socket(t, network.Host("eve", cdntest.Path{Delay: 5 * time.Millisecond}))
		check, err := icecheck.Nominating(icecheck.NewID(), icecheck.NewTieBreaker(), theirs.ICE, ours.ICE)
		require.NoError(t, err)
		_, err = conn.WriteTo(check, net.UDPAddrFromAddrPort(ours.Candidates[0]))
		require.NoError(t, err)
		go func() { // as one of the two would
			buf := make([]byte, 2000)
			for {
				n, from, err := conn.ReadFrom(buf)
				if err != nil {
					return
				}
				if c, err := icecheck.Read(buf[:n], func(string) (string, bool) { return theirs.ICE.Pwd, true }); err == nil {
					raw, _ := c.Answer(eve)
					_, _ = conn.WriteTo(raw, from)
				}
			}
		}()
		time.Sleep(5 * time.Second)
		require.NoError(t, l.Err())
		require.Len(t, b.Stats(), 1)
	})
}

// Where only DTLS tells who is a node, a stranger names the address of somebody
// else, and sends in its name what begins a handshake. It gets checks, few, and
// nothing of the handshake.
func TestAHandshakeIsNotTurnedOnOthers(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	two, _ := ca.issue(t, "two")
	_, print := other.issue(t, "mallory")
	synctest.Test(t, func(t *testing.T) {
		network := cdntest.NewNetwork(t, cdntest.NetworkConfig{Seed: 1})
		b := links(t, network, "two", trusting(cdn.Trust{Certificate: two, CAs: ca.pool}))
		conn, victim := socket(t, network.Host("victim", cdntest.Path{}))
		creds := icecheck.NewCredentials()
		body, err := seal(description{
			Node: "mallory", Instance: "m", Ufrag: creds.Ufrag, Pwd: creds.Pwd, Fingerprint: print, Candidates: []string{victim.String()},
		}, cdn.Trust{}, nil)
		require.NoError(t, err)
		answer, err := b.Link(t.Context(), signal.LinkOffer{Body: body, RemoteAddr: "203.0.113.1:1"})
		require.NoError(t, err)
		r, _, err := open(answer, cdn.Trust{}, nil)
		require.NoError(t, err)
		check, err := icecheck.Nominating(icecheck.NewID(), icecheck.NewTieBreaker(), creds, r.ICE)
		require.NoError(t, err)
		hello := clientHello(t, r.Remote)
		b.mu.Lock()
		require.Len(t, b.all, 1)
		var asked *Link
		for l := range b.all {
			asked = l
		}
		b.mu.Unlock()
		arrive(asked, check, victim)
		for range 10 {
			arrive(asked, hello, victim)
		}
		var got [][]byte
		go func() {
			buf := make([]byte, 2000)
			for {
				n, _, err := conn.ReadFrom(buf)
				if err != nil {
					return
				}
				got = append(got, append([]byte(nil), buf[:n]...))
			}
		}()
		time.Sleep(connectTimeout + time.Second)
		synctest.Wait()
		bytes := 0
		for _, datagram := range got {
			require.Less(t, datagram[0], byte(4), "STUN")
			bytes += len(datagram)
		}
		require.LessOrEqual(t, len(got), 8, "an answer, and checks in return")
		require.LessOrEqual(t, bytes, 3*(len(check)+len(hello)), "in proportion to what came")
	})
}

// A dialling node of two addresses checks from both, and chooses one: the node that
// it has dialled sends to that one.
func TestTheDialledNodeFollowsTheChoiceOfAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		trust := cdn.Trust{Secret: "secret"}
		network := cdntest.NewNetwork(t, cdntest.NetworkConfig{Seed: 1})
		b := links(t, network, "two", trusting(trust))
		creds := icecheck.NewCredentials()
		one, other, stranger := netip.MustParseAddrPort("198.51.100.1:7"), netip.MustParseAddrPort("198.51.100.2:7"), netip.MustParseAddrPort("198.51.100.3:7")
		_, print := newAuthority(t).issue(t, "one")
		body, err := seal(description{
			Node: "one", Instance: "i", Ufrag: creds.Ufrag, Pwd: creds.Pwd, Fingerprint: print, Candidates: []string{one.String(), other.String()},
		}, trust, nil)
		require.NoError(t, err)
		answer, err := b.Link(t.Context(), signal.LinkOffer{Body: body, RemoteAddr: "203.0.113.1:1"})
		require.NoError(t, err)
		r, _, err := open(answer, cdn.Trust{}, nil)
		require.NoError(t, err)
		hello, flight := clientHello(t, r.Remote), []byte{22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 16}
		var asked *Link
		b.mu.Lock()
		for l := range b.all {
			asked = l
		}
		b.mu.Unlock()
		for _, from := range []netip.AddrPort{one, other} {
			check, err := icecheck.Nominating(icecheck.NewID(), icecheck.NewTieBreaker(), creds, r.ICE)
			require.NoError(t, err)
			arrive(asked, check, from)
			arrive(asked, hello, from)
		}
		require.Equal(t, other, asked.conn.To())
		arrive(asked, flight, stranger)
		require.Equal(t, other, asked.conn.To(), "not one that has not checked")
		arrive(asked, flight, one)
		require.Equal(t, one, asked.conn.To())
	})
}

// clientHello returns one, as a node sends it.
func clientHello(t *testing.T, peer endpoint.Remote) (hello []byte) {
	_, b := pair(t, cdn.Trust{}, cdn.Trust{})
	ctx, cancel := context.WithCancel(t.Context())
	pipe := dtlssrtp.NewPipe(func(record []byte) error {
		hello = append([]byte(nil), record...)
		cancel()
		return nil
	})
	_, err := dtlssrtp.Handshake(ctx, pipe, dtlssrtp.Config{
		Client: true, Certificate: b.identity.Certificate, Peer: peer.Fingerprints, Log: b.node.Internal().PionLog,
	})
	require.Error(t, err)
	require.NoError(t, pipe.Close())
	require.True(t, dtlssrtp.IsClientHello(hello))
	return hello
}

// What it costs that an address has to be proved: nothing where the secret does so,
// a round trip where only DTLS does.
func TestRoundTripsUntilALinkIsUp(t *testing.T) {
	ca := newAuthority(t)
	one, _ := ca.issue(t, "one")
	two, _ := ca.issue(t, "two")
	for name, tc := range map[string]struct {
		one, two cdn.Trust
		trips    int
	}{
		"a secret": {cdn.Trust{Secret: "s"}, cdn.Trust{Secret: "s"}, 2},
		"a CA":     {cdn.Trust{Certificate: one, CAs: ca.pool}, cdn.Trust{Certificate: two, CAs: ca.pool}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := pair(t, tc.one, tc.two)
				l, err := a.to(cdn.Entry{URL: "two"}, wires{map[string]*Links{"two": b}, "192.0.2.7:1"})
				require.NoError(t, err)
				begun := time.Now()
				l.start()
				<-l.up
				require.Equal(t, time.Duration(tc.trips)*20*time.Millisecond, time.Since(begun))
			})
		})
	}
}
