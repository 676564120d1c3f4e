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
)

// asked are the reasons for which a session was asked to end.
type asked struct {
	mu  sync.Mutex
	all []error
}

func (a *asked) end(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all = append(a.all, err)
}

func (a *asked) take() []error {
	synctest.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	all := a.all
	a.all = nil
	return all
}

// granting is a node that gives everybody what g returns.
func granting(t *testing.T, g func() cdn.Grant) *cdn.Node {
	n, _ := admitting(t, cdn.Limits{}, func(c *cdn.Config) {
		c.Authorizer = cdn.AuthorizerFunc(func(context.Context, cdn.AuthRequest) (cdn.Grant, error) { return g(), nil })
	})
	return n
}

// A grant's end is the session's, to the nanosecond, whatever the session is doing; and
// nothing is left of a session that was over before.
func TestAGrantsEndIsTheSessions(t *testing.T) {
	stolen := fmt.Errorf("%w: it was stolen", cdn.ErrForbidden)
	for name, tc := range map[string]struct {
		expires bool
		cause   error
		want    error
	}{
		"expiry":                         {expires: true, want: cdn.ErrExpired},
		"revocation":                     {cause: stolen, want: cdn.ErrForbidden},
		"revocation without a reason":    {want: cdn.ErrUnauthorized},
		"revocation for another reason":  {cause: errors.New("no money"), want: cdn.ErrUnauthorized},
		"both, the expiry long after it": {cause: cdn.ErrUnauthorized, want: cdn.ErrUnauthorized},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const lasts = time.Minute
				revoked, revoke := context.WithCancelCause(t.Context())
				defer revoke(nil)
				grant := cdn.Grant{Revoked: revoked}
				switch {
				case tc.expires:
					grant.Expires = time.Now().Add(lasts)
				case tc.cause != nil:
					grant.Expires = time.Now().Add(time.Hour)
				}
				n := granting(t, func() cdn.Grant { return grant })
				request := cdn.AuthRequest{Action: cdn.ActionPlay, Stream: "live"}
				var running, late, over asked
				a := enter(t, n, request)
				a.Start(running.end)
				making, err := n.Authorize(t.Context(), request)
				require.NoError(t, err)
				ctx, err := making.Enter(t.Context())
				require.NoError(t, err)
				gone := enter(t, n, request)
				gone.Start(over.end)
				gone.Leave(cdn.ErrLeft)
				undecided, err := n.Authorize(t.Context(), request)
				require.NoError(t, err)

				time.Sleep(lasts - time.Nanosecond)
				require.Empty(t, running.take())
				require.NoError(t, ctx.Err())
				time.Sleep(time.Nanosecond)
				if !tc.expires {
					revoke(tc.cause)
				}
				got := running.take()
				require.Len(t, got, 1)
				require.ErrorIs(t, got[0], tc.want)
				if tc.cause != nil {
					require.ErrorIs(t, got[0], tc.cause)
				}
				require.ErrorIs(t, context.Cause(ctx), tc.want, "what makes a session learns it, too")
				making.Start(late.end)
				require.ErrorIs(t, late.take()[0], tc.want)
				require.Empty(t, over.take())

				_, err = undecided.Enter(t.Context())
				require.ErrorIs(t, err, tc.want, "a grant is no good any more when the place is wanted")
				require.Len(t, n.Sessions(), 2, "they end by themselves")
				a.Leave(nil)
				making.Leave(nil)
				time.Sleep(2 * time.Hour)
				require.Empty(t, running.take(), "once is enough")
			})
		})
	}
}

// A review is asked about who is there and who comes, until it stops.
func TestReview(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := granting(t, func() cdn.Grant { return cdn.Grant{Tag: "acme"} })
		request := cdn.AuthRequest{Action: cdn.ActionPlay, Stream: "live", RemoteAddr: "192.0.2.1:7"}
		var why error
		var seen []cdn.SessionInfo
		r := n.Review(func(s cdn.SessionInfo) error {
			seen = append(seen, s)
			return why
		})
		var ends asked
		a := enter(t, n, request)
		a.Start(ends.end)
		require.Equal(t, []cdn.SessionInfo{n.Sessions()[0]}, seen)
		require.Equal(t, "acme", seen[0].Tag)
		require.Zero(t, r.Again())
		why = fmt.Errorf("%w: not any more", cdn.ErrForbidden)
		_, err := tryEnter(t, n, request)
		require.ErrorIs(t, err, why)
		require.Empty(t, ends.take())
		require.Equal(t, 1, r.Again())
		require.Equal(t, []error{why}, ends.take())
		r.Stop()
		r.Stop()
		enter(t, n, request).Leave(nil)
		require.Len(t, n.Sessions(), 1)
	})
}

// watched is a context that counts who waits for its end.
type watched struct {
	context.Context
	waiting *int
}

func (watched) Done() <-chan struct{} { return make(chan struct{}) }

func (w watched) AfterFunc(func()) (stop func() bool) {
	*w.waiting++
	return func() bool {
		*w.waiting--
		return true
	}
}

// A grant that many sessions share, or that lasts for ever, keeps nothing of those that
// are over.
func TestAGrantForgetsItsSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := watched{context.Background(), new(int)}
		n := granting(t, func() cdn.Grant { return cdn.Grant{Revoked: shared} })
		request := cdn.AuthRequest{Action: cdn.ActionPlay, Stream: "live"}
		stays := enter(t, n, request)
		for range 100 {
			enter(t, n, request).Leave(nil)
		}
		require.Equal(t, 1, *shared.waiting)
		stays.Leave(nil)
		require.Zero(t, *shared.waiting)
	})
}
