package clients

import (
	"bytes"
	"net"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/freeport"
)

// freePorts returns addresses of the loopback interface that nobody listens at.
func freePorts(t *testing.T, n int) (all []string) {
	for range n {
		all = append(all, freeport.Addr(t))
	}
	return all
}

// log collects what a process prints.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// startExample builds one of the examples and runs it until t ends. It listens at
// address.
func startExample(t *testing.T, name, address string, args ...string) {
	binary := filepath.Join(t.TempDir(), name)
	build := exec.Command("go", "build", "-o", binary, ".") // some are modules of their own
	build.Dir = filepath.Join("..", "..", "examples", name)
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	said := &log{}
	cmd := exec.Command(binary, args...)
	cmd.Stdout, cmd.Stderr = said, said
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGINT)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s: %s", name, said)
		}
	})
	require.Eventually(t, func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	}, patience, pollInterval, "%s does not listen: %s", name, said)
}

// waitTrue waits until an expression of a page is true.
func waitTrue(t *testing.T, p page, expression string) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(pollInterval) {
		if p.eval(t, `String(Boolean(`+expression+`))`) == "true" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is not true; the page says %s", expression, p.eval(t, `document.body.dataset.state + " " + document.body.innerText + JSON.stringify(window.delta.stats)`))
		}
	}
}

func startThreenode(t *testing.T) (origin, edge1, edge2 string) {
	at := freePorts(t, 3)
	startExample(t, "threenode", at[2], "-v", "-origin", at[0], "-edge1", at[1], "-edge2", at[2])
	return "http://" + at[0], "http://" + at[1], "http://" + at[2]
}

// The example listens at 127.0.0.1, and a Firefox of the same machine, set up as
// everybody has it, plays the demo and publishes: it does not use loopback addresses.
func TestFirefoxPlaysTheExampleOfItsMachine(t *testing.T) {
	findFirefox(t)
	origin, edge1, edge2 := startThreenode(t)
	f := startFirefox(t)
	player := f.open(t, edge1+"/play?stream=demo")
	waitTrue(t, player, `delta.state === "playing" && delta.stats && delta.stats.decoded > 60 && delta.stats.audioPackets > 90`)
	publisher := f.open(t, origin+"/publish?stream=clock&source=canvas&autostart=1")
	waitTrue(t, publisher, `delta.state === "publishing"`)
	other := f.open(t, edge2+"/play?stream=clock")
	waitTrue(t, other, `delta.state === "playing" && delta.stats && delta.stats.decoded > 30`)
}

// Where a browser finds no way for media, the page says what to do.
func TestThePageSaysWhyThereIsNoConnection(t *testing.T) {
	findFirefox(t)
	at := freePorts(t, 2)
	startExample(t, "deltanode", at[0], "-http", at[0], "-udp", at[1]) // at a loopback address, because somebody said so
	f := startFirefox(t)
	publisher := f.open(t, "http://"+at[0]+"/publish?stream=live&source=camera&autostart=1")
	waitTrue(t, publisher, `delta.state === "failed" && /-public/.test(delta.reason)`)
	player := f.open(t, "http://"+at[0]+"/play?stream=live")
	waitTrue(t, player, `delta.state === "waiting"`) // nobody publishes
}
