package browser

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/freeport"
)

var binary string // of examples/threenode

func TestMain(m *testing.M) {
	if os.Getenv(insideEnv) != "" {
		os.Exit(m.Run())
	}
	dir, err := os.MkdirTemp("", "threenode")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary = filepath.Join(dir, "threenode")
	build := exec.Command("go", "build", "-o", binary, "./examples/threenode")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// threenode is the example as a process.
type threenode struct {
	t                           *testing.T
	origin, edge1, edge2, relay string // URLs; relay is that of the first
	args                        []string
	cmd                         *exec.Cmd
	log                         *safeBuffer
}

// safeBuffer collects a process's output.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// startThreenode runs the example on free ports, and stops it when t ends.
func startThreenode(t *testing.T, args ...string) *threenode {
	const host = "127.0.0.1"
	return startThreenodeAt(t, [4]string{host, host, host, host}, args...)
}

// startThreenodeAt has the origin, the two edges and the relays at hosts.
func startThreenodeAt(t *testing.T, hosts [4]string, args ...string) *threenode {
	chromium(t) // skip before anything is started
	n := &threenode{t: t}
	for range 5 { // others may take a port that was free
		ports := freePorts(t, append(hosts[:], hosts[3]))
		n.args = append([]string{"-v"}, args...)
		for i, url := range []*string{&n.origin, &n.edge1, &n.edge2, &n.relay} {
			*url = "http://" + ports[i]
			n.args = append(n.args, []string{"-origin", "-edge1", "-edge2", "-relay-addr"}[i], ports[i])
		}
		n.args = append(n.args, "-relay2-addr", ports[4])
		if n.tryToStart() {
			t.Cleanup(n.stop)
			return n
		}
	}
	t.Fatal("no free ports")
	return nil
}

// freePorts returns an address at each of the hosts.
func freePorts(t *testing.T, hosts []string) (all []string) {
	for _, host := range hosts {
		port, err := freeport.Find(host)
		require.NoError(t, err)
		all = append(all, net.JoinHostPort(host, strconv.Itoa(port)))
	}
	return all
}

func (n *threenode) start() { require.True(n.t, n.tryToStart(), "%s", n.log) }

// tryToStart returns false if one of the ports is in use.
func (n *threenode) tryToStart() bool {
	n.log = &safeBuffer{}
	n.cmd = exec.Command(binary, n.args...)
	n.cmd.Stdout, n.cmd.Stderr = n.log, n.log
	require.NoError(n.t, n.cmd.Start())
	deadline := time.Now().Add(patience)
	for {
		if strings.Contains(n.log.String(), "is in use") {
			_ = n.cmd.Wait() // it has failed
			n.cmd = nil
			return false
		}
		c, err := net.Dial("tcp", n.edge2[len("http://"):])
		if err == nil {
			_ = c.Close()
			if strings.Contains(n.log.String(), n.edge2) { // it is ours: it says so
				return true
			}
		}
		require.True(n.t, time.Now().Before(deadline), "threenode does not answer: %s", n.log)
		time.Sleep(20 * time.Millisecond)
	}
}

// stop interrupts the process, which has to end well.
func (n *threenode) stop() {
	if n.cmd == nil {
		return
	}
	require.NoError(n.t, n.cmd.Process.Signal(syscall.SIGINT))
	err := n.cmd.Wait()
	n.cmd = nil
	require.NoError(n.t, err, "threenode: %s", n.log)
	if n.t.Failed() {
		n.t.Logf("threenode: %s", n.log)
	}
}

// kill ends the process as a power cut does.
func (n *threenode) kill() {
	require.NoError(n.t, n.cmd.Process.Kill())
	_ = n.cmd.Wait() // killed, as it was told
	n.cmd = nil
}
