package redisdir_test

import (
	"fmt"
	"regexp"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/cdn/redisdir"
)

func TestDirectory(t *testing.T) {
	t.Parallel()
	e := startEngine(t)
	cdntest.TestDirectory(t, func(t *testing.T) cdn.Directory { return e.Open(t).Directory })
}

func TestDirectoryEngine(t *testing.T) {
	t.Parallel()
	redisServer(t)
	cdntest.TestDirectoryEngine(t, func(t *testing.T) cdntest.Engine {
		e := startEngine(t).(*engine)
		c := e.client(t)
		deaf := map[cdn.Directory]*atomic.Bool{}
		return cdntest.Engine{
			Open: func(t *testing.T) cdn.Directory {
				b := &atomic.Bool{}
				d := open(t, e.client(t), redisdir.Deaf(redisdir.Config{}, b))
				deaf[d] = b
				return d
			},
			OpenSkewed: func(t *testing.T, ahead time.Duration) cdn.Directory {
				return open(t, e.client(t), redisdir.Skewed(redisdir.Config{}, ahead))
			},
			Freeze: func(*testing.T) func() {
				e.Freeze()
				return e.Thaw
			},
			Kill: func(*testing.T) func() {
				e.Kill()
				return e.Start
			},
			Deafen: func(_ *testing.T, d cdn.Directory) func() {
				deaf[d].Store(true)
				return func() { deaf[d].Store(false) }
			},
			Persist:  func(t *testing.T) { persist(t, c) },
			Record:   func(t *testing.T) func() { return record(t, c) },
			Messages: func(t *testing.T) uint64 { return commands(t, c) },
			Lease:    3 * time.Second, Streams: 200,
		}
	})
}

// persist has Redis keep what it has, whatever its TTL.
func persist(t *testing.T, c *redis.Client) {
	t.Helper()
	for _, key := range c.Keys(t.Context(), "*").Val() {
		require.NoError(t, c.Persist(t.Context(), key).Err())
		if c.Type(t.Context(), key).Val() != "zset" {
			continue
		}
		for _, node := range c.ZRange(t.Context(), key, 0, -1).Val() {
			require.NoError(t, c.ZAdd(t.Context(), key, redis.Z{Score: 1e15, Member: node}).Err())
		}
	}
}

// record notes what Redis has. It has that again, and publishes it again, when replay is
// called.
func record(t *testing.T, c *redis.Client) (replay func()) {
	t.Helper()
	keys := map[string]string{}
	var values []string
	for _, key := range c.Keys(t.Context(), "*").Val() {
		keys[key] = c.Dump(t.Context(), key).Val()
		if c.Type(t.Context(), key).Val() == "hash" {
			values = append(values, c.HVals(t.Context(), key).Val()...)
		}
	}
	return func() {
		for key, value := range keys {
			require.NoError(t, c.RestoreReplace(t.Context(), key, 0, value).Err())
		}
		for _, value := range values {
			require.NoError(t, c.Publish(t.Context(), channel, value).Err())
		}
	}
}

var processed = regexp.MustCompile(`total_commands_processed:(\d+)`)

// commands returns how many commands Redis has carried out.
func commands(t *testing.T, c *redis.Client) uint64 {
	t.Helper()
	info, err := c.Info(t.Context(), "stats").Result()
	require.NoError(t, err)
	match := processed.FindStringSubmatch(info)
	require.NotNil(t, match, fmt.Sprintf("%.200q", info))
	n, err := strconv.ParseUint(match[1], 10, 64)
	require.NoError(t, err)
	return n
}
