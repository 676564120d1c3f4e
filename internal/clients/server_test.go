package clients

import (
	"bufio"
	"context"
	"encoding/json"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/relay"
)

// A server is a WHIP and WHEP server that others wrote.
type server struct {
	url string

	mu   sync.Mutex
	said struct {
		counts
		Version, URL string
		Deleted      int
	}
}

// startAiortc starts aiortc's, or skips the test.
func startAiortc(t *testing.T) *server {
	script := pythonScript("aiortc", "aiortc_server.py", "import aiortc, aiohttp.web", "python3-aiortc python3-aiohttp")
	command := script.command(t)
	cmd := exec.Command(command[0], command[1:]...)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	s := &server{}
	lines := bufio.NewScanner(out)
	require.True(t, lines.Scan(), "it says where it is")
	s.take(lines.Bytes())
	s.url = s.said.URL
	t.Log(s.said.Version)
	var wg sync.WaitGroup
	wg.Go(func() {
		for lines.Scan() {
			s.take(lines.Bytes())
		}
	})
	t.Cleanup(func() {
		_ = in.Close()
		stop := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		defer stop.Stop()
		wg.Wait()
		_ = cmd.Wait()
	})
	return s
}

func (s *server) take(line []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = json.Unmarshal(line, &s.said)
}

func (s *server) read(*testing.T) counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.said.counts
}

func (s *server) deleted() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.said.Deleted
}

// A node has what aiortc's server plays, and viewers of its own play it.
func TestPullFromAiortc(t *testing.T) {
	s := startAiortc(t)
	p := newPlace(t, "edge", nil)
	up, err := relay.New(p.node, relay.Config{
		Directory: cdn.Static(s.url + "/whep"), Fetcher: relay.NewPull(p.node, relay.PullConfig{}), Linger: -1,
	})
	require.NoError(t, err)
	p.serveViewers(t, up)
	sub, err := up.Open(t.Context(), cdn.Request{Stream: "clip"})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, sub.Stream().Ready(ctx))
	v := view(t, p.url+"/whep/clip")
	waitEnough(t, "a viewer", v.read)
	sub.Close()
	_ = v.pc.Close()
	require.Eventually(t, func() bool { return s.deleted() == 1 }, patience, pollInterval, "it is told that nobody watches")
}

// What is published at a node is decoded by aiortc's server.
func TestPushToAiortc(t *testing.T) {
	s := startAiortc(t)
	n := startNodes(t, nil)
	n.publishClip(t, "clip")
	n.origin.waitLive(t, "clip", true)
	up, err := relay.New(n.hop.node, relay.Config{Directory: cdn.Static(n.origin.url)}) // any node that can fetch it
	require.NoError(t, err)
	push, err := relay.NewPush(n.hop.node, relay.PushConfig{Source: up, Stream: "clip", URL: s.url + "/whip/channel"})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() { over <- push.Run(ctx) }()
	waitEnough(t, "the server", s.read)
	require.Equal(t, 640, s.read(t).Width)
	require.True(t, push.Stats().Connected)
	cancel()
	require.ErrorIs(t, <-over, context.Canceled)
	require.Eventually(t, func() bool { return s.deleted() == 1 }, patience, pollInterval)
}
