package link

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/internal/endpoint"
	"github.com/deltacdn/delta/internal/endpoint/icecheck"
	"github.com/deltacdn/delta/signal"
)

// In CA mode anybody can ask for links. Who does nothing else, from one address,
// from many, or through the proxy that all come through, keeps no node out.
func TestHalfOpenLinksDoNotKeepANodeOut(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	one, _ := ca.issue(t, "one")
	two, _ := ca.issue(t, "two")
	_, print := other.issue(t, "mallory")
	for name, tc := range map[string]struct {
		every time.Duration
		from  func(n int) string
		node  string
	}{
		"one address":    {time.Millisecond, func(int) string { return "203.0.113.1:1" }, "192.0.2.7:1"},
		"one network":    {time.Millisecond, func(n int) string { return fmt.Sprintf("[2001:db8::%x]:1", n+1) }, "192.0.2.7:1"},
		"many addresses": {5 * time.Millisecond, func(n int) string { return fmt.Sprintf("203.0.%d.%d:1", n>>8, n&255) }, "192.0.2.7:1"},
		"a proxy":        {5 * time.Millisecond, func(int) string { return "proxied:0" }, "proxied:0"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := pair(t, cdn.Trust{Certificate: one, CAs: ca.pool}, cdn.Trust{Certificate: two, CAs: ca.pool})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				go func() {
					for n := 0; ctx.Err() == nil; n++ {
						creds := icecheck.NewCredentials()
						body, err := seal(description{
							Node: "mallory", Instance: "m", Ufrag: creds.Ufrag, Pwd: creds.Pwd, Fingerprint: print,
							Candidates: []string{"203.0.113.1:9"},
						}, cdn.Trust{}, nil)
						require.NoError(t, err)
						_, err = b.Link(ctx, signal.LinkOffer{Body: body, RemoteAddr: tc.from(n)})
						require.NoError(t, err)
						time.Sleep(tc.every)
					}
				}()
				time.Sleep(time.Second)
				l, err := a.to(cdn.Entry{URL: "two"}, wires{map[string]*Links{"two": b}, tc.node})
				require.NoError(t, err)
				l.start()
				time.Sleep(time.Second)
				require.True(t, l.isUp())
				require.NoError(t, l.Err())
				require.Len(t, b.Stats(), 1)
				require.LessOrEqual(t, count(b), 1+2*maxHalfOpen, "those that are ending aside")
				cancel()
				time.Sleep(2 * connectTimeout)
				require.Equal(t, 1, count(b))
			})
		})
	}
}

// Of offers at one moment, of which some give way to others before they are
// answered, nothing is left, and nobody is given an answer that is void already.
func TestNothingIsLeftOfOffersAtOneMoment(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	two, _ := ca.issue(t, "two")
	_, print := other.issue(t, "mallory")
	synctest.Test(t, func(t *testing.T) {
		b := links(t, cdntest.NewNetwork(t, cdntest.NetworkConfig{Seed: 1}), "two", trusting(cdn.Trust{Certificate: two, CAs: ca.pool}))
		var mu sync.Mutex
		var named []string
		var offers sync.WaitGroup
		for range 1000 {
			offers.Go(func() {
				creds := icecheck.NewCredentials()
				body, err := seal(description{
					Node: "mallory", Instance: "m", Ufrag: creds.Ufrag, Pwd: creds.Pwd, Fingerprint: print, Candidates: []string{"203.0.113.1:9"},
				}, cdn.Trust{}, nil)
				if !assert.NoError(t, err) {
					return
				}
				answer, err := b.Link(t.Context(), signal.LinkOffer{Body: body, RemoteAddr: "203.0.113.1:1"})
				if err != nil {
					assert.ErrorIs(t, err, cdn.ErrOverLimit)
					return
				}
				r, _, err := open(answer, cdn.Trust{}, nil)
				assert.NoError(t, err)
				mu.Lock()
				defer mu.Unlock()
				named = append(named, r.ICE.Ufrag)
			})
		}
		offers.Wait()
		require.NotEmpty(t, named)
		time.Sleep(connectTimeout + time.Second)
		require.Zero(t, count(b))
		for _, name := range named {
			require.NoError(t, b.transport.Port.Name(name, &endpoint.Endpoint{}), "the port has forgotten it")
		}
	})
}

// A link that is over is not named, however late that comes.
func TestALinkThatIsOverIsNotNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := pair(t, cdn.Trust{}, cdn.Trust{})
		l := a.newLink(cdn.Entry{URL: "two"}, remote{})
		a.mu.Lock()
		a.addLocked(l)
		a.mu.Unlock()
		require.NoError(t, l.Close())
		_, err := l.conn.Open()
		require.ErrorIs(t, err, cdn.ErrClosed)
	})
}
