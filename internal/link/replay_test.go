package link

import (
	"context"
	"encoding/json"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/internal/bubble"
	"github.com/deltacdn/delta/internal/trouble"
	"github.com/deltacdn/delta/signal"
)

var secret = cdn.Trust{Secret: "known to nodes"}

// captured is a wire that keeps what it carries.
type captured struct {
	wires
	mu     sync.Mutex
	offers [][]byte
}

func (c *captured) DialLink(ctx context.Context, url string, offer []byte) ([]byte, error) {
	c.mu.Lock()
	c.offers = append(c.offers, offer)
	c.mu.Unlock()
	return c.wires.DialLink(ctx, url, offer)
}

// An offer that was seen on its way and is sent again is refused at once: it makes
// no link, and nodes get theirs meanwhile as always.
func TestAnOfferIsTakenOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := cdntest.NewNetwork(t, cdntest.NetworkConfig{Seed: 1})
		a, b := links(t, network, "one", trusting(secret)), links(t, network, "two", trusting(secret))
		wire := &captured{wires: wires{map[string]*Links{"two": b}, "192.0.2.1:1"}}
		l, err := a.to(cdn.Entry{URL: "two"}, wire)
		require.NoError(t, err)
		l.start()
		<-l.up
		offer := wire.offers[0]
		time.Sleep(time.Second)
		before := bubble.Goroutines()
		for range 1500 {
			_, err := b.Link(t.Context(), signal.LinkOffer{Body: offer, RemoteAddr: "192.0.2.66:1"})
			require.ErrorIs(t, err, cdn.ErrUnauthorized)
		}
		require.Equal(t, 1, count(b))
		require.Equal(t, before, bubble.Goroutines())
		require.True(t, l.isUp())

		c := links(t, network, "three", trusting(secret))
		begun := time.Now()
		l, err = c.to(cdn.Entry{URL: "two"}, wire)
		require.NoError(t, err)
		l.start()
		<-l.up
		require.Less(t, time.Since(begun), 100*time.Millisecond)

		// A node that has been started anew remembers nothing, but knows the time.
		d := links(t, network, "two again", trusting(secret), func(c *cdn.Config) { c.ID = "two" })
		time.Sleep(proofAge)
		_, err = d.Link(t.Context(), signal.LinkOffer{Body: offer, RemoteAddr: "192.0.2.66:1"})
		require.ErrorAs(t, err, new(*trouble.ClockError))
		require.ErrorIs(t, err, cdn.ErrUnauthorized)
		require.Zero(t, count(d))
	})
}

// A node of an older version does not say when it made its offer. It gets a link
// unless the time is required, and its offer is taken once, too.
func TestAnOfferWithoutATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		strict := secret
		strict.RequireTime = true
		a, b := pair(t, secret, secret)
		c := links(t, cdntest.NewNetwork(t, cdntest.NetworkConfig{Seed: 1}), "three", trusting(strict))
		local, err := a.newLink(cdn.Entry{URL: "x"}, remote{}).conn.Open()
		require.NoError(t, err)
		d := a.description(local)
		d.Made = 0
		body, err := seal(d, secret, nil)
		require.NoError(t, err)
		require.NotContains(t, string(body), `"made"`)
		_, err = c.Link(t.Context(), signal.LinkOffer{Body: body})
		require.ErrorIs(t, err, cdn.ErrUnauthorized)
		_, err = b.Link(t.Context(), signal.LinkOffer{Body: body})
		require.NoError(t, err)
		for range 10 {
			time.Sleep(time.Hour)
			_, err = b.Link(t.Context(), signal.LinkOffer{Body: body})
			require.ErrorIs(t, err, cdn.ErrUnauthorized)
		}
		// What is sent with a time and without a proof proves nothing.
		d.Made = time.Now().Unix()
		body, err = json.Marshal(envelope{Link: must(json.Marshal(d))})
		require.NoError(t, err)
		_, err = b.Link(t.Context(), signal.LinkOffer{Body: body})
		require.ErrorIs(t, err, cdn.ErrUnauthorized)
	})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Clocks may differ a little, and however many offers come, what is remembered of
// them is bounded.
func TestProofs(t *testing.T) {
	p, now := newProofs(), time.Unix(1_800_000_000, 0)
	offer := func(n int, made time.Time) remote {
		r := remote{node: "one", made: made}
		r.proof[0], r.proof[1], r.proof[2] = byte(n>>16), byte(n>>8), byte(n)
		return r
	}
	for n, off := range []time.Duration{0, proofAge, -proofAge} {
		require.NoError(t, p.take(now, offer(n, now.Add(off)), true))
	}
	for n, off := range []time.Duration{proofAge + time.Second, -proofAge - time.Second, 1 << 62, -1 << 62} {
		require.ErrorAs(t, p.take(now, offer(10+n, now.Add(off)), false), new(*trouble.ClockError))
	}
	early := offer(20, now.Add(proofAge)) // of a clock that is fast: good for twice as long
	require.NoError(t, p.take(now, early, false))
	require.Error(t, p.take(now.Add(2*proofAge), early, false))
	for n := range maxProofs + 1000 {
		require.NoError(t, p.take(now, offer(1000+n, time.Time{}), false))
	}
	require.Equal(t, maxProofs, p.untimed.Len())
}
