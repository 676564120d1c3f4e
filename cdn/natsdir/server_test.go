package natsdir_test

import (
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn/natsdir"
	"github.com/deltacdn/delta/cdn/replica/replicatest"
	"github.com/deltacdn/delta/internal/freeport"
)

// portVar has the test binary be a NATS server on this port, and monitorVar says where
// it tells of itself.
const (
	portVar    = "DELTA_TEST_NATS_PORT"
	monitorVar = "DELTA_TEST_NATS_MONITOR"
)

func TestMain(m *testing.M) {
	port, err := strconv.Atoi(os.Getenv(portVar))
	if err != nil {
		_ = flag.Set("test.parallel", "4") // tests wait most of the time; the command line says another
		flag.Parse()
		os.Exit(m.Run())
	}
	monitor, _ := strconv.Atoi(os.Getenv(monitorVar)) // 0: nowhere
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: port, NoSigs: true, NoLog: true, NoSystemAccount: true, HTTPHost: "127.0.0.1", HTTPPort: monitor,
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	s.Start()
	_, _ = io.Copy(io.Discard, os.Stdin) // until the test's process ends, whatever ends it
	s.Shutdown()
}

// engine is a NATS server in a process of its own.
type engine struct {
	*replicatest.Process
	config  natsdir.Config
	monitor int // port
}

func startEngine(t *testing.T) replicatest.Engine {
	monitor := freeport.Port(t)
	binary, err := os.Executable()
	require.NoError(t, err)
	lives, ends, err := os.Pipe()
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = lives.Close()
		_ = ends.Close()
	})
	command := func(port int) *exec.Cmd {
		cmd := exec.Command(binary)
		cmd.Env = append(os.Environ(), portVar+"="+strconv.Itoa(port), monitorVar+"="+strconv.Itoa(monitor))
		cmd.Stdin, cmd.Stderr = lives, os.Stderr
		return cmd
	}
	return &engine{monitor: monitor, Process: replicatest.StartProcess(t, command, func(addr string) bool {
		nc, err := nats.Connect("nats://" + addr)
		if err == nil {
			nc.Close()
		}
		return err == nil
	})}
}

func (e *engine) url() string { return "nats://" + e.Addr() }

// connect returns a connection to the engine, which is closed at the end of t.
func (e *engine) connect(t *testing.T, options ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(e.url(), append(natsdir.Options(), options...)...)
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	return nc
}

func (e *engine) Open(t *testing.T) replicatest.Directory {
	d := e.directory(t)
	return replicatest.Directory{Directory: d, NodeDirectory: d, Sent: d.Sent, Away: d.Away}
}

func (e *engine) directory(t *testing.T) directory {
	t.Helper()
	d, err := natsdir.New(e.connect(t), e.config)
	require.NoError(t, err)
	t.Cleanup(func() { _ = d.Close() })
	return directory{d}
}

type directory struct{ *natsdir.Directory }

func (d directory) Sent() uint64 { return d.Stats().Sent }

func (d directory) Away() bool { return d.Stats().Away }

// patience bounds every wait. It is not asserted: a slow machine only waits.
const patience = 20 * time.Second

func eventually(t *testing.T, f func() bool) {
	t.Helper()
	require.Eventually(t, f, patience, 10*time.Millisecond)
}
