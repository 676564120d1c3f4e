package browser

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/relay"
	"github.com/deltacdn/delta/signal/whep"
)

// lateBy is how long a stream is not ready after it was asked for, and more than that if
// the viewer has no answer yet.
const lateBy = 300 * time.Millisecond

// lateSecret lets it fetch.
const lateSecret = "the late edge's, too"

type lateFetcher struct {
	relay.Fetcher
	t      *testing.T
	asking *atomic.Int64 // viewers without an answer
}

func (f lateFetcher) Fetch(ctx context.Context, from cdn.Entry, r cdn.Request, s *cdn.Stream) error {
	time.Sleep(lateBy)
	if r.Stream == "sound" { // once it is known to have no video, answers wait for it
		return f.Fetcher.Fetch(ctx, from, r, s)
	}
	for begun := time.Now(); f.asking.Load() > 0 && ctx.Err() == nil; time.Sleep(time.Millisecond) {
		if time.Since(begun) > patience/2 {
			f.t.Error("the answer waits for the stream")
			break
		}
	}
	return f.Fetcher.Fetch(ctx, from, r, s)
}

// lateEdge is an edge to which n's origin's streams come late, with n's pages: not ahead
// of the answer to the viewer who made it fetch them.
func lateEdge(t *testing.T, n *threenode) (address string) {
	var asking atomic.Int64
	node, err := cdn.Listen(cdn.Config{Addr: "127.0.0.1:0", Trust: cdn.Trust{Secret: lateSecret}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, node.Close()) })
	up, err := relay.New(node, relay.Config{
		Directory: cdn.Static(n.origin), Fetcher: lateFetcher{relay.NewWHEP(node, relay.WHEPConfig{}), t, &asking}, Linger: -1,
	})
	require.NoError(t, err)
	view, err := edge.New(node, edge.Config{Source: up})
	require.NoError(t, err)
	h, err := whep.New(view, whep.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.Close()) })
	pages, err := url.Parse(n.edge1)
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.HandleFunc("/whep/", func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			asking.Add(1)
			defer asking.Add(-1)
		}
		h.ServeHTTP(w, r)
	})
	mux.Handle("/", httputil.NewSingleHostReverseProxy(pages))
	s := httptest.NewServer(mux)
	t.Cleanup(func() {
		s.CloseClientConnections() // event streams
		s.Close()
	})
	return s.URL
}

// A browser that is answered before the stream is ready plays what then comes,
// of whichever codec it is.
func TestAnsweredBeforeTheStreamIsReady(t *testing.T) {
	n := startThreenode(t, "-secret", lateSecret)
	b := newBrowser(t)
	publisher := b.open(n.origin + "/publish?stream=cam&source=camera&autostart=1&codec=H264")
	publisher.waitState("publishing")
	for stream, codec := range map[string]string{"demo": "VP8", "cam": "H264"} {
		t.Run(codec, func(t *testing.T) {
			edge := lateEdge(t, n)
			p := b.open(edge + "/play?stream=" + stream)
			requireMoving(t, p)
			require.Equal(t, 1.0, eval[float64](p, `delta.attempts`))
			require.Equal(t, codec, eval[string](p, `delta.stats.codec`))
			p.wait(`delta.stats.audioPackets > 50`)
			require.Zero(t, eval[float64](p, `delta.stats.lost`))
			t.Logf("first picture after %.0f ms", eval[float64](p, `delta.firstFrame`))
			p.shoot("playing")
			p.close()
		})
	}
}

// publish publishes what it gets of a camera and a microphone, as %s says.
const publish = `(async (stream, wanted) => {
	const pc = window.pc = new RTCPeerConnection();
	const media = await navigator.mediaDevices.getUserMedia(wanted);
	for (const track of media.getTracks()) pc.addTrack(track, media);
	await pc.setLocalDescription();
	await new Promise((done) => {
		pc.onicegatheringstatechange = () => { if (pc.iceGatheringState === "complete") done(); };
		pc.onicegatheringstatechange();
	});
	const response = await fetch("/whip/" + stream, {
		method: "POST", body: pc.localDescription.sdp, headers: {"Content-Type": "application/sdp"},
	});
	await pc.setRemoteDescription({type: "answer", sdp: await response.text()});
	return response.status;
})(%s)`

// Of a stream without sound the pictures are played though sound was promised.
// Of one without pictures nothing would be, so the player has to come again,
// once.
func TestHalfOfWhatWasPromised(t *testing.T) {
	n := startThreenode(t, "-demo=false", "-secret", lateSecret)
	b := newBrowser(t)
	b.errors.allow(refused)
	for _, what := range []string{`"silent", {video: true}`, `"sound", {audio: true}`} {
		require.Equal(t, 201.0, eval[float64](b.open(n.origin+"/"), fmt.Sprintf(publish, what)))
	}
	edge := lateEdge(t, n)
	silent := b.open(edge + "/play?stream=silent")
	requireMoving(t, silent)
	require.Equal(t, 1.0, eval[float64](silent, `delta.attempts`))
	silent.close()

	for _, attempts := range []float64{2, 1} {
		sound := b.open(edge + "/play?stream=sound")
		sound.wait(`document.getElementById("video").currentTime > 2`)
		require.Equal(t, attempts, eval[float64](sound, `delta.attempts`))
		require.Equal(t, 1.0, eval[float64](sound, `document.getElementById("video").srcObject.getTracks().length`))
		sound.close()
	}
}
