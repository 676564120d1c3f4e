package redisdir_test

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn/redisdir"
	"github.com/deltacdn/delta/cdn/replica/replicatest"
	"github.com/deltacdn/delta/internal/freeport"
)

// requireVar set makes it a failure that there is no Redis; otherwise tests are skipped.
const (
	requireVar = "DELTA_REQUIRE_REDIS"
	noServer   = "no redis-server (apt-get install redis-server)"
)

func redisServer(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	switch {
	case err != nil && os.Getenv(requireVar) != "":
		t.Fatalf("%s, and %s is set", noServer, requireVar)
	case err != nil:
		t.Skip(noServer)
	}
	return path
}

// startProcess starts a Redis server in a process of its own, with nothing in it.
func startProcess(t *testing.T, args ...string) *replicatest.Process {
	t.Helper()
	program, dir := redisServer(t), t.TempDir()
	command := func(port int) *exec.Cmd {
		all := []string{"--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", dir, "--loglevel", "warning"}
		return exec.Command(program, append(all, args...)...)
	}
	return replicatest.StartProcess(t, command, answers)
}

// engine is a single Redis server.
type engine struct {
	*replicatest.Process
	config redisdir.Config
}

func startEngine(t *testing.T) replicatest.Engine { return &engine{Process: startProcess(t)} }

// client returns a client of the engine, which is closed at the end of t.
func (e *engine) client(t *testing.T) *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: e.Addr(), ContextTimeoutEnabled: true})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func (e *engine) Open(t *testing.T) replicatest.Directory {
	d := e.directory(t)
	return replicatest.Directory{Directory: d, NodeDirectory: d, Sent: d.Sent, Away: d.Away}
}

func (e *engine) directory(t *testing.T) directory {
	t.Helper()
	return directory{open(t, e.client(t), e.config)}
}

func open(t *testing.T, c redis.UniversalClient, config redisdir.Config) *redisdir.Directory {
	t.Helper()
	d, err := redisdir.New(c, config)
	require.NoError(t, err)
	t.Cleanup(func() { _ = d.Close() })
	return d
}

type directory struct{ *redisdir.Directory }

func (d directory) Sent() uint64 { return d.Stats().Sent }

func (d directory) Away() bool { return d.Stats().Away }

// patience bounds every wait. It is not asserted: a slow machine only waits.
const patience = 20 * time.Second

func eventually(t *testing.T, f func() bool) {
	t.Helper()
	require.Eventually(t, f, patience, 10*time.Millisecond)
}

// quiet has go-redis log nothing: it logs each connection that fails.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

func TestMain(m *testing.M) {
	redis.SetLogger(quiet{})
	_ = flag.Set("test.parallel", "4") // tests wait most of the time; the command line says another
	flag.Parse()
	if _, err := exec.LookPath("redis-server"); err != nil && os.Getenv(requireVar) == "" {
		fmt.Println(noServer + ": the example is skipped, too") // it cannot say so itself
		skip := flag.Lookup("test.skip").Value
		_ = skip.Set(strings.TrimPrefix(skip.String()+"|^Example", "|"))
	}
	os.Exit(m.Run())
}

// startServer starts a server for the example, which has no *testing.T.
func startServer() (addr string, stop func()) {
	free, err := freeport.Find("127.0.0.1")
	if err != nil {
		log.Fatal(err)
	}
	port := strconv.Itoa(free)
	cmd := exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--loglevel", "warning")
	if err := cmd.Start(); err != nil {
		log.Fatal(err)
	}
	addr = net.JoinHostPort("127.0.0.1", port)
	for deadline := time.Now().Add(10 * time.Second); !answers(addr); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			log.Fatal("redis-server does not answer")
		}
	}
	return addr, func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed, which it calls an error
	}
}

func answers(addr string) bool {
	c := redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1})
	defer c.Close()
	return c.Ping(context.Background()).Err() == nil
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
