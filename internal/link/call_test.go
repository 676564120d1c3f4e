package link

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/link/control"
	"github.com/deltacdn/delta/internal/trouble/reason"
)

// connect makes a link from one to two, and waits until both know each other.
func connect(t *testing.T, one, two *Links, from string) *Link {
	t.Helper()
	l, err := one.to(cdn.Entry{URL: "two"}, wires{map[string]*Links{"two": two}, from})
	require.NoError(t, err)
	l.start()
	select {
	case <-l.up:
	case <-l.Done():
		require.NoError(t, l.Err())
	}
	time.Sleep(100 * time.Millisecond)
	return l
}

// Each node asks the other, whoever has dialled.
func TestCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := pair(t, secret, secret)
		connect(t, one, two, "")
		require.Equal(t, []cdn.NodeID{"two"}, one.Callable())
		require.Equal(t, []cdn.NodeID{"one"}, two.Callable())
		_, err := one.Call(t.Context(), "two", []byte("?"))
		require.ErrorIs(t, err, cdn.ErrUnsupported, "nobody answers")
		long := bytes.Repeat([]byte("long "), 100_000)
		for _, ls := range []*Links{one, two} {
			ls.Answer(func(_ context.Context, peer cdn.NodeID, q []byte) ([]byte, error) {
				switch string(q) {
				case "long":
					return long, nil
				case "secret":
					return nil, fmt.Errorf("%w: the password is swordfish", cdn.ErrForbidden)
				}
				return append([]byte(string(peer)+" says "), q...), nil
			})
		}
		answer, err := one.Call(t.Context(), "two", []byte("hello"))
		require.NoError(t, err)
		require.Equal(t, "one says hello", string(answer))
		answer, err = two.Call(t.Context(), "one", []byte("hello"))
		require.NoError(t, err)
		require.Equal(t, "two says hello", string(answer))
		answer, err = two.Call(t.Context(), "one", []byte("long"))
		require.NoError(t, err)
		require.True(t, bytes.Equal(long, answer))
		_, err = two.Call(t.Context(), "one", []byte("secret"))
		require.ErrorIs(t, err, cdn.ErrForbidden)
		require.NotContains(t, err.Error(), "swordfish")
		_, err = two.Call(t.Context(), "three", []byte("hello"))
		require.ErrorIs(t, err, cdn.ErrNotFound)
		_, err = two.Call(t.Context(), "one", make([]byte, control.MaxCall+1))
		require.ErrorIs(t, err, cdn.ErrOverLimit)
	})
}

// Where nothing proves that a node is one, and it is not on this machine, it is not
// answered, whatever it sends, and not asked.
func TestAnUntrustedNodeCannotCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := pair(t, cdn.Trust{}, cdn.Trust{})
		two.Answer(func(context.Context, cdn.NodeID, []byte) ([]byte, error) {
			t.Error("an untrusted node is answered")
			return nil, nil
		})
		l := connect(t, one, two, "127.0.0.1:1") // its signaling is let in, but it is elsewhere
		require.Empty(t, two.Callable())
		require.Empty(t, one.Callable())
		_, err := two.Call(t.Context(), "one", []byte("?"))
		require.ErrorIs(t, err, cdn.ErrNotFound)
		replied := make(chan control.Replied, 1)
		_, asked := l.ask([]byte("?"), replied) // as a node does that does not care
		require.True(t, asked)
		r := <-replied
		require.True(t, r.Failed)
		require.Equal(t, reason.Word(cdn.ErrUnauthorized), r.Reason.Code)
	})
}

// A call ends with its context at both ends, and with the link.
func TestCallsThatEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := pair(t, secret, secret)
		l := connect(t, one, two, "")
		over := make(chan error, 1)
		two.Answer(func(ctx context.Context, _ cdn.NodeID, _ []byte) ([]byte, error) {
			<-ctx.Done()
			over <- ctx.Err()
			return nil, ctx.Err()
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begun := time.Now()
		_, err := one.Call(ctx, "two", []byte("?"))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, time.Second, time.Since(begun))
		require.ErrorIs(t, <-over, context.Canceled)
		require.Less(t, time.Since(begun), time.Second+100*time.Millisecond)

		failed := make(chan error, 1)
		go func() {
			_, err := one.Call(t.Context(), "two", []byte("?"))
			failed <- err
		}()
		time.Sleep(time.Second)
		require.NoError(t, l.Close())
		require.ErrorIs(t, <-failed, cdn.ErrPeerLost)
		<-over
		_, err = one.Call(t.Context(), "two", []byte("?"))
		require.ErrorIs(t, err, cdn.ErrNotFound)
	})
}

// More calls than a link takes are refused at once, and the others are answered.
func TestTooManyCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := pair(t, secret, secret)
		connect(t, one, two, "")
		two.Answer(func(_ context.Context, _ cdn.NodeID, q []byte) ([]byte, error) {
			time.Sleep(time.Second)
			return q, nil
		})
		var asking sync.WaitGroup
		var mu sync.Mutex
		answered, refused := 0, 0
		for range 200 {
			asking.Go(func() {
				_, err := one.Call(t.Context(), "two", []byte("?"))
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					answered++
				case errors.Is(err, cdn.ErrOverLimit):
					refused++
				}
			})
		}
		asking.Wait()
		require.Equal(t, 64, answered)
		require.Equal(t, 200-64, refused)
	})
}
