//go:build compat || long

package compat

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn/admin"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/signal/whep"
	"github.com/deltacdn/delta/signal/whip"
)

// oldest is the commit whose nodes those of this version work with. A node of
// another commit in between works with both.
const oldest = "96480ec"

// build builds the package at path, which may be a module of its own, of the repository in
// dir: the ready-made node was examples/node, and is examples/deltanode now.
func build(t *testing.T, dir, path string) (binary string) {
	t.Helper()
	binary = filepath.Join(t.TempDir(), "node")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".")
	cmd.Dir, cmd.Env = filepath.Join(dir, path), append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=readonly")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "building %s: %s", dir, out)
	return binary
}

// checkout writes the files of a commit into a directory of their own.
func checkout(t *testing.T, repository, commit string) (dir string) {
	t.Helper()
	git := func(args ...string) *exec.Cmd {
		return exec.CommandContext(t.Context(), "git", append([]string{"-C", repository}, args...)...)
	}
	if out, err := git("cat-file", "-e", commit+"^{commit}").CombinedOutput(); err != nil {
		t.Fatalf("commit %s is not in this clone, which the test needs (git fetch --unshallow, where it is a shallow one): %s", commit, out)
	}
	dir = t.TempDir()
	archive := filepath.Join(t.TempDir(), "old.tar")
	out, err := git("archive", "-o", archive, commit).CombinedOutput()
	require.NoError(t, err, string(out))
	out, err = exec.CommandContext(t.Context(), "tar", "-xf", archive, "-C", dir).CombinedOutput()
	require.NoError(t, err, string(out))
	return dir
}

// process is a node that runs.
type process struct {
	t         *testing.T
	name, url string
	admin     string // URL for operators, "": it has none
	stderr    tail
}

// launch starts a node on free ports, and returns when it says that it serves.
func launch(t *testing.T, binary, name string, args ...string) *process {
	t.Helper()
	p := &process{t: t, name: name}
	cmd := exec.Command(binary, append([]string{"-http", "127.0.0.1:0", "-name", name, "-v"}, args...)...)
	cmd.Stderr = &p.stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s said:\n%s", name, &p.stderr)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err, "%s: %s", name, &p.stderr)
	for field := range strings.FieldsSeq(line) {
		if url, ok := strings.CutPrefix(field, "http="); ok {
			p.url = url
		}
		if url, ok := strings.CutPrefix(field, "admin="); ok {
			p.admin = url
		}
	}
	require.NotEmpty(t, p.url, line)
	return p
}

// tail keeps what a process said.
type tail struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *tail) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *tail) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// status is as much of /status.json as the test looks at. The names are those of
// the oldest version.
type status struct {
	Links []struct {
		Peer    string   `json:"peer"`
		Fetched []string `json:"fetched"`
	} `json:"links"`
	Streams []struct {
		ID   string   `json:"id"`
		Path []string `json:"path"`
	} `json:"streams"`
}

func (p *process) get(path string) (code int, body []byte) {
	resp, err := http.Get(p.url + path)
	if err != nil {
		return 0, nil
	}
	defer func() { _ = resp.Body.Close() }()
	body, _ = io.ReadAll(resp.Body)
	return resp.StatusCode, body
}

func (p *process) status() (st status) {
	_, body := p.get("/status.json")
	require.NoError(p.t, json.Unmarshal(body, &st), "%s: %s", p.name, body)
	return st
}

func (p *process) waitReady() {
	p.t.Helper()
	require.Eventually(p.t, func() bool { code, _ := p.get("/readyz"); return code == http.StatusOK },
		20*time.Second, 20*time.Millisecond, "%s: %s", p.name, &p.stderr)
}

// fetchesByLink reports whether p has the stream by a link with the node called
// from.
func (p *process) fetchesByLink(stream, from string) bool {
	for _, l := range p.status().Links {
		if l.Peer == from && slices.Contains(l.Fetched, stream) {
			return true
		}
	}
	return false
}

// Nodes of the two versions stand in a row, in any order: what is published at the
// first one plays at the last, and travels by links all the way.
func TestNodesOfTwoVersionsWorkTogether(t *testing.T) {
	repository, err := filepath.Abs("../..")
	require.NoError(t, err)
	versions := map[string]string{
		"old": build(t, checkout(t, repository, oldest), "examples/node"),
		"new": build(t, repository, "examples/deltanode"),
	}
	for _, secret := range []string{"", "known to these alone"} {
		for _, row := range [][]string{
			{"old", "new"}, {"new", "old"}, {"old", "new", "old"}, {"new", "old", "new"},
		} {
			name := strings.Join(row, " to ")
			if secret != "" {
				name += " with a secret"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				nodes := chain(t, versions, row, secret)
				play(t, nodes)
				look(t, nodes)
			})
		}
	}
}

// chain starts an origin, relays and an edge, of the given versions, each with the
// one before it as its entry.
func chain(t *testing.T, versions map[string]string, row []string, secret string) (nodes []*process) {
	for i, version := range row {
		role := "relay"
		switch i {
		case 0:
			role = "origin"
		case len(row) - 1:
			role = "edge"
		}
		args := []string{"-roles", role}
		if i > 0 {
			args = append(args, "-entry", nodes[i-1].url)
		}
		if secret != "" {
			args = append(args, "-secret", secret)
		}
		if version == "new" {
			args = append(args, "-admin-http", "127.0.0.1:0")
		}
		p := launch(t, versions[version], fmt.Sprintf("%s-%s", version, role), args...)
		p.waitReady()
		nodes = append(nodes, p)
	}
	return nodes
}

// play publishes at the first node and plays at the last, until the publisher ends
// the stream.
func play(t *testing.T, nodes []*process) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	first, last := nodes[0], nodes[len(nodes)-1]
	pub, err := cdntest.NewPublisher(ctx, cdntest.PublisherConfig{
		Dialer: &whip.Client{}, URL: first.url + "/whip/live",
		Video: &cdntest.Video{Layers: []cdntest.VideoLayer{
			{RID: "l", Bitrate: 150_000, Width: 320, Height: 180}, {RID: "h", Bitrate: 600_000, Width: 640, Height: 360},
		}},
		Audio: &cdntest.Audio{},
	})
	require.NoError(t, err)
	defer pub.Kill()
	require.NoError(t, pub.WaitConnected(ctx))
	watch := func(layer string) *cdntest.Viewer {
		v, err := cdntest.NewViewer(ctx, cdntest.ViewerConfig{Dialer: &whep.Client{}, URL: last.url + "/whep/live", Layer: layer})
		require.NoError(t, err)
		return v
	}
	best, low := watch(""), watch("l")
	defer best.Kill()
	defer low.Kill()
	for _, v := range []*cdntest.Viewer{best, low} {
		require.NoError(t, v.WaitFrames(ctx, 90))
		report := v.Report()
		require.Zero(t, report.Video().FaultCount, report.Video().Faults)
		require.True(t, report.Video().BeganWithKeyframe)
		require.NotZero(t, report.Audio().Packets)
		require.Zero(t, report.Audio().FaultCount, report.Audio().Faults)
	}
	for i := 1; i < len(nodes); i++ {
		require.True(t, nodes[i].fetchesByLink("live", nodes[i-1].name), "%s has the stream by a link with %s: %+v",
			nodes[i].name, nodes[i-1].name, nodes[i].status())
	}
	var path []string
	for _, n := range nodes[:len(nodes)-1] {
		path = append(path, n.name)
	}
	streams := last.status().Streams
	require.Len(t, streams, 1)
	require.Equal(t, path, streams[0].Path)

	require.NoError(t, pub.Stop(ctx))
	for _, v := range []*cdntest.Viewer{best, low} {
		require.NoError(t, v.WaitBye(ctx), "the stream has ended, and the viewer was not told")
	}
}

// look asks the nodes that have an admin API for the network: they see the others, and of
// those that cannot be asked they know the name.
func look(t *testing.T, nodes []*process) {
	for i, n := range nodes {
		if n.admin == "" {
			continue
		}
		got, err := (&admin.Client{URL: n.admin}).Network(t.Context())
		require.NoError(t, err)
		states := map[string]admin.State{}
		for _, r := range got.Nodes {
			states[r.Node.ID] = r.State
		}
		want := map[string]admin.State{n.name: admin.Current}
		for _, at := range []int{i - 1, i + 1} {
			if at >= 0 && at < len(nodes) {
				want[nodes[at].name] = admin.Unknown // all neighbors here are of the other version
			}
		}
		require.Equal(t, want, states, "as %s sees it", n.name)
	}
}
