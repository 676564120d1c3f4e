package cdn_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
)

func tryEnter(t *testing.T, n *cdn.Node, r cdn.AuthRequest) (*cdn.Admission, error) {
	a, err := n.Authorize(t.Context(), r)
	require.NoError(t, err)
	_, err = a.Enter(t.Context())
	return a, err
}

func enter(t *testing.T, n *cdn.Node, r cdn.AuthRequest) *cdn.Admission {
	a, err := tryEnter(t, n, r)
	require.NoError(t, err)
	return a
}

// recorder is an OnEvent that keeps what it is told of sessions.
type recorder struct {
	mu     sync.Mutex
	events []cdn.Event
}

func (r *recorder) record(e cdn.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

func (r *recorder) take() (events []cdn.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	events, r.events = r.events, nil
	return events
}

func admitting(t *testing.T, l cdn.Limits, set func(*cdn.Config)) (*cdn.Node, *recorder) {
	host := cdntest.NewNetwork(t, cdntest.NetworkConfig{}).Host("node", cdntest.Path{})
	events := &recorder{}
	c := cdn.Config{Addr: host.IP().String() + ":7000", Net: host.Net(), Limits: l, OnEvent: events.record}
	if set != nil {
		set(&c)
	}
	n, err := cdn.Listen(c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, n.Close()) })
	return n, events
}

// A session is listed from Enter to Leave, and its events come in order however
// its start and its end meet.
func TestAnAdmissionIsListedAndTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, events := admitting(t, cdn.Limits{}, func(c *cdn.Config) {
			c.Authorizer = cdn.AuthorizerFunc(func(_ context.Context, r cdn.AuthRequest) (cdn.Grant, error) {
				return cdn.Grant{Subject: "subject of " + r.Credential, ID: "one", Tag: "acme"}, nil
			})
		})
		request := cdn.AuthRequest{Action: cdn.ActionPlay, Stream: "live", Credential: "token", RemoteAddr: "192.0.2.1:7"}
		a := enter(t, n, request)
		require.Empty(t, events.take())
		require.Equal(t, []cdn.SessionInfo{{
			Session: a.Name(), Stream: "live", Action: cdn.ActionPlay, Subject: "subject of token", Grant: "one", Tag: "acme", RemoteAddr: "192.0.2.1:7",
			Begun: a.Begun(), HalfOpen: true,
		}}, n.Sessions())
		a.Start(func(error) {})
		a.Proved()
		require.False(t, n.Sessions()[0].HalfOpen)
		time.Sleep(time.Second)
		a.Leave(cdn.ErrEnded)
		a.Leave(cdn.ErrPeerLost)
		started := cdn.SessionStarted{Stream: "live", Action: cdn.ActionPlay, Session: a.Name(), Subject: "subject of token", Grant: "one", Tag: "acme", RemoteAddr: "192.0.2.1:7"}
		ended := cdn.SessionEnded{Stream: "live", Action: cdn.ActionPlay, Session: a.Name(), Subject: "subject of token", Grant: "one", Tag: "acme", Lasted: time.Second, Err: cdn.ErrEnded}
		require.Equal(t, []cdn.Event{started, ended}, events.take())
		require.Empty(t, n.Sessions())

		failed := enter(t, n, request)
		failed.Leave(cdn.ErrNotFound)
		require.Empty(t, events.take(), "a session that could not be made has no events")

		quick := enter(t, n, request)
		quick.Leave(cdn.ErrPeerLost) // its end is quicker than the caller of Start
		quick.Start(func(error) { t.Error("it is over") })
		started.Session, ended.Session, ended.Lasted, ended.Err = quick.Name(), quick.Name(), 0, cdn.ErrPeerLost
		require.Equal(t, []cdn.Event{started, ended}, events.take())
		require.Zero(t, n.Stats().Sessions)
	})
}

// A session can be asked to end at any time, once, and is told why.
func TestEndSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, events := admitting(t, cdn.Limits{}, nil)
		kicked := fmt.Errorf("%w: by the operator", cdn.ErrForbidden)
		var asked []error
		running := enter(t, n, cdn.AuthRequest{Action: cdn.ActionPlay})
		running.Start(func(err error) {
			asked = append(asked, err)
			running.Leave(err)
		})
		require.NoError(t, n.EndSession(running.Name(), kicked))
		require.Equal(t, []error{kicked}, asked)
		require.ErrorIs(t, events.take()[1].(cdn.SessionEnded).Err, cdn.ErrForbidden)
		require.ErrorIs(t, n.EndSession(running.Name(), kicked), cdn.ErrNotFound)

		a, err := n.Authorize(t.Context(), cdn.AuthRequest{Action: cdn.ActionPlay})
		require.NoError(t, err)
		ctx, err := a.Enter(t.Context())
		require.NoError(t, err)
		require.NoError(t, n.EndSession(a.Name(), kicked))
		require.NoError(t, n.EndSession(a.Name(), errors.New("not the first")))
		<-ctx.Done()
		require.Equal(t, kicked, context.Cause(ctx), "what makes it learns why")
		asked = nil
		a.Start(func(err error) { asked = append(asked, err) }) // it was made all the same
		require.Equal(t, []error{kicked}, asked)
		a.Leave(kicked)

		// At any moment of Start.
		for range 1000 {
			a := enter(t, n, cdn.AuthRequest{Action: cdn.ActionPlay})
			ended := make(chan error, 2)
			go func() { _ = n.EndSession(a.Name(), kicked) }()
			a.Start(func(err error) { ended <- err })
			require.Equal(t, kicked, <-ended)
			a.Leave(kicked)
			require.Empty(t, ended)
		}
	})
}

// Places for sessions whose clients have not proved their address are shared out
// by address.
func TestHalfOpenSessionsGiveWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, _ := admitting(t, cdn.Limits{Sessions: 20, HalfOpen: 10}, nil)
		from := func(addr string) cdn.AuthRequest {
			return cdn.AuthRequest{Action: cdn.ActionPlay, RemoteAddr: addr}
		}
		ended := make(map[string]error)
		start := func(addr string) *cdn.Admission {
			a := enter(t, n, from(addr))
			a.Start(func(err error) {
				ended[a.Name()] = err
				a.Leave(err)
			})
			time.Sleep(time.Millisecond)
			return a
		}
		victim := start("192.0.2.9:1")
		connected := start("203.0.113.1:1")
		connected.Proved()
		var flood []*cdn.Admission
		for range 9 {
			flood = append(flood, start("203.0.113.1:1"))
		}
		require.Empty(t, ended, "one address may have all places while there is room")
		for range 500 {
			flood = append(flood, start("203.0.113.1:1"))
		}
		require.Len(t, ended, 500)
		for _, a := range flood[:500] {
			require.ErrorIs(t, ended[a.Name()], cdn.ErrOverLimit, "the oldest of the busiest address gives way")
		}
		require.NotContains(t, ended, victim.Name())
		require.NotContains(t, ended, connected.Name())

		// Another address is let in, and one network of IPv6 counts as one.
		clear(ended)
		start("198.51.100.1:1")
		for i := range 50 {
			start(fmt.Sprintf("[2001:db8::%x]:1", i))
		}
		require.NotContains(t, ended, victim.Name())
		count := make(map[string]int)
		for _, s := range n.Sessions() {
			if s.HalfOpen {
				count[s.RemoteAddr[:4]]++
			}
		}
		require.Equal(t, 1, count["192."])
		require.Equal(t, 1, count["198."])
		require.InDelta(t, count["203."], count["[200"], 1)
		require.Equal(t, 11, n.Stats().Sessions)

		// What cannot be read as an address counts as one.
		clear(ended)
		for range 50 {
			start("proxied:0")
		}
		require.NotContains(t, ended, victim.Name())
		// What has none, as in process, and nodes that have proved to be such, have no
		// share and take nobody's.
		clear(ended)
		for range 9 {
			enter(t, n, from(""))
		}
		require.Empty(t, ended)
		enter(t, n, cdn.AuthRequest{Action: cdn.ActionFetch, RemoteAddr: "192.0.2.50:1", Trusted: true})
		require.Len(t, ended, 1, "all places are taken, and a half-open session gives way")
	})
}

// Sessions that have proved their address are never ended for others. When they
// fill all places, an address that has more than a quarter gets none.
func TestProvedSessionsStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, _ := admitting(t, cdn.Limits{Sessions: 16}, nil)
		from := func(addr string) cdn.AuthRequest {
			return cdn.AuthRequest{Action: cdn.ActionPlay, RemoteAddr: addr}
		}
		proved := func(addr string) *cdn.Admission {
			a := enter(t, n, from(addr))
			a.Start(func(error) { t.Errorf("ended: %s", addr) })
			a.Proved()
			return a
		}
		for range 16 {
			proved("203.0.113.1:1")
		}
		_, err := tryEnter(t, n, from("203.0.113.1:2"))
		require.ErrorIs(t, err, cdn.ErrOverLimit)
		var e *cdn.Error
		require.ErrorAs(t, err, &e)
		require.NotZero(t, e.RetryAfter)
		require.InDelta(t, 1.0, n.Load(), 0)
		// Others get in beside it, up to a quarter more.
		for i := range 4 {
			proved(fmt.Sprintf("192.0.2.%d:1", i))
		}
		require.InDelta(t, 1.0, n.Load(), 0)
		_, err = tryEnter(t, n, from("192.0.2.77:1"))
		require.ErrorIs(t, err, cdn.ErrOverLimit)
	})
	synctest.Test(t, func(t *testing.T) {
		n, _ := admitting(t, cdn.Limits{Sessions: 16}, nil)
		for i := range 16 {
			enter(t, n, cdn.AuthRequest{Action: cdn.ActionPlay, RemoteAddr: fmt.Sprintf("192.0.2.%d:1", i%8)}).Proved()
		}
		_, err := tryEnter(t, n, cdn.AuthRequest{Action: cdn.ActionPlay, RemoteAddr: "192.0.2.77:1"})
		require.ErrorIs(t, err, cdn.ErrOverLimit, "where nobody has too much, the limit is the limit")
	})
}

// Who proves nothing and shows nothing gets nothing of what nodes get, whatever an
// Authorizer says that leaves nodes to the secret; and the Authorizer is told who
// has proved to be a node.
func TestAFetchNeedsAProofOrACredential(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []cdn.AuthRequest
		all := cdn.AuthorizerFunc(func(_ context.Context, r cdn.AuthRequest) (cdn.Grant, error) {
			asked = append(asked, r)
			return cdn.Grant{}, nil
		})
		n, _ := admitting(t, cdn.Limits{}, func(c *cdn.Config) { c.Authorizer, c.Trust.Secret = all, "known to nodes" })
		_, err := n.Authorize(t.Context(), cdn.AuthRequest{Action: cdn.ActionFetch, Stream: "live"})
		require.ErrorIs(t, err, cdn.ErrUnauthorized)
		require.Empty(t, asked)
		for _, r := range []cdn.AuthRequest{
			{Action: cdn.ActionFetch, Trusted: true},
			{Action: cdn.ActionFetch, Credential: "token"},
			{Action: cdn.ActionPlay},
			{Action: cdn.ActionPublish},
		} {
			_, err = n.Authorize(t.Context(), r)
			require.NoError(t, err)
			require.Equal(t, r, asked[len(asked)-1])
		}
	})
}

// Half-open publishers do not use up the streams that the node may have.
func TestHalfOpenPublishersLeaveStreamsToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, _ := admitting(t, cdn.Limits{Streams: 9}, nil)
		ended := 0
		for i := range 50 {
			id := cdn.StreamID(fmt.Sprint("flood", i))
			a := enter(t, n, cdn.AuthRequest{Action: cdn.ActionPublish, Stream: id, RemoteAddr: "203.0.113.1:1"})
			s, err := n.NewStream(id)
			require.NoError(t, err)
			a.Start(func(err error) {
				ended++
				s.End(err)
				a.Leave(err)
			})
		}
		require.Equal(t, 45, ended)
		viewer := enter(t, n, cdn.AuthRequest{Action: cdn.ActionPlay, RemoteAddr: "203.0.113.1:1"})
		require.Equal(t, 6, n.Stats().Sessions)
		enter(t, n, cdn.AuthRequest{Action: cdn.ActionPublish, RemoteAddr: "192.0.2.1:1"}).Proved()
		require.Equal(t, 46, ended)
		require.False(t, viewer.HasProved())
	})
}

// A source that holds a full node cannot take the place of others that have not
// proved their address yet, however often it asks.
func TestAFullNodesReserveIsNotTheGreediest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, _ := admitting(t, cdn.Limits{Sessions: 16}, nil)
		from := func(addr string) cdn.AuthRequest {
			return cdn.AuthRequest{Action: cdn.ActionPlay, RemoteAddr: addr}
		}
		for range 16 {
			enter(t, n, from("203.0.113.1:1")).Proved()
		}
		victim := enter(t, n, from("192.0.2.9:1"))
		var ended error
		victim.Start(func(err error) { ended = err })
		for range 40 {
			_, err := tryEnter(t, n, from("203.0.113.1:2"))
			require.ErrorIs(t, err, cdn.ErrOverLimit)
		}
		_, err := tryEnter(t, n, from("192.0.2.10:1"))
		require.NoError(t, err)
		require.NoError(t, ended)
	})
}
