package link

import (
	"context"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/endpoint/icecheck"
	"github.com/deltacdn/delta/signal"
)

// Two kept links to two URLs of one node settle.
func TestKeepTwoURLsOfOneNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, cdn.Trust{Secret: "s"}, cdn.Trust{Secret: "s"})
		w := wires{map[string]*Links{"two": b, "deux": b}, "192.0.2.7:1"}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go a.Keep(ctx, cdn.Entry{URL: "two"}, w, ignore)
		go a.Keep(ctx, cdn.Entry{URL: "deux"}, w, ignore)
		begun := time.Now()
		for time.Since(begun) < 30*time.Second && len(a.Stats()) == 0 {
			time.Sleep(10 * time.Millisecond)
		}
		t.Log("a link is up after", time.Since(begun))
		require.Less(t, time.Since(begun), 500*time.Millisecond)
	})
}

// In CA mode: who has no certificate at all keeps two nodes apart, by an offer
// in the name of one of them.
func TestForgedOfferKeepsNodesApartCA(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	one, _ := ca.issue(t, "one")
	two, _ := ca.issue(t, "two")
	_, forgedPrint := other.issue(t, "one")
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, cdn.Trust{Certificate: one, CAs: ca.pool}, cdn.Trust{Certificate: two, CAs: ca.pool})
		forge := func(instance string) []byte {
			creds := icecheck.NewCredentials()
			body, err := seal(description{
				Node: "one", Instance: instance, Ufrag: creds.Ufrag, Pwd: creds.Pwd, Fingerprint: forgedPrint,
				Candidates: []string{"203.0.113.1:9"},
			}, cdn.Trust{}, nil)
			require.NoError(t, err)
			return body
		}
		// The attacker asks node one for a link, and learns its instance.
		answer, err := a.Link(t.Context(), signal.LinkOffer{RemoteAddr: "203.0.113.1:1", Body: func() []byte {
			creds := icecheck.NewCredentials()
			body, _ := seal(description{
				Node: "zero", Instance: "x", Ufrag: creds.Ufrag, Pwd: creds.Pwd, Fingerprint: forgedPrint,
				Candidates: []string{"203.0.113.1:9"},
			}, cdn.Trust{}, nil)
			return body
		}()})
		require.NoError(t, err)
		r, _, err := open(answer, cdn.Trust{}, nil)
		require.NoError(t, err)
		// An offer every few seconds, in the name of one, to two.
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() {
			for ctx.Err() == nil {
				_, _ = b.Link(ctx, signal.LinkOffer{Body: forge(r.instance), RemoteAddr: "203.0.113.1:1"})
				time.Sleep(4 * time.Second)
			}
		}()
		time.Sleep(time.Second)
		go b.Keep(ctx, cdn.Entry{URL: "one"}, wires{map[string]*Links{"one": a}, "192.0.2.7:1"}, ignore)
		time.Sleep(60 * time.Second)
		cancel()
		time.Sleep(5 * time.Second)
		require.NotEmpty(t, b.Stats(), "a link after a minute")
	})
}

// With a secret: an offer that was overheard once, sent again, does the same.
func TestReplayedOfferKeepsNodesApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		trust := cdn.Trust{Secret: "secret"}
		a, b := pair(t, trust, trust)
		var seen []byte
		l, err := a.to(cdn.Entry{URL: "two"}, dialFunc(func(ctx context.Context, _ string, offer []byte) ([]byte, error) {
			seen = offer
			return b.Link(ctx, signal.LinkOffer{Body: offer, RemoteAddr: "192.0.2.7:1"})
		}))
		require.NoError(t, err)
		l.start()
		<-l.up
		l.end(cdn.ErrPeerLost) // later the link is lost
		time.Sleep(time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() {
			for ctx.Err() == nil {
				_, _ = b.Link(ctx, signal.LinkOffer{Body: seen, RemoteAddr: "203.0.113.1:1"})
				time.Sleep(4 * time.Second)
			}
		}()
		time.Sleep(time.Second)
		go b.Keep(ctx, cdn.Entry{URL: "one"}, wires{map[string]*Links{"one": a}, "192.0.2.7:1"}, ignore)
		time.Sleep(60 * time.Second)
		cancel()
		time.Sleep(5 * time.Second)
		require.NotEmpty(t, b.Stats(), "a link after a minute")
	})
}

// An address that a stranger has named, and from which a check seems to come, is
// not taken from the link that has it.
func TestNamedAddressIsNotStolen(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	one, _ := ca.issue(t, "one")
	two, _ := ca.issue(t, "two")
	_, forgedPrint := other.issue(t, "mallory")
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, cdn.Trust{Certificate: one, CAs: ca.pool}, cdn.Trust{Certificate: two, CAs: ca.pool})
		l, err := a.to(cdn.Entry{URL: "two"}, wires{map[string]*Links{"two": b}, "192.0.2.7:1"})
		require.NoError(t, err)
		l.start()
		<-l.up
		time.Sleep(time.Second)
		require.NoError(t, l.Err())
		victim := netip.MustParseAddrPort(l.links.node.Internal().Candidates()[0].String())
		creds := icecheck.NewCredentials()
		body, err := seal(description{
			Node: "mallory", Instance: "m", Ufrag: creds.Ufrag, Pwd: creds.Pwd, Fingerprint: forgedPrint,
			Candidates: []string{victim.String()},
		}, cdn.Trust{}, nil)
		require.NoError(t, err)
		answer, err := b.Link(t.Context(), signal.LinkOffer{Body: body, RemoteAddr: "203.0.113.1:1"})
		require.NoError(t, err)
		r, _, err := open(answer, cdn.Trust{}, nil)
		require.NoError(t, err)
		check, err := icecheck.Nominating(icecheck.NewID(), icecheck.NewTieBreaker(), creds, r.ICE)
		require.NoError(t, err)
		// A datagram with a forged source, as the port would hand it on.
		b.mu.Lock()
		var forged *Link
		for x := range b.all {
			if x.conn.Credentials().Ufrag == r.ICE.Ufrag {
				forged = x
			}
		}
		b.mu.Unlock()
		arrive(forged, check, victim)
		time.Sleep(4 * time.Second)
		require.NoError(t, l.Err(), "the link between one and two")
	})
}
