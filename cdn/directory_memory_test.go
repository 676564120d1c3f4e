package cdn

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What every Directory does is tested by cdntest; here is what Memory does
// besides.

func TestMemoryRefuses(t *testing.T) {
	good := Entry{Stream: "live", Node: "n"}
	for name, tc := range map[string]struct {
		change func(*Entry)
		ttl    time.Duration
		want   error
	}{
		"no stream":      {func(e *Entry) { e.Stream = "" }, time.Second, ErrInvalid},
		"no node":        {func(e *Entry) { e.Node = "" }, time.Second, ErrInvalid},
		"no lease":       {func(*Entry) {}, 0, ErrInvalid},
		"negative lease": {func(*Entry) {}, -1, ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			e := good
			tc.change(&e)
			m := NewMemory()
			err := m.Put(t.Context(), e, tc.ttl)
			var typed *Error
			require.ErrorAs(t, err, &typed)
			assert.ErrorIs(t, err, tc.want)
			assert.Equal(t, e.Stream, typed.Stream)
			assert.Empty(t, m.streams)
		})
	}
}

func TestMemoryStaleError(t *testing.T) {
	m := NewMemory()
	require.NoError(t, m.Put(t.Context(), Entry{Stream: "live", Node: "new", Epoch: 3}, time.Minute))
	err := m.Put(t.Context(), Entry{Stream: "live", Node: "old", Epoch: 2}, time.Minute)
	require.ErrorIs(t, err, ErrStale)
	assert.EqualError(t, err, "announce live: stale epoch: 2, but new has 3")
}

func TestMemoryEpochIsForgottenWithItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory()
		require.NoError(t, m.Put(t.Context(), Entry{Stream: "live", Node: "new", Epoch: 3}, time.Second))
		time.Sleep(time.Second - 1)
		require.ErrorIs(t, m.Put(t.Context(), Entry{Stream: "live", Node: "old", Epoch: 2}, time.Second), ErrStale)
		time.Sleep(time.Nanosecond)
		require.NoError(t, m.Put(t.Context(), Entry{Stream: "live", Node: "old", Epoch: 2}, time.Second))
	})
}

// TestMemoryPurges lets 50 generations of entries expire without a Find.
func TestMemoryPurges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory()
		for generation := range 50 {
			for i := range minSweep {
				id := StreamID(fmt.Sprintf("live/%d-%d", generation, i))
				require.NoError(t, m.Put(t.Context(), Entry{Stream: id, Node: "n"}, time.Second))
			}
			assert.LessOrEqual(t, m.entries, 4*minSweep)
			assert.Len(t, m.streams, m.entries)
			time.Sleep(time.Second)
		}
	})
}

func TestMemoryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory()
		m.limit = 10
		for i := range m.limit {
			require.NoError(t, m.Put(t.Context(), Entry{Stream: "live", Node: NodeID(rune('a' + i))}, time.Second))
		}
		more := Entry{Stream: "live", Node: "more"}
		require.ErrorIs(t, m.Put(t.Context(), more, time.Second), ErrOverLimit)
		require.NoError(t, m.Put(t.Context(), Entry{Stream: "live", Node: "a", Load: 1}, time.Second), "a renewal")
		require.NoError(t, m.Remove(t.Context(), Entry{Stream: "live", Node: "b"}))
		require.NoError(t, m.Put(t.Context(), more, time.Second))
		time.Sleep(time.Second)
		require.NoError(t, m.Put(t.Context(), Entry{Stream: "other", Node: "n"}, time.Second))
		assert.Equal(t, 1, m.entries)
		assert.Len(t, m.streams, 1)
	})
}

func TestMemoryForgetsStreams(t *testing.T) {
	m := NewMemory()
	e := Entry{Stream: "live", Node: "n"}
	require.NoError(t, m.Put(t.Context(), e, time.Minute))
	_, err := m.Find(t.Context(), "another")
	require.NoError(t, err)
	require.NoError(t, m.Remove(t.Context(), e))
	assert.Empty(t, m.streams)
	assert.Zero(t, m.entries)
}

// TestMemoryWatch tells apart what wakes a watcher from what does not, and
// when.
func TestMemoryWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory()
		ctx, cancel := context.WithCancel(t.Context())
		seen := make(chan []Entry, 100)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for entries, err := range m.Watch(ctx, "live") {
				assert.NoError(t, err)
				seen <- entries
			}
		}()
		yields := func(want ...[]Entry) {
			t.Helper()
			synctest.Wait()
			for _, entries := range want {
				require.NotEmpty(t, seen, "want %+v", entries)
				assert.Equal(t, entries, <-seen)
			}
			require.Empty(t, seen)
		}
		yields([]Entry{})
		e := Entry{Stream: "live", Node: "n", Tracks: []TrackInfo{{ID: "v", Layers: []string{"l"}}}}
		require.NoError(t, m.Put(ctx, e, 3*time.Second))
		yields([]Entry{e})

		time.Sleep(2 * time.Second)
		require.NoError(t, m.Put(ctx, e, 3*time.Second)) // a renewal
		require.NoError(t, m.Put(ctx, Entry{Stream: "other", Node: "n"}, time.Hour))
		require.NoError(t, m.Remove(ctx, Entry{Stream: "live", Node: "m"}))
		yields()
		time.Sleep(3*time.Second - 1)
		yields()
		time.Sleep(time.Nanosecond)
		yields([]Entry{})

		changed := e.clone()
		changed.Tracks[0].Layers[0] = "h"
		require.NoError(t, m.Put(ctx, e, time.Hour))
		yields([]Entry{e})
		require.NoError(t, m.Put(ctx, changed, time.Hour))
		yields([]Entry{changed})

		cancel()
		<-done
		yields()
	})
}

func TestMemoryKeepsWatchedStream(t *testing.T) {
	m := NewMemory()
	for range m.Watch(t.Context(), "live") {
		assert.Len(t, m.streams, 1)
		m.mu.Lock()
		m.sweepAt = 0
		m.sweepLocked(time.Now())
		m.mu.Unlock()
		assert.Len(t, m.streams, 1)
		break
	}
	assert.Empty(t, m.streams)
}

func TestEntryEqual(t *testing.T) {
	e := Entry{
		Stream: "live", Node: "n", URL: "https://n", Publication: "p", Epoch: 1, Hops: 2, Load: 0.5,
		Tracks: []TrackInfo{{ID: "v", Kind: Video, Codec: Codec{MimeType: "video/VP8"}, Layers: []string{"l"}, Extensions: []string{"x"}}},
	}
	require.True(t, e.equal(e.clone()))
	for i, change := range []func(*Entry){
		func(e *Entry) { e.Stream = "" }, func(e *Entry) { e.Node = "" }, func(e *Entry) { e.URL = "" },
		func(e *Entry) { e.Publication = "" }, func(e *Entry) { e.Epoch = 0 }, func(e *Entry) { e.Hops = 0 },
		func(e *Entry) { e.Load = 0 }, func(e *Entry) { e.Tracks = nil },
		func(e *Entry) { e.Tracks[0].ID = "" }, func(e *Entry) { e.Tracks[0].Kind = Audio },
		func(e *Entry) { e.Tracks[0].Codec.Fmtp = "a=b" }, func(e *Entry) { e.Tracks[0].Layers[0] = "h" },
		func(e *Entry) { e.Tracks[0].Extensions[0] = "y" },
	} {
		f := e.clone()
		change(&f)
		assert.False(t, e.equal(f), "change %d", i)
	}
	assert.Equal(t, "l", e.Tracks[0].Layers[0], "clones share nothing")
}
