package delta_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/access"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
)

// granting is an origin with a publisher, a viewer and an edge, each with a grant of its
// own that can be taken from it.
type granting struct {
	*world
	origin *node
	list   *access.List

	mu      sync.Mutex
	expires map[cdn.Action]time.Time
	revoke  map[cdn.Action]context.CancelCauseFunc
	ended   map[cdn.Action]end
}

type end struct {
	err error
	at  time.Time
}

func newGranting(t *testing.T) *granting {
	g := &granting{
		world: newWorld(t), expires: make(map[cdn.Action]time.Time),
		revoke: make(map[cdn.Action]context.CancelCauseFunc), ended: make(map[cdn.Action]end),
	}
	var err error
	g.list, err = access.New(cdn.AuthorizerFunc(g.authorize), access.Policy{})
	require.NoError(t, err)
	g.origin = g.world.origin("origin", cdntest.Path{}, origin.Config{}, func(c *cdn.Config) {
		c.Authorizer, c.OnEvent = g.list, g.note
	})
	g.list.Bind(g.origin.Node)
	return g
}

// authorize lets each action in once with a grant that can be taken away, and from then
// on without: who is there, and comes anew, is another one.
func (g *granting) authorize(_ context.Context, r cdn.AuthRequest) (cdn.Grant, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	grant := cdn.Grant{Subject: r.Action.String(), Expires: g.expires[r.Action]}
	if g.revoke[r.Action] == nil {
		var cancel context.CancelCauseFunc
		grant.ID = "first " + r.Action.String()
		grant.Revoked, cancel = context.WithCancelCause(context.Background())
		g.revoke[r.Action] = cancel
	}
	return grant, nil
}

func (g *granting) note(e cdn.Event) {
	if e, ok := e.(cdn.SessionEnded); ok {
		g.mu.Lock()
		defer g.mu.Unlock()
		if _, had := g.ended[e.Action]; !had {
			g.ended[e.Action] = end{e.Err, time.Now()}
		}
	}
}

func (g *granting) endOf(a cdn.Action) (end, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	e, ok := g.ended[a]
	return e, ok
}

// A session ends with its grant, whoever has it, whatever carries it, and also when its
// stream has another publisher by then. The others go on.
func TestSessionsEndWithTheirGrants(t *testing.T) {
	ways := map[string]struct {
		err  error
		take func(g *granting, a cdn.Action)
	}{
		"expiry": {err: cdn.ErrExpired}, // by itself
		"revocation": {cdn.ErrForbidden, func(g *granting, a cdn.Action) {
			g.revoke[a](fmt.Errorf("%w: it was stolen", cdn.ErrForbidden))
		}},
		"revocation without a reason": {cdn.ErrUnauthorized, func(g *granting, a cdn.Action) { g.revoke[a](nil) }},
		"access list": {cdn.ErrForbidden, func(g *granting, a cdn.Action) {
			p := g.list.Policy()
			p.Rules = []access.Rule{{Effect: access.Deny, Streams: "li*", Grant: "first " + a.String()}}
			_, err := g.list.Set(p)
			require.NoError(g.t, err)
		}},
	}
	const lasts = 15 * time.Second
	for _, way := range someOf(slices.Sorted(maps.Keys(ways))) {
		how := ways[way]
		for _, action := range []cdn.Action{cdn.ActionPublish, cdn.ActionPlay, cdn.ActionFetch} {
			for _, anew := range []bool{false, true} {
				if anew && action == cdn.ActionPublish {
					continue
				}
				t.Run(fmt.Sprintf("%s, %s, anew=%v", way, action, anew), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						g := newGranting(t)
						due := time.Now().Add(lasts)
						if how.take == nil {
							g.expires[action] = due
						}
						path := cdntest.Path{Delay: ms(5)}
						p := g.publish(g.origin, "live", path, calm())
						require.NoError(t, p.WaitConnected(g.within(5*time.Second)))
						v := g.view(g.origin, "live", "viewer", path, cdntest.ViewerConfig{})
						at := g.edge("edge", path, edge.Config{}, g.origin)
						far := g.view(at, "live", "far viewer", path, cdntest.ViewerConfig{})
						require.NoError(t, v.WaitFrames(g.within(5*time.Second), 5))
						require.NoError(t, far.WaitFrames(g.within(5*time.Second), 5))
						if anew {
							host := g.network.Host("another publisher", path)
							another := calm()
							another.Net = host.Net()
							next := g.publishFrom(g.origin, "live", another)
							require.NoError(t, next.WaitConnected(g.within(5*time.Second)))
							time.Sleep(time.Second)
							for range 50 { // until the one that was superseded is told of
								if _, over := g.endOf(cdn.ActionPublish); over {
									break
								}
								time.Sleep(ms(100))
							}
							g.mu.Lock()
							delete(g.ended, cdn.ActionPublish)
							g.mu.Unlock()
						}
						time.Sleep(time.Until(due) - 1*time.Nanosecond)
						synctest.Wait()
						for _, a := range []cdn.Action{cdn.ActionPublish, cdn.ActionPlay, cdn.ActionFetch} {
							_, over := g.endOf(a)
							require.False(t, over, "%s ended early", a)
						}
						time.Sleep(time.Nanosecond)
						if how.take != nil {
							how.take(g, action)
						}
						time.Sleep(time.Second)
						e, over := g.endOf(action)
						require.True(t, over)
						require.ErrorIs(t, e.err, how.err)
						if !peerConnections {
							require.WithinDuration(t, due, e.at, ms(50), "at once, but for the goodbye")
							require.False(t, e.at.Before(due))
						}
						for _, a := range []cdn.Action{cdn.ActionPublish, cdn.ActionPlay, cdn.ActionFetch} {
							if e, over := g.endOf(a); over && a != action && action != cdn.ActionPublish {
								t.Errorf("%s ended, too: %v", a, e.err)
							}
						}
					})
				})
			}
		}
	}
}

// A stream whose publisher may not go on ends at once, unless only the publisher's time
// is over: with a new grant, it goes on. Its viewers are told that it ended, and nothing
// of what concerns the publisher.
func TestAStreamEndsWithItsPublishersGrant(t *testing.T) {
	for name, tc := range map[string]struct {
		why   error
		stays time.Duration
	}{
		"forbidden": {cdn.ErrForbidden, 0}, "revoked": {cdn.ErrUnauthorized, 0},
		"expired": {cdn.ErrExpired, 5 * time.Second}, "over limit": {cdn.ErrOverLimit, 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				path := cdntest.Path{Delay: ms(5)}
				o := w.origin("origin", path, origin.Config{})
				p := w.publish(o, "live", path, cdntest.PublisherConfig{})
				v := w.view(o, "live", "viewer", path, cdntest.ViewerConfig{})
				require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
				require.NoError(t, v.WaitFrames(w.within(5*time.Second), 5))
				begun := time.Now()
				require.Equal(t, 1, o.EndSessions(func(s cdn.SessionInfo) bool { return s.Action == cdn.ActionPublish }, tc.why))
				<-v.Done()
				require.InDelta(t, tc.stays.Seconds(), time.Since(begun).Seconds(), 0.2)
				synctest.Wait()
				for len(w.events) > 0 {
					switch e := (<-w.events).(type) {
					case cdn.StreamEnded:
						require.ErrorIs(t, e.Err, cdn.ErrEnded)
						require.NotErrorIs(t, e.Err, tc.why)
					case cdn.SessionEnded:
						want := tc.why
						if e.Action == cdn.ActionPlay {
							want = cdn.ErrEnded
						}
						require.ErrorIs(t, e.Err, want, e.Action)
					}
				}
			})
		})
	}
}
