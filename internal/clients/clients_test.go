package clients

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const gstreamerPackages = "gstreamer1.0-nice gstreamer1.0-plugins-bad gstreamer1.0-plugins-good gir1.2-gst-plugins-bad-1.0 python3-gst-1.0"

// clients are the programs of the table, with what they publish.
func allClients() []struct {
	name   string
	client client
} {
	return []struct {
		name   string
		client client
	}{
		{"Chromium", &browserClient{find: findChromium, start: startChromium}},
		{"Firefox", &browserClient{find: findFirefox, start: startFirefox}},
		{"whip-whep", &whipWhep{browserClient{find: findChromium, start: startChromium}}},
		{"aiortc", pythonScript("aiortc", "aiortc_client.py", "import aiortc, aiohttp", "python3-aiortc python3-aiohttp")},
		{"GStreamer", pythonScript("GStreamer", "gstreamer_client.py", gstreamerCheck, gstreamerPackages)},
		{"libdatachannel", nodeScript("node_datachannel", "node-datachannel")},
		{"werift", nodeScript("werift", "werift")},
	}
}

// enough is how much of each kind has to come: two seconds.
func enough(c counts) bool { return c.Video >= 60 && c.Audio >= 90 }

func waitEnough(t *testing.T, what string, read func(*testing.T) counts) {
	t.Helper()
	began := time.Now()
	for {
		c := read(t)
		if enough(c) {
			t.Logf("%s: %d frames and %d of sound after %.1f s", what, c.Video, c.Audio, time.Since(began).Seconds())
			return
		}
		if time.Since(began) > patience || c.Failure != "" {
			t.Fatalf("%s: only %+v after %.1f s", what, c, time.Since(began).Seconds())
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// What a client publishes to the origin is played there and behind a hop, and a
// client plays what another publishes, at both.
func TestClients(t *testing.T) {
	for _, k := range allClients() {
		t.Run(k.name, func(t *testing.T) {
			version := k.client.version(t)
			fmt.Printf("%s: %s\n", k.name, version)
			n := startNodes(t, newRecorder(t, k.name, version))
			t.Run("publish", func(t *testing.T) { testPublish(t, n, k.client) })
			t.Run("play", func(t *testing.T) { testPlay(t, n, k.client) })
		})
	}
}

func testPublish(t *testing.T, n *nodes, c client) {
	const stream = "theirs"
	publisher := c.publish(t, n.origin, "/whip/"+stream)
	n.origin.waitLive(t, stream, true)
	viewers := make(map[string]*reference)
	for _, at := range n.all() {
		viewers[at.name] = view(t, at.url+"/whep/"+stream)
	}
	for _, at := range n.all() {
		t.Run(at.name, func(t *testing.T) {
			v := viewers[at.name]
			waitEnough(t, "a viewer", v.read)
			v.mu.Lock()
			defer v.mu.Unlock()
			require.NoError(t, v.err)
			t.Logf("%s, %d keyframes, %d wide", v.codec, v.counts.Keyframes, v.counts.Width)
		})
	}
	publisher.stop(t)
	n.origin.waitLive(t, stream, false)
}

func testPlay(t *testing.T, n *nodes, c client) {
	const stream = "clip"
	n.publishClip(t, stream)
	n.origin.waitLive(t, stream, true)
	players := make(map[string]session)
	for _, at := range n.all() {
		players[at.name] = c.play(t, at, "/whep/"+stream)
	}
	for _, at := range n.all() {
		t.Run(at.name, func(t *testing.T) {
			waitEnough(t, "it", players[at.name].read)
			got := players[at.name].read(t)
			require.Equal(t, 640, got.Width)
			players[at.name].stop(t)
		})
	}
}
