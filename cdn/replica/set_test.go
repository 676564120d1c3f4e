package replica

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
)

const lease = 15 * time.Second

// A step is what happens to a set at a time, and which nodes have the stream then.
type step struct {
	at     time.Duration
	take   Value
	out    Outcome
	do     func(*Set) // besides
	lapse  bool       // the engine proves that it is there, now
	expect string     // the nodes, as letters
}

func entry(node string, seq, epoch uint64) Value {
	return Value{Seq: seq, Lease: lease, Entry: &cdn.Entry{Stream: "s", Node: cdn.NodeID(node), Publication: "p", Epoch: epoch}}
}

func other(node string, seq uint64, publication string, epoch uint64) Value {
	v := entry(node, seq, epoch)
	v.Entry.Publication = publication
	return v
}

func gone(node string, seq, epoch uint64) Value {
	return Value{Seq: seq, Lease: lease, Gone: &Gone{"s", cdn.NodeID(node), epoch}}
}

func excuse(s *Set) { s.Excuse() }

// TestSet has a case for each way in which engines are known to fail (docs/directory.md),
// and for each rule of [cdn.Directory].
func TestSet(t *testing.T) {
	const sec = time.Second
	hour := uint64(time.Hour)
	for name, steps := range map[string][]step{
		"a lease runs out": {
			{take: entry("a", 1, 1), expect: "a"},
			{at: lease - 1, lapse: true, expect: "a"},
			{at: lease, lapse: true},
		},
		"renewals": {
			{take: entry("a", 1, 1), expect: "a"},
			{at: 10 * sec, take: entry("a", 2, 1), lapse: true, expect: "a"},
			{at: 20 * sec, lapse: true, expect: "a"},
			{at: 25 * sec, lapse: true},
		},
		"a TTL that the engine does not keep": {
			{take: entry("a", 1, 1), expect: "a"},
			{at: 14 * sec, take: entry("a", 1, 1), out: Known, expect: "a"},
			{at: 15 * sec, take: entry("a", 1, 1), out: Known, lapse: true},
			{at: 20 * sec, take: entry("a", 1, 1), out: Known},
			// It is met again and again, and stays dead for as long.
			{at: 600 * sec, take: entry("a", 1, 1), out: Known},
			{at: 1100 * sec, take: entry("a", 1, 1), out: Known, lapse: true},
			{at: 1600 * sec, take: entry("a", 1, 1), out: Known, lapse: true},
		},
		"an old value that comes back after a restart": {
			{take: entry("a", 1, 1), expect: "a"},
			{at: 5 * sec, take: entry("a", 2, 1), expect: "a"},
			{at: 6 * sec, take: gone("a", 3, 1)},
			{at: 9 * sec, take: entry("a", 1, 1), out: Old},
			{at: 9 * sec, take: entry("a", 2, 1), out: Old},
			{at: 500 * sec, take: entry("a", 2, 1), out: Old, lapse: true},
			{at: 501 * sec, take: entry("a", 4, 1), expect: "a"},
		},
		"an old value after a new one": {
			{take: entry("a", 2, 1), expect: "a"},
			{at: 10 * sec, take: entry("a", 1, 1), out: Old, expect: "a"},
			{at: 15 * sec, lapse: true},
		},
		"a withdrawal that overtakes the announcement": {
			{take: gone("a", 2, 1)},
			{at: 1, take: entry("a", 1, 1), out: Old},
		},
		"a withdrawal twice": {
			{take: entry("a", 1, 1), expect: "a"},
			{take: gone("a", 2, 1)},
			{take: gone("a", 2, 1), out: Known},
			{take: entry("a", 3, 1), expect: "a"},
			{take: gone("a", 2, 1), out: Old, expect: "a"},
		},
		"a withdrawal of another epoch": {
			{take: entry("a", 1, 5), expect: "a"},
			{take: gone("a", 2, 4), expect: "a"},
			{take: entry("a", 1, 5), out: Old, expect: "a"},
			{take: entry("a", 3, 5), expect: "a"},
			{take: gone("a", 4, 5)},
		},
		"two writers of one key": {
			{take: entry("a", 10, 1), expect: "a"},
			{at: 5 * sec, take: entry("a", 20, 1), expect: "a"},
			{at: 6 * sec, take: entry("a", 11, 1), out: Old, expect: "a"}, // it does not know of the other yet
			{at: 10 * sec, take: entry("a", 21, 1), expect: "a"},
			{at: 24 * sec, lapse: true, expect: "a"},
			{at: 25 * sec, lapse: true},
		},
		"clocks an hour apart": { // of nodes
			{take: entry("a", 1, 1), expect: "a"},
			{take: entry("b", 1+hour, 1), expect: "ab"},
			{at: 5 * sec, take: entry("a", 1+uint64(5*sec), 1), expect: "ab"},
			{at: 5 * sec, take: entry("b", 1+hour+uint64(5*sec), 1), expect: "ab"},
			{at: 6 * sec, take: gone("a", 1+uint64(6*sec), 1), expect: "b"},
			{at: 20 * sec, lapse: true},
		},
		"a freeze of 30 s": {
			{take: entry("a", 1, 1), expect: "a"},
			{at: 15 * sec, expect: "a"}, // nothing proves that it was not renewed
			{at: 30 * sec, do: func(s *Set) { s.Lapse(time.Time{}) }, expect: "a"},
			{at: 30 * sec, do: excuse, lapse: true, expect: "a"},
			{at: 35 * sec, take: entry("a", 2, 1), lapse: true, expect: "a"},
			{at: 50 * sec, lapse: true},
		},
		"a freeze that the node does not survive": {
			{take: entry("a", 1, 1), expect: "a"},
			{at: 30 * sec, do: excuse, lapse: true, expect: "a"},
			{at: 45*sec - 1, lapse: true, expect: "a"},
			{at: 45 * sec, lapse: true},
		},
		"an engine that is away for days": {
			{take: entry("a", 1, 1), expect: "a"},
			{at: time.Hour + lease - 1, do: func(s *Set) { s.Lapse(time.Time{}) }, expect: "a"},
			{at: time.Hour + lease, do: func(s *Set) { s.Lapse(time.Time{}) }},
		},
		"an engine that comes and goes": { // does not keep what is gone for ever
			{take: entry("a", 1, 1), expect: "a"},
			{at: 10 * time.Minute, do: excuse, lapse: true, expect: "a"},
			{at: time.Hour, do: excuse, lapse: true, expect: "a"},
			{at: time.Hour + lease - 1, do: excuse, lapse: true, expect: "a"},
			{at: time.Hour + lease, do: excuse, lapse: true},
		},
		"a higher epoch removes lower ones": {
			{take: entry("a", 1, 1), expect: "a"},
			{take: entry("b", 1, 1), expect: "ab"},
			{take: other("c", 1, "q", 1), expect: "abc"},
			{take: entry("b", 2, 2), expect: "bc"},
			{at: 1, take: entry("a", 1, 1), out: Known, expect: "bc"},
			{at: 2, take: entry("a", 2, 1), out: Stale, expect: "bc"},
			{at: 2, take: entry("a", 2, 1), out: Known, expect: "bc"},
			{at: 3, take: gone("b", 3, 2), expect: "c"},
			{at: 4, take: entry("a", 2, 1), out: Known, expect: "c"}, // refused once, it does not come back
			{at: 5, take: entry("a", 3, 2), expect: "ac"},
		},
		"a stale announcement leaves what the node had": {
			{take: entry("a", 1, 5), expect: "a"},
			{take: entry("a", 2, 4), out: Stale, expect: "a"},
			{at: lease, lapse: true},
		},
		"a lower epoch of the same node's next publication": {
			{take: other("a", 1, "q", 9), expect: "a"},
			{take: other("a", 2, "r", 1), expect: "a"},
			{take: gone("a", 3, 9), expect: "a"},
			{take: gone("a", 4, 1)},
		},
	} {
		t.Run(name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { runSteps(t, steps) }) })
	}
}

func runSteps(t *testing.T, steps []step) {
	s, start := NewSet(Config{}), time.Now()
	for i, st := range steps {
		time.Sleep(st.at - time.Since(start))
		if st.take.Seq > 0 {
			outcome, err := s.Take(st.take)
			require.NoError(t, err, "step %d", i)
			require.Equal(t, st.out, outcome, "step %d", i)
		}
		if st.do != nil {
			st.do(s)
		}
		if st.lapse {
			s.Lapse(time.Now())
		}
		nodes := ""
		for _, e := range s.Find("s") {
			nodes += string(e.Node)
		}
		require.Equal(t, st.expect, nodes, "step %d", i)
	}
}

// TestSetOfNodes: what holds of streams holds of the nodes themselves.
func TestSetOfNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSet(Config{})
		n := cdn.NodeEntry{Node: "a", Group: "eu"}
		v := Value{Seq: 1, Lease: lease, Node: &n}
		_, err := s.Take(v)
		require.NoError(t, err)
		n.Group = "us" // the set has its own
		assert.Equal(t, []cdn.NodeEntry{{Node: "a", Group: "eu"}}, s.Nodes())
		assert.Empty(t, s.Find(""))
		_, _ = s.Take(Value{Seq: 2, Lease: lease, Gone: &Gone{Node: "a", Epoch: 3}})
		assert.Empty(t, s.Nodes())
		outcome, _ := s.Take(v)
		assert.Equal(t, Old, outcome)
		_, _ = s.Take(Value{Seq: 3, Lease: lease, Node: &n})
		time.Sleep(lease)
		assert.Equal(t, []cdn.StreamID{""}, s.Ended(10))
		s.Lapse(time.Now(), "s")
		assert.Len(t, s.Nodes(), 1)
		s.Lapse(time.Now(), "")
		assert.Empty(t, s.Nodes())
		assert.Empty(t, s.streams)
	})
}

func TestNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, k := NewSet(Config{}), Key{"s", "a"}
		now := uint64(time.Now().UnixNano())
		assert.Equal(t, now, s.Next(k))
		assert.Equal(t, now+1, s.Next(k))
		time.Sleep(time.Second)
		assert.Equal(t, now+uint64(time.Second), s.Next(Key{"t", "a"}))

		// The node was there before, with a clock that was an hour ahead.
		_, _ = s.Take(entry("a", now+uint64(time.Hour), 1))
		assert.Equal(t, now+uint64(time.Hour)+1, s.Next(k))
		_, _ = s.Take(gone("a", now+uint64(2*time.Hour), 1))
		assert.Equal(t, now+uint64(2*time.Hour)+1, s.Next(k))
		assert.True(t, s.Raise(now+uint64(3*time.Hour)))
		assert.False(t, s.Raise(now), "no news")
		assert.False(t, s.Raise(math.MaxUint64), "no number")
		assert.Equal(t, now+uint64(3*time.Hour)+1, s.Next(k))
	})
}

func TestOwn(t *testing.T) {
	s := NewSet(Config{})
	mine := entry("a", 1, 1)
	outcome, err := s.Keep(mine, []byte("mine"))
	require.NoError(t, err)
	require.Equal(t, Took, outcome)
	_, _ = s.Take(entry("b", 1, 1))
	assert.Equal(t, [][]byte{[]byte("mine")}, s.Own())
	outcome, _ = s.Take(mine) // it comes back
	assert.Equal(t, Known, outcome)
	assert.Len(t, s.Own(), 1)
	_, _ = s.Take(entry("a", 2, 1)) // another writer
	assert.Empty(t, s.Own())
	_, _ = s.Take(entry("a", 3, 1)) // it comes back at once
	_, _ = s.Keep(entry("a", 3, 1), []byte("again"))
	assert.Equal(t, [][]byte{[]byte("again")}, s.Own())
}

func TestSetIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSet(Config{Limit: 10})
		for i := range 10 {
			_, err := s.Take(entry(string(rune('a'+i)), 1, 1))
			require.NoError(t, err)
		}
		_, err := s.Take(entry("more", 1, 1))
		require.ErrorIs(t, err, cdn.ErrOverLimit)
		_, err = s.Take(entry("a", 2, 1))
		require.NoError(t, err, "a renewal")
		_, _ = s.Take(gone("b", 2, 1))
		outcome, err := s.Take(entry("more", 1, 1))
		require.NoError(t, err, "what had no room is not known")
		require.Equal(t, Took, outcome)
		time.Sleep(lease)
		s.Lapse(time.Now())
		require.Zero(t, s.bytes)
		for i := range 1000 {
			_, _ = s.Take(gone(fmt.Sprint("n", i), 1, 1))
			require.LessOrEqual(t, len(s.graves), 10)
		}
		outcome, _ = s.Take(entry("n999", 1, 1))
		require.Equal(t, Known, outcome, "the newest are remembered")
		time.Sleep(2 * remember)
		s.Lapse(time.Time{})
		require.Empty(t, s.graves)
	})
}

func TestSetIsBoundedInBytes(t *testing.T) {
	s := NewSet(Config{Bytes: 4096})
	var err error
	taken := 0
	for err == nil {
		v := entry(fmt.Sprint("n", taken), 1, 1)
		v.Entry.Tracks = []cdn.TrackInfo{{ID: "video", Layers: []string{"l", "m", "h"}, Extensions: []string{"urn:3gpp:video-orientation"}}}
		if _, err = s.Take(v); err == nil {
			taken++
		}
	}
	require.ErrorIs(t, err, cdn.ErrOverLimit)
	assert.Greater(t, taken, 2)
	assert.Less(t, taken, 8)
}

// TestLapseLooksSeldom: when nothing can have ended, nothing is looked through.
func TestLapseLooksSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSet(Config{})
		_, _ = s.Take(entry("a", 1, 1))
		_, _ = s.Take(entry("b", 1, 1))
		time.Sleep(10 * time.Second)
		_, _ = s.Take(entry("a", 2, 1))
		_, _ = s.Take(entry("b", 2, 1))
		due, ok := s.Due()
		assert.True(t, ok)
		assert.Equal(t, 5*time.Second, time.Until(due), "too early")
		time.Sleep(5 * time.Second)
		assert.Empty(t, s.Ended(10))
		due, _ = s.Due()
		assert.Equal(t, 10*time.Second, time.Until(due), "as it is")
	})
}

func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSet(Config{})
		seen := make(chan []cdn.Entry, 100)
		done := make(chan error, 1)
		go func() {
			for entries, err := range s.Watch(context.Background(), "s") {
				if err != nil {
					done <- err
					return
				}
				seen <- entries
			}
		}()
		yields := func(want ...string) {
			t.Helper()
			synctest.Wait()
			for _, nodes := range want {
				require.NotEmpty(t, seen, "want %q", nodes)
				got := ""
				for _, e := range <-seen {
					got += string(e.Node)
				}
				assert.Equal(t, nodes, got)
			}
			require.Empty(t, seen)
		}
		yields("")
		assert.Equal(t, []cdn.StreamID{"s"}, s.Watched())
		_, _ = s.Take(entry("a", 1, 1))
		yields("a")
		_, _ = s.Take(entry("a", 2, 1))
		yields() // a renewal
		_, _ = s.Take(entry("a", 2, 1))
		_, _ = s.Take(gone("a", 3, 7))
		yields()
		_, _ = s.Take(entry("b", 1, 2))
		yields("b")
		time.Sleep(lease)
		yields()
		s.Lapse(time.Now())
		yields("")
		s.Close()
		s.Close()
		require.ErrorIs(t, <-done, cdn.ErrClosed)
		synctest.Wait() // until the loop has returned
		assert.Empty(t, s.Watched())
	})
}

// directory is the least that makes a Directory of a Set: an engine in the same
// process that answers at once.
type directory struct{ *Set }

func newDirectory(t *testing.T) *directory {
	d := &directory{NewSet(Config{})}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			d.Lapse(time.Now())
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return d
}

func (d *directory) announce(ctx context.Context, v Value) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if v.Entry != nil {
		if err := d.Check(*v.Entry); err != nil {
			return err
		}
	}
	v.Seq = d.Next(v.Key())
	b, err := v.Encode()
	if err != nil {
		return err
	}
	if v, err = Decode(b); err != nil {
		return err
	}
	_, err = d.Take(v)
	return err
}

func (d *directory) Put(ctx context.Context, e cdn.Entry, ttl time.Duration) error {
	return d.announce(ctx, Value{Lease: ttl, Entry: &e})
}

func (d *directory) Remove(ctx context.Context, e cdn.Entry) error {
	return d.announce(ctx, Value{Lease: time.Minute, Gone: &Gone{e.Stream, e.Node, e.Epoch}})
}

func (d *directory) PutNode(ctx context.Context, n cdn.NodeEntry, ttl time.Duration) error {
	return d.announce(ctx, Value{Lease: ttl, Node: &n})
}

func (d *directory) RemoveNode(ctx context.Context, id cdn.NodeID) error {
	return d.announce(ctx, Value{Lease: time.Minute, Gone: &Gone{Node: id}})
}

func (d *directory) Find(ctx context.Context, id cdn.StreamID) ([]cdn.Entry, error) {
	return d.Set.Find(id), ctx.Err()
}

func (d *directory) Nodes(ctx context.Context) ([]cdn.NodeEntry, error) {
	return d.Set.Nodes(), ctx.Err()
}

var (
	_ cdn.NodeDirectory = (*directory)(nil)
	_ cdn.Watcher       = (*directory)(nil)
)

func TestSetIsADirectory(t *testing.T) {
	cdntest.TestDirectoryInBubble(t, func(t *testing.T) cdn.Directory { return newDirectory(t) })
}

// TestEmptyEngine lets an engine restart empty while 1,000 streams run: two nodes have
// them, a third has its replica of both. No stream is ever missing.
func TestEmptyEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const streams = 1000
		s, start := NewSet(Config{}), time.Now()
		announce := func() { // each at its own time, within a third of the lease
			for i := range streams {
				v := entry("a", uint64(time.Now().UnixNano()), 1)
				v.Entry.Stream = cdn.StreamID(fmt.Sprint("s", i))
				_, err := s.Take(v)
				require.NoError(t, err)
				if i%100 == 0 {
					time.Sleep(lease / 30)
				}
			}
		}
		missing := func() (n int) {
			for i := range streams {
				if len(s.Find(cdn.StreamID(fmt.Sprint("s", i)))) == 0 {
					n++
				}
			}
			return n
		}
		announce()
		for range 60 { // it is away for longer than any lease, and comes back with nothing
			time.Sleep(time.Second)
			s.Lapse(time.Time{})
			require.Zero(t, missing(), "after %v", time.Since(start))
		}
		s.Excuse()
		for range 3 {
			s.Lapse(time.Now())
			announce()
			require.Zero(t, missing(), "after %v", time.Since(start))
		}
		time.Sleep(lease)
		s.Lapse(time.Now())
		require.Equal(t, streams, missing(), "and it ends when nobody renews it")
		require.Empty(t, s.streams)
	})
}

func TestErrAway(t *testing.T) {
	assert.True(t, errors.Is(ErrAway, cdn.ErrPeerLost))
	assert.True(t, slices.Contains([]string{"peer-lost"}, cdn.ErrorCode(ErrAway)))
}
