package redisdir_test

import (
	"context"
	"fmt"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/redisdir"
	"github.com/deltacdn/delta/cdn/replica"
	"github.com/deltacdn/delta/cdn/replica/replicatest"
)

var live = cdn.Entry{Stream: "live", Node: "o1", URL: "https://o1", Publication: "p", Epoch: 1}

const (
	liveHash = "delta:s:{live}"
	channel  = "delta:announce"
)

// begin starts an engine, and returns a directory on it and a client.
func begin(t *testing.T) (*engine, directory, *redis.Client) {
	t.Helper()
	e := startEngine(t).(*engine)
	return e, e.directory(t), e.client(t)
}

func TestNewRefuses(t *testing.T) {
	good := &redis.Options{Addr: "127.0.0.1:1", ContextTimeoutEnabled: true}
	for name, tc := range map[string]struct {
		client redis.UniversalClient
		config redisdir.Config
		want   error
	}{
		"no client":              {nil, redisdir.Config{}, cdn.ErrInvalid},
		"heeds no context":       {redis.NewClient(&redis.Options{}), redisdir.Config{}, cdn.ErrInvalid},
		"Cluster heeds none":     {redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:1"}}), redisdir.Config{}, cdn.ErrInvalid},
		"ring":                   {redis.NewRing(&redis.RingOptions{}), redisdir.Config{}, cdn.ErrUnsupported},
		"hash tag in the prefix": {redis.NewClient(good), redisdir.Config{Prefix: "{x}"}, cdn.ErrInvalid},
		"space in the prefix":    {redis.NewClient(good), redisdir.Config{Prefix: "a b"}, cdn.ErrInvalid},
		"negative limit":         {redis.NewClient(good), redisdir.Config{Limit: -1}, cdn.ErrInvalid},
	} {
		d, err := redisdir.New(tc.client, tc.config)
		var typed *cdn.Error
		require.ErrorAs(t, err, &typed, name)
		require.ErrorIs(t, err, tc.want, name)
		assert.Nil(t, d, name)
		if tc.client != nil {
			_ = tc.client.Close()
		}
	}
}

func TestPutRefuses(t *testing.T) {
	_, d, c := begin(t)
	for name, tc := range map[string]struct {
		change func(*cdn.Entry)
		ttl    time.Duration
	}{
		"no stream":   {func(e *cdn.Entry) { e.Stream = "" }, time.Minute},
		"no node":     {func(e *cdn.Entry) { e.Node = "" }, time.Minute},
		"no lease":    {func(*cdn.Entry) {}, 0},
		"endless URL": {func(e *cdn.Entry) { e.URL = strings.Repeat("u", replica.MaxValue) }, time.Minute},
	} {
		bad := live
		tc.change(&bad)
		err := d.Put(t.Context(), bad, tc.ttl)
		var typed *cdn.Error
		require.ErrorAs(t, err, &typed, name)
		require.ErrorIs(t, err, cdn.ErrInvalid, name)
	}
	require.ErrorIs(t, d.PutNode(t.Context(), cdn.NodeEntry{}, time.Minute), cdn.ErrInvalid)
	require.ErrorIs(t, d.RemoveNode(t.Context(), ""), cdn.ErrInvalid)
	assert.Empty(t, c.Keys(t.Context(), "*").Val())
}

// TestStored holds what is stored, which docs/directory.md describes.
func TestStored(t *testing.T) {
	_, d, c := begin(t)
	published := c.Subscribe(t.Context(), channel)
	defer published.Close()
	_, err := published.Receive(t.Context())
	require.NoError(t, err)

	require.NoError(t, d.Put(t.Context(), live, 40*time.Second))
	require.NoError(t, d.PutNode(t.Context(), cdn.NodeEntry{Node: "o1", URL: "https://o1"}, time.Minute))
	assert.ElementsMatch(t, []string{liveHash, liveHash + ":until", "delta:n:{nodes}", "delta:n:{nodes}:until"}, c.Keys(t.Context(), "*").Val())
	raw := c.HGet(t.Context(), liveHash, "o1").Val()
	v, err := replica.Decode([]byte(raw))
	require.NoError(t, err)
	assert.Equal(t, live, *v.Entry)
	assert.Equal(t, 40*time.Second, v.Lease)
	m, err := published.ReceiveMessage(t.Context())
	require.NoError(t, err)
	assert.Equal(t, raw, m.Payload)
	for _, key := range []string{liveHash, liveHash + ":until"} {
		assert.InDelta(t, 40, c.TTL(t.Context(), key).Val().Seconds(), 2)
	}

	require.NoError(t, d.Remove(t.Context(), live))
	v, err = replica.Decode([]byte(c.HGet(t.Context(), liveHash, "o1").Val()))
	require.NoError(t, err)
	assert.Equal(t, &replica.Gone{Stream: "live", Node: "o1", Epoch: 1}, v.Gone, "so that what is old does not come back")
}

// TestDeadNodesArePruned: the fields of nodes that renew nothing go, though the key
// stays.
func TestDeadNodesArePruned(t *testing.T) {
	_, d, c := begin(t)
	for i := range 10 {
		e := live
		e.Node = cdn.NodeID(fmt.Sprint("dead", i))
		require.NoError(t, d.Put(t.Context(), e, 2*time.Second))
	}
	require.NoError(t, d.Put(t.Context(), live, time.Minute))
	require.Len(t, c.HKeys(t.Context(), liveHash).Val(), 11)
	eventually(t, func() bool {
		require.NoError(t, d.Put(t.Context(), live, time.Minute))
		return len(c.HKeys(t.Context(), liveHash).Val()) == 1
	})
	assert.Equal(t, []string{"o1"}, c.HKeys(t.Context(), liveHash).Val())
	assert.Equal(t, []string{"o1"}, c.ZRange(t.Context(), liveHash+":until", 0, -1).Val())
}

// TestEpochs: epochs are judged in Redis, whatever is in the replica of who announces,
// and whatever the publication is called.
func TestEpochs(t *testing.T) {
	for name, publication := range map[string]string{
		"plain": "p", "none": "", "quotes": `"epoch":"9"`, "markup": "<&>", "not ASCII": "π",
	} {
		t.Run(name, func(t *testing.T) {
			e := startEngine(t).(*engine)
			var dirs []directory
			for range 3 {
				dirs = append(dirs, e.directory(t))
			}
			put := func(d directory, node cdn.NodeID, epoch uint64) error {
				return d.Put(t.Context(), cdn.Entry{Stream: "live", Node: node, Publication: publication, Epoch: epoch}, time.Minute)
			}
			require.NoError(t, put(dirs[0], "a", 9))
			require.NoError(t, put(dirs[1], "b", 9))
			require.ErrorIs(t, put(dirs[2], "c", 8), cdn.ErrStale)
			require.NoError(t, put(dirs[2], "c", 10), "10 is more than 9")
			require.ErrorIs(t, put(dirs[0], "a", 9), cdn.ErrStale)
			require.ErrorIs(t, put(dirs[1], "c", 9), cdn.ErrStale, "also by the same node")
			for _, d := range dirs {
				found, err := d.Find(t.Context(), "live")
				require.NoError(t, err)
				require.Len(t, found, 1)
				assert.Equal(t, cdn.NodeID("c"), found[0].Node)
			}
			c := e.client(t)
			assert.Equal(t, []string{"c"}, c.HKeys(t.Context(), liveHash).Val())
		})
	}
}

// TestOldWritesDoNoHarm: what a frozen Redis takes late, out of order, is not taken for
// new; nor is what a restart or a failover brings back.
func TestOldWritesDoNoHarm(t *testing.T) {
	e, d, c := begin(t)
	require.NoError(t, d.Put(t.Context(), live, time.Minute))
	old := c.HGet(t.Context(), liveHash, "o1").Val()
	require.NoError(t, d.Remove(t.Context(), live))
	again := e.directory(t)
	require.NoError(t, c.HSet(t.Context(), liveHash, "o1", old).Err(), "as an old snapshot has it")
	require.NoError(t, c.Publish(t.Context(), channel, old).Err())
	found, err := d.Find(t.Context(), "live")
	require.NoError(t, err)
	assert.Empty(t, found, "this one knows better")
	require.NoError(t, again.Put(t.Context(), live, time.Minute))
	found, err = d.Find(t.Context(), "live")
	require.NoError(t, err)
	assert.Len(t, found, 1, "what is announced now is new")
}

// TestTTLIsNotTrusted: Redis keeps what has ended for ever, and is not believed.
func TestTTLIsNotTrusted(t *testing.T) {
	_, d, c := begin(t)
	require.NoError(t, d.Put(t.Context(), live, time.Second))
	persist(t, c)
	eventually(t, func() bool {
		found, err := d.Find(t.Context(), "live")
		return err == nil && len(found) == 0
	})
	time.Sleep(1500 * time.Millisecond)
	found, err := d.Find(t.Context(), "live")
	require.NoError(t, err)
	assert.Empty(t, found)
	assert.Len(t, c.HKeys(t.Context(), liveHash).Val(), 1)
}

// TestMissedMessage: an announcement of which the message was lost is found in Redis
// ahead of the end of the one before it.
func TestMissedMessage(t *testing.T) {
	e, d, c := begin(t)
	other := e.directory(t)
	put := time.Now()
	require.NoError(t, d.Put(t.Context(), live, 3*time.Second))
	eventually(t, func() bool { return other.Stats().Entries == 1 })
	renewal := replica.Value{Seq: uint64(time.Now().UnixNano()), Lease: time.Minute, Entry: &live}
	raw, err := renewal.Encode()
	require.NoError(t, err)
	require.NoError(t, c.HSet(t.Context(), liveHash, "o1", raw).Err())
	require.NoError(t, c.Persist(t.Context(), liveHash).Err())
	time.Sleep(time.Until(put.Add(5 * time.Second)))
	assert.Equal(t, 1, other.Stats().Entries)
}

// TestWatchSurvivesGap: after the feed was lost, what is watched is read.
func TestWatchSurvivesGap(t *testing.T) {
	_, d, c := begin(t)
	ctx, cancel := context.WithCancel(t.Context())
	seen, done := make(chan int, 100), make(chan struct{})
	go func() {
		defer close(done)
		for entries, err := range d.Watch(ctx, "live") {
			assert.NoError(t, err)
			seen <- len(entries)
		}
	}()
	require.Equal(t, 0, <-seen)
	silent := replica.Value{Seq: 1, Lease: time.Minute, Entry: &live}
	raw, err := silent.Encode()
	require.NoError(t, err)
	require.NoError(t, c.HSet(t.Context(), liveHash, "o1", raw).Err(), "as if its message had been lost")
	require.NoError(t, c.ClientKillByFilter(t.Context(), "TYPE", "pubsub").Err())
	select {
	case n := <-seen:
		assert.Equal(t, 1, n)
	case <-time.After(5 * time.Second):
		t.Error("the watch has not survived the gap")
	}
	cancel()
	<-done
}

// TestAway: while Redis is away, announcing fails at once, and is not made up for when
// it is back; what is known is found.
func TestAway(t *testing.T) {
	for name, away := range map[string]struct {
		begin, end func(*engine)
	}{
		"killed": {func(e *engine) { e.Kill() }, func(e *engine) { e.Start() }},
		"frozen": {func(e *engine) { e.Freeze() }, func(e *engine) { e.Thaw() }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, d, _ := begin(t)
			other := e.directory(t)
			require.NoError(t, d.Put(t.Context(), live, time.Minute))
			away.begin(e)
			eventually(t, d.Away)
			late := live
			late.Stream = "late"
			ctx := replicatest.AtOnce(t)
			require.ErrorIs(t, d.Put(ctx, late, time.Minute), replica.ErrAway)
			require.ErrorIs(t, d.PutNode(ctx, cdn.NodeEntry{Node: "n"}, time.Minute), replica.ErrAway)
			require.ErrorIs(t, d.RemoveNode(ctx, "n"), replica.ErrAway)
			found, err := d.Find(ctx, "live")
			require.NoError(t, err)
			assert.Equal(t, []cdn.Entry{live}, found)
			_, err = d.Find(ctx, "unknown")
			require.ErrorIs(t, err, replica.ErrAway, "nobody knows")
			_, err = d.Nodes(ctx)
			require.ErrorIs(t, err, replica.ErrAway, "nor of any node")

			away.end(e)
			eventually(t, func() bool { return !d.Away() && !other.Away() })
			require.NoError(t, d.PutNode(t.Context(), cdn.NodeEntry{Node: "n"}, time.Minute))
			nodes, err := other.Nodes(t.Context())
			require.NoError(t, err)
			assert.Len(t, nodes, 1)
			found, err = other.Find(t.Context(), "late")
			require.NoError(t, err)
			assert.Empty(t, found, "what was not announced in time is not announced")
		})
	}
}

// TestStartsWithoutEngine: a node may be there ahead of Redis.
func TestStartsWithoutEngine(t *testing.T) {
	t.Parallel()
	e := startEngine(t).(*engine)
	e.Kill()
	d := e.directory(t)
	require.ErrorIs(t, d.Put(t.Context(), live, time.Minute), replica.ErrAway)
	e.Start()
	eventually(t, func() bool { return d.Put(t.Context(), live, time.Minute) == nil })
}

// TestClockSetBack: a node comes again after its clock has been set back by an hour.
func TestClockSetBack(t *testing.T) {
	e, d, c := begin(t)
	hour := replica.Value{Seq: uint64(time.Now().Add(time.Hour).UnixNano()), Lease: time.Minute, Entry: &cdn.Entry{Stream: "live", Node: "o1", URL: "https://old"}}
	raw, err := hour.Encode()
	require.NoError(t, err)
	t.Run("stored", func(t *testing.T) { // Redis says so
		require.NoError(t, c.HSet(t.Context(), liveHash, "o1", raw).Err())
		again := e.directory(t)
		require.NoError(t, again.Put(t.Context(), live, time.Minute))
		found, err := d.Find(t.Context(), "live")
		require.NoError(t, err)
		assert.Equal(t, []cdn.Entry{live}, found)
	})
	t.Run("remembered", func(t *testing.T) { // another node says so
		require.NoError(t, c.FlushAll(t.Context()).Err())
		again := e.directory(t)
		require.NoError(t, again.Put(t.Context(), live, time.Minute))
		eventually(t, func() bool {
			raw, err := c.HGet(t.Context(), liveHash, "o1").Result()
			v, bad := replica.Decode([]byte(raw))
			return err == nil && bad == nil && v.Seq > hour.Seq
		})
	})
}

func TestGarbage(t *testing.T) {
	_, d, c := begin(t)
	for i, text := range []string{"", "{}", "null", "[1", `{"v":1,"seq":5}`, `{"seq":"x","entry":7}`, `{"seq":"1","entry":{"epoch":1}}`, strings.Repeat("x", 100000)} {
		require.NoError(t, c.HSet(t.Context(), liveHash, fmt.Sprint("n", i), text).Err())
		require.NoError(t, c.Publish(t.Context(), channel, text).Err())
	}
	require.NoError(t, c.HSet(t.Context(), liveHash, "o1", "garbage").Err())
	require.NoError(t, d.Put(t.Context(), live, time.Minute))
	found, err := d.Find(t.Context(), "live")
	require.NoError(t, err)
	assert.Equal(t, []cdn.Entry{live}, found)
	eventually(t, func() bool { return d.Stats().Refused >= 16 })

	require.NoError(t, c.Set(t.Context(), "delta:s:{string}", "x", 0).Err())
	bad := live
	bad.Stream = "string"
	require.ErrorIs(t, d.Put(t.Context(), bad, time.Minute), replica.ErrAway, "Redis refuses")
	require.False(t, d.Away())
}

// TestRights holds what Config says that a user must be allowed, and that one who may
// less is told so.
func TestRights(t *testing.T) {
	e, _, c := begin(t)
	commands := []any{"+eval", "+evalsha", "+hdel", "+hget", "+hgetall", "+hset", "+pexpire", "+ping", "+pttl", "+publish", "+subscribe", "+time", "+unsubscribe", "+zadd", "+zrangebyscore", "+zrem"}
	user := func(name string, rights ...any) {
		require.NoError(t, c.Do(t.Context(), append([]any{"ACL", "SETUSER", name, "on", ">secret", "resetkeys", "resetchannels", "-@all"}, rights...)...).Err())
	}
	user("node", append(commands, "~delta:*", "&delta:announce")...)
	user("deaf", append(commands, "~delta:*")...)
	user("blind", append(commands, "~other:*", "&delta:announce")...)
	as := func(name, password string) directory {
		client := redis.NewClient(&redis.Options{Addr: e.Addr(), ContextTimeoutEnabled: true, Username: name, Password: password})
		t.Cleanup(func() { _ = client.Close() })
		return directory{open(t, client, redisdir.Config{})}
	}
	d := as("node", "secret")
	require.NoError(t, d.Put(t.Context(), live, time.Minute))
	require.NoError(t, d.Remove(t.Context(), live))
	found, err := d.Find(t.Context(), "live")
	require.NoError(t, err)
	assert.Empty(t, found)
	for name, want := range map[string]error{"deaf": cdn.ErrForbidden, "blind": cdn.ErrForbidden} {
		require.ErrorIs(t, as(name, "secret").Put(t.Context(), live, time.Minute), want, name)
	}
	require.ErrorIs(t, as("node", "wrong").Put(t.Context(), live, time.Minute), cdn.ErrUnauthorized)
}

func TestClose(t *testing.T) {
	_, d, c := begin(t)
	require.NoError(t, d.Put(t.Context(), live, time.Minute))
	watched := make(chan error, 1)
	go func() {
		for _, err := range d.Watch(context.Background(), "live") {
			if err != nil {
				watched <- err
			}
		}
	}()
	eventually(t, func() bool { return d.Stats().Read > 0 })
	require.NoError(t, d.Close())
	require.NoError(t, d.Close())
	require.ErrorIs(t, <-watched, cdn.ErrClosed)
	require.ErrorIs(t, d.Put(t.Context(), live, time.Minute), cdn.ErrClosed)
	require.ErrorIs(t, d.Remove(t.Context(), live), cdn.ErrClosed)
	_, err := d.Find(t.Context(), "live")
	require.ErrorIs(t, err, cdn.ErrClosed)
	_, err = d.Nodes(t.Context())
	require.ErrorIs(t, err, cdn.ErrClosed)
	require.NoError(t, c.Ping(t.Context()).Err(), "the client is its owner's")
	var stacks strings.Builder
	require.NoError(t, pprof.Lookup("goroutine").WriteTo(&stacks, 2))
	for _, name := range []string{").receive(", ").keepEngine(", ").keepFeed("} {
		assert.NotContains(t, stacks.String(), "redisdir.(*Directory"+name)
	}
}
