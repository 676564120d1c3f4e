package redisdir_test

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/cdn/redisdir"
	"github.com/deltacdn/delta/cdn/replica/replicatest"
	"github.com/deltacdn/delta/internal/freeport"
)

// startCluster starts a Cluster of three masters.
func startCluster(t *testing.T) []*replicatest.Process {
	t.Helper()
	ctx := t.Context()
	var servers []*replicatest.Process
	var buses []string // the ports at which they talk to each other
	for range 3 {
		buses = append(buses, strconv.Itoa(freeport.Port(t)))
		servers = append(servers, startProcess(t, "--cluster-enabled", "yes", "--cluster-node-timeout", "60000", "--cluster-port", buses[len(buses)-1]))
	}
	const slots = 16384
	for i, s := range servers {
		c := redis.NewClient(&redis.Options{Addr: s.Addr()})
		defer c.Close()
		require.NoError(t, c.ClusterAddSlotsRange(ctx, i*slots/3, (i+1)*slots/3-1).Err())
		require.NoError(t, c.Do(ctx, "CLUSTER", "MEET", "127.0.0.1", servers[0].Port, buses[0]).Err())
	}
	for _, s := range servers {
		c := redis.NewClient(&redis.Options{Addr: s.Addr()})
		defer c.Close()
		eventually(t, func() bool {
			info, err := c.ClusterInfo(ctx).Result()
			return err == nil && strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_known_nodes:3")
		})
	}
	return servers
}

func clusterClient(t *testing.T, servers []*replicatest.Process) *redis.ClusterClient {
	t.Helper()
	o := &redis.ClusterOptions{ContextTimeoutEnabled: true}
	for _, s := range servers {
		o.Addrs = append(o.Addrs, s.Addr())
	}
	c := redis.NewClusterClient(o)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestCluster(t *testing.T) {
	t.Parallel()
	servers := startCluster(t)
	cdntest.TestDirectory(t, func(t *testing.T) cdn.Directory {
		return open(t, clusterClient(t, servers), redisdir.Config{})
	})
}

// TestClusterLosesMaster: a master is frozen for longer than leases are. No stream is
// forgotten, neither those in its slots nor others.
func TestClusterLosesMaster(t *testing.T) {
	t.Parallel()
	servers := startCluster(t)
	a := open(t, clusterClient(t, servers), redisdir.Config{})
	b := open(t, clusterClient(t, servers), redisdir.Config{})
	// An announcer that the machine holds up for less than half a lease is in time.
	const streams, lease = 30, 8 * time.Second
	entry := func(i int) cdn.Entry {
		return cdn.Entry{Stream: cdn.StreamID(fmt.Sprint("live/", i)), Node: "n", URL: "https://n"}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var announcers sync.WaitGroup
	defer announcers.Wait()
	defer cancel()
	for i := range streams {
		announcers.Go(func() {
			for ctx.Err() == nil {
				put, done := context.WithTimeout(ctx, lease/8)
				_ = a.Put(put, entry(i), lease) // while the master is frozen, some fail
				done()
				time.Sleep(lease / 8)
			}
		})
	}
	missing := func() (n int) {
		for i := range streams {
			if found, err := b.Find(t.Context(), entry(i).Stream); err != nil || len(found) == 0 {
				n++
			}
		}
		return n
	}
	eventually(t, func() bool { return missing() == 0 })
	servers[1].Freeze()
	for begun := time.Now(); time.Since(begun) < lease*3/2; time.Sleep(50 * time.Millisecond) {
		require.Zero(t, missing(), "after %v", time.Since(begun))
	}
	servers[1].Thaw()
	for begun := time.Now(); time.Since(begun) < lease; time.Sleep(50 * time.Millisecond) {
		require.Zero(t, missing(), "%v after the return", time.Since(begun))
	}
	assert.False(t, b.Stats().Away)
}

// TestSentinel: the master is killed, and its replica becomes the master.
func TestSentinel(t *testing.T) {
	t.Parallel()
	program := redisServer(t)
	master := startProcess(t)
	replica := startProcess(t, "--replicaof", "127.0.0.1 "+strconv.Itoa(master.Port))
	sentinel := replicatest.StartProcess(t, func(port int) *exec.Cmd {
		config := t.TempDir() + "/sentinel.conf"
		writeFile(t, config, fmt.Sprintf("port %d\nbind 127.0.0.1\nsentinel monitor delta 127.0.0.1 %d 1\nsentinel down-after-milliseconds delta 1000\nsentinel failover-timeout delta 3000\n", port, master.Port))
		return exec.Command(program, config, "--sentinel", "--loglevel", "warning")
	}, answers)
	client := func() redis.UniversalClient {
		c := redis.NewUniversalClient(&redis.UniversalOptions{MasterName: "delta", Addrs: []string{sentinel.Addr()}, ContextTimeoutEnabled: true})
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	ctx := t.Context()
	s := redis.NewSentinelClient(&redis.Options{Addr: sentinel.Addr()})
	defer s.Close()
	eventually(t, func() bool { // until it knows of the replica
		all, err := s.Replicas(ctx, "delta").Result()
		return err == nil && len(all) == 1 && all[0]["master-link-status"] == "ok"
	})
	a, b := open(t, client(), redisdir.Config{}), open(t, client(), redisdir.Config{})
	const lease = 3 * time.Second
	require.NoError(t, a.Put(ctx, live, lease))
	eventually(t, func() bool { return b.Stats().Entries == 1 })

	master.Kill()
	done := make(chan struct{})
	begun := time.Now()
	go func() { // as an announcer does
		defer close(done)
		for ctx.Err() == nil && time.Since(begun) < 30*time.Second {
			if a.Put(ctx, live, lease) == nil && time.Since(begun) > 2*time.Second {
				return
			}
			time.Sleep(200 * time.Millisecond)
		}
	}()
	for over := false; !over; {
		select {
		case <-done:
			over = true
		case <-time.After(50 * time.Millisecond):
		}
		found, err := b.Find(ctx, "live")
		require.NoError(t, err)
		require.Len(t, found, 1, "%v after the master was killed", time.Since(begun))
	}
	t.Logf("announced again %v after the master was killed", time.Since(begun).Round(10*time.Millisecond))
	addr, err := s.GetMasterAddrByName(ctx, "delta").Result()
	require.NoError(t, err)
	assert.Equal(t, replica.Addr(), net.JoinHostPort(addr[0], addr[1]))
	late := open(t, client(), redisdir.Config{})
	found, err := late.Find(ctx, "live")
	require.NoError(t, err)
	assert.Len(t, found, 1)
}
