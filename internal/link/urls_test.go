package link

import (
	"context"
	"crypto/tls"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
)

// A link knows a bounded number of its node's URLs, however often that is dialled.
func TestURLsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, cdn.Trust{}, cdn.Trust{})
		w := wires{to: map[string]*Links{"two": b}}
		first, err := a.to(cdn.Entry{URL: "two"}, w)
		require.NoError(t, err)
		first.start()
		<-first.up
		for i := range 100 {
			time.Sleep(200 * time.Millisecond) // the other side keeps what is not made for a while
			e := cdn.Entry{URL: fmt.Sprint("two/", i%50)}
			w.to[e.URL] = b
			l, err := a.to(e, w)
			require.NoError(t, err)
			l.start()
			if l != first {
				<-l.Done()
				require.ErrorIs(t, l.Err(), ErrMoved)
			}
			l, err = a.to(e, w)
			require.NoError(t, err)
			require.Same(t, first, l, "it is known by this URL now")
		}
		require.LessOrEqual(t, len(first.peer.places), maxPlaces)
		require.Equal(t, 1, count(a))
	})
}

// A node that says that another's URL is its own is not asked in that one's place.
func TestAClaimedURLIsNotBelieved(t *testing.T) {
	ca := newAuthority(t)
	certificates := map[string]*tls.Certificate{}
	for _, name := range []string{"one", "origin", "mallory"} {
		certificates[name], _ = ca.issue(t, name)
	}
	synctest.Test(t, func(t *testing.T) {
		network := cdntest.NewNetwork(t, cdntest.NetworkConfig{Seed: 1})
		at := func(name, url string) *Links {
			return links(t, network, name, func(c *cdn.Config) {
				c.URL, c.Trust = url, cdn.Trust{Certificate: certificates[name], CAs: ca.pool}
			})
		}
		one, origin, mallory := at("one", "http://one"), at("origin", "http://origin"), at("mallory", "http://origin")
		w := wires{map[string]*Links{"http://one": one, "http://origin": origin}, "192.0.2.7:1"}
		var last *Link
		for _, dial := range []struct {
			by *Links
			to string
		}{{mallory, "http://one"}, {one, "http://origin"}} {
			l, err := dial.by.to(cdn.Entry{URL: dial.to}, w)
			require.NoError(t, err)
			l.start()
			<-l.up
			time.Sleep(time.Second)
			last = l
		}
		require.NoError(t, last.Err())
		require.Equal(t, cdn.NodeID("origin"), last.Peer())
	})
}

// A node that has dialled is dialled in return once, to see that it answers at that
// URL: the one link serves both.
func TestALinkServesBothWays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, cdn.Trust{}, cdn.Trust{})
		w := wires{to: map[string]*Links{"one": a, "two": b}}
		first, err := a.to(cdn.Entry{URL: "two"}, w)
		require.NoError(t, err)
		first.start()
		<-first.up
		time.Sleep(time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go b.Keep(ctx, cdn.Entry{URL: "one"}, w, ignore)
		time.Sleep(10 * time.Second)
		require.NoError(t, first.Err())
		require.Equal(t, 1, count(a))
		require.Equal(t, 1, count(b))
		back, err := b.to(cdn.Entry{URL: "one"}, w)
		require.NoError(t, err)
		require.True(t, back.isUp())
	})
}
