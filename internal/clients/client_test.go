package clients

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A client is a kind of program that speaks WHIP and WHEP.
type client interface {
	// version tells which one is installed, or skips the test.
	version(t *testing.T) string
	// publish sends pictures and sound to a WHIP endpoint.
	publish(t *testing.T, on *place, path string) session
	// play receives from a WHEP endpoint.
	play(t *testing.T, on *place, path string) session
}

// A session is what a client has running.
type session interface {
	read(t *testing.T) counts
	// stop ends the session as the client does: by DELETE.
	stop(t *testing.T)
}

// counts are what a client has sent or received: frames of video that it has
// encoded or decoded (assembled, where it has no decoder), frames or packets of
// sound.
type counts struct {
	State     string `json:"state"`
	Video     int    `json:"video"`
	Audio     int    `json:"audio"`
	Keyframes int    `json:"keyframes"`
	Width     int    `json:"width"`
	Failure   string `json:"failure"`
}

// A host is where clients run.
type host interface {
	Start(cmd *exec.Cmd) error
	Dial(ctx context.Context, address string) (net.Conn, error)
}

// here is the host of the test itself.
type here struct{}

func (here) Start(cmd *exec.Cmd) error { return cmd.Start() }

func (here) Dial(ctx context.Context, address string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, "tcp", address)
}

// missing fails a test for a client that is not installed if clients are required,
// and skips it otherwise.
func missing(t *testing.T, what, install string) {
	if os.Getenv("DELTA_REQUIRE_CLIENTS") != "" {
		t.Fatalf("%s is not installed, and DELTA_REQUIRE_CLIENTS is set (%s)", what, install)
	}
	t.Skipf("%s is not installed (%s)", what, install)
}

// A script is a client that a program in drivers runs. It prints lines of JSON,
// the first with its version, and ends its session when its input ends.
type script struct {
	name    string
	command func(t *testing.T) []string // or it skips the test
}

func nodeScript(name, module string) script {
	return script{name, func(t *testing.T) []string {
		const install = "apt-get install nodejs npm; npm ci --prefix internal/clients/drivers"
		if _, err := exec.LookPath("node"); err != nil {
			missing(t, "Node.js", install)
		}
		if _, err := os.Stat(filepath.Join("drivers", "node_modules", module)); err != nil {
			missing(t, name, install)
		}
		return []string{"node", filepath.Join("drivers", name+".mjs")}
	}}
}

// pythonScript is one that Debian's Python runs, which need not be the first one in
// the path, if it has the modules.
func pythonScript(name, file, test string, packages string) script {
	return script{name, func(t *testing.T) []string {
		for _, python := range []string{"/usr/bin/python3", "python3"} {
			if exec.Command(python, "-c", test).Run() == nil {
				return []string{python, filepath.Join("drivers", file)}
			}
		}
		missing(t, name, "apt-get install "+packages)
		return nil
	}}
}

// The check of GStreamer asks for each plugin that its script uses.
const gstreamerCheck = `
import gi
for name in ("Gst", "GstSdp", "GstWebRTC"):
    gi.require_version(name, "1.0")
from gi.repository import Gst, GstSdp, GstWebRTC
Gst.init(None)
for name in ("webrtcbin", "nicesrc", "dtlsdec", "srtpdec", "vp8enc", "opusenc", "rtpvp8pay", "videotestsrc", "audiotestsrc"):
    assert Gst.ElementFactory.find(name), name
`

func (s script) version(t *testing.T) string {
	// It tells its version ahead of failing to reach anybody.
	command := s.command(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, _ := exec.CommandContext(ctx, command[0], append(command[1:], "play", "http://127.0.0.1:1/")...).Output()
	line, _, _ := bytes.Cut(out, []byte("\n"))
	var said struct{ Version string }
	require.NoError(t, json.Unmarshal(line, &said), "%s", out)
	return said.Version
}

func (s script) publish(t *testing.T, on *place, path string) session {
	return s.run(t, here{}, "publish", on.url+path)
}

func (s script) play(t *testing.T, on *place, path string) session {
	return s.run(t, here{}, "play", on.url+path)
}

// process is a script that runs.
type process struct {
	name   string
	cmd    *exec.Cmd
	input  io.Closer
	stderr bytes.Buffer
	done   chan struct{} // closed at the end of its output

	mu      sync.Mutex
	counts  counts
	deleted int      // status of its DELETE
	lines   [][]byte // all that it printed
}

func (s script) run(t *testing.T, on host, action, url string) *process {
	command := append(s.command(t), action, url)
	p := &process{name: s.name, cmd: exec.Command(command[0], command[1:]...), done: make(chan struct{})}
	p.cmd.Stderr = &p.stderr
	in, err := p.cmd.StdinPipe()
	require.NoError(t, err)
	p.input = in
	out, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, on.Start(p.cmd))
	go p.listen(out)
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.done
		_ = p.cmd.Wait()
		if t.Failed() {
			t.Logf("%s %s: %+v\n%s", s.name, action, p.counts, &p.stderr)
		}
	})
	return p
}

func (p *process) listen(out io.Reader) {
	defer close(p.done)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		p.mu.Lock()
		p.lines = append(p.lines, bytes.Clone(lines.Bytes()))
		var said struct {
			counts
			Deleted int `json:"deleted"`
		}
		said.counts = p.counts
		if json.Unmarshal(lines.Bytes(), &said) == nil {
			p.counts, p.deleted = said.counts, said.Deleted
		}
		p.mu.Unlock()
	}
}

func (p *process) read(t *testing.T) counts {
	select {
	case <-p.done:
		t.Fatalf("%s has ended", p.name)
	default:
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counts
}

func (p *process) stop(t *testing.T) {
	require.NoError(t, p.input.Close())
	select {
	case <-p.done:
	case <-time.After(patience):
		t.Fatalf("%s does not end", p.name)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	require.Equal(t, 200, p.deleted, "%s: DELETE", p.name)
}
