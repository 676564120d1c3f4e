package relay_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/relay"
	"github.com/deltacdn/delta/signal/inproc"
)

// chain starts nodes of which each has a link with the next, and returns their calls.
func chain(t *testing.T, names ...string) map[string]*relay.Calls {
	network := cdntest.NewNetwork(t, cdntest.NetworkConfig{Seed: 1})
	dialer := inproc.New(inproc.Config{})
	all := map[string]*relay.Calls{}
	for i, name := range names {
		host := network.Host(name, cdntest.Path{Delay: 5 * time.Millisecond})
		n, err := cdn.Listen(cdn.Config{
			ID: cdn.NodeID(name), Addr: netip.AddrPortFrom(host.IP(), 7000).String(), Net: host.Net(), Trust: cdn.Trust{Secret: "known to nodes"},
		})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, n.Close()) })
		f, err := relay.NewLink(n, relay.LinkConfig{Dialer: dialer})
		require.NoError(t, err)
		var next []string
		if i+1 < len(names) {
			next = []string{"http://" + names[i+1]}
		}
		r, err := relay.New(n, relay.Config{Directory: cdn.Static(next...), Fetcher: f})
		require.NoError(t, err)
		s, err := relay.NewServer(n, r)
		require.NoError(t, err)
		dialer.Handle("http://"+name+relay.Prefix, s)
		all[name], err = relay.CallsOf(n)
		require.NoError(t, err)
	}
	time.Sleep(10 * time.Second) // links come
	return all
}

func path(names string) (p []cdn.NodeID) {
	for name := range strings.SplitSeq(names, " ") {
		p = append(p, cdn.NodeID(name))
	}
	return p
}

// A node asks others over those in between, both ways along the links.
func TestCallsOverHops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := chain(t, "a", "b", "c", "d")
		require.Equal(t, path("a c"), calls["b"].Peers())
		for name, c := range calls {
			c.Handle("hello", func(_ context.Context, q relay.Call) ([]byte, error) {
				return fmt.Appendf(nil, "%s is asked by %v: %s", name, q.Path, q.Payload), nil
			})
			c.Handle("refuse", func(context.Context, relay.Call) ([]byte, error) {
				return nil, fmt.Errorf("%w: a secret", cdn.ErrForbidden)
			})
			c.Handle("long", func(context.Context, relay.Call) ([]byte, error) { return make([]byte, relay.MaxAnswer), nil })
			c.Handle("too long", func(context.Context, relay.Call) ([]byte, error) { return make([]byte, relay.MaxAnswer+1), nil })
		}
		for _, tc := range []struct{ from, path, want string }{
			{"a", "b", "b is asked by [a b]: hi"},
			{"a", "b c d", "d is asked by [a b c d]: hi"},
			{"d", "c b a", "a is asked by [d c b a]: hi"},
		} {
			answer, err := calls[tc.from].Call(t.Context(), path(tc.path), "hello", []byte("hi"))
			require.NoError(t, err)
			require.Equal(t, tc.want, string(answer))
		}
		for _, tc := range []struct {
			path, method string
			want         error
		}{
			{"b c d", "unknown", cdn.ErrUnsupported},
			{"b c d", "refuse", cdn.ErrForbidden},
			{"b c d", "too long", cdn.ErrOverLimit},
			{"b d", "hello", cdn.ErrNotFound},
			{"c", "hello", cdn.ErrNotFound},
			{"b c nobody", "hello", cdn.ErrNotFound},
			{"b c b", "hello", cdn.ErrLoop},
			{"a", "hello", cdn.ErrLoop},
			{"b c d e f g h i j", "hello", cdn.ErrLoop},
			{"b c/d", "hello", cdn.ErrInvalid},
			{"b", strings.Repeat("m", 65), cdn.ErrInvalid},
		} {
			_, err := calls["a"].Call(t.Context(), path(tc.path), tc.method, nil)
			require.ErrorIs(t, err, tc.want, "%s %s", tc.path, tc.method)
			require.NotContains(t, err.Error(), "secret")
		}
		_, err := calls["a"].Call(t.Context(), nil, "hello", nil)
		require.ErrorIs(t, err, cdn.ErrInvalid)
		_, err = calls["a"].Call(t.Context(), path("b"), "hello", make([]byte, relay.MaxCall+1))
		require.ErrorIs(t, err, cdn.ErrOverLimit)
		answer, err := calls["a"].Call(t.Context(), path("b c d"), "long", bytes.Repeat([]byte{1}, relay.MaxCall))
		require.NoError(t, err)
		require.Len(t, answer, relay.MaxAnswer)
		require.NoError(t, calls["c"].Close())
		_, err = calls["a"].Call(t.Context(), path("b c d"), "hello", nil)
		require.ErrorIs(t, err, cdn.ErrUnsupported)
	})
}

// When the requester gives up, the nodes on the way and the one that is asked do, too.
func TestCallsThatAreGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := chain(t, "a", "b", "c")
		over := make(chan error, 1)
		calls["c"].Handle("wait", func(ctx context.Context, _ relay.Call) ([]byte, error) {
			<-ctx.Done()
			over <- ctx.Err()
			return nil, ctx.Err()
		})
		ctx, cancel := context.WithCancel(t.Context())
		begun := time.Now()
		time.AfterFunc(time.Second, cancel)
		_, err := calls["a"].Call(ctx, path("b c"), "wait", nil)
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, <-over, context.Canceled)
		require.Less(t, time.Since(begun), 1100*time.Millisecond)

		ctx, cancel = context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		begun = time.Now()
		_, err = calls["a"].Call(ctx, path("b c"), "wait", nil)
		require.True(t, errors.Is(err, cdn.ErrTimeout) || errors.Is(err, context.DeadlineExceeded), err)
		<-over // the time that was left travels
		require.InDelta(t, 2*time.Second, time.Since(begun), float64(100*time.Millisecond))
	})
}
