package browser

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/signal/whip"
)

// publishPage publishes moving noise, which takes whatever bitrate there is.
const publishPage = `<!doctype html><link rel="icon" href="data:,"><canvas width="640" height="360"></canvas><script>
const canvas = document.querySelector("canvas"), g = canvas.getContext("2d");
setInterval(() => {
	const d = g.createImageData(canvas.width, canvas.height);
	for (let i = 0; i < d.data.length; i += 4) d.data[i] = d.data[i+1] = d.data[i+2] = Math.random() * 256, d.data[i+3] = 255;
	g.putImageData(d, 0, 0);
}, 66);
async function publish(url) {
	const pc = window.pc = new RTCPeerConnection();
	const sound = await navigator.mediaDevices.getUserMedia({audio: true});
	for (const t of [...canvas.captureStream(15).getTracks(), ...sound.getTracks()]) pc.addTransceiver(t, {direction: "sendonly"});
	await pc.setLocalDescription(await pc.createOffer());
	const r = await fetch(url, {method: "POST", headers: {"Content-Type": "application/sdp"}, body: pc.localDescription.sdp});
	window.answer = await r.text();
	await pc.setRemoteDescription({type: "answer", sdp: window.answer});
	return r.status;
}
</script>`

// Chromium keeps to the bitrate that its answer says, and so is not sent away.
func TestAPublisherKeepsToItsBitrate(t *testing.T) {
	chromium(t)
	ended := make(chan error, 1)
	node, err := cdn.Listen(cdn.Config{
		Addr: "127.0.0.1:0",
		Authorizer: cdn.AuthorizerFunc(func(_ context.Context, r cdn.AuthRequest) (cdn.Grant, error) {
			bound, _ := strconv.Atoi(r.Query.Get("bound"))
			return cdn.Grant{MaxBitrate: bound}, nil
		}),
		OnEvent: func(e cdn.Event) {
			if e, ok := e.(cdn.SessionEnded); ok {
				ended <- e.Err
			}
		},
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, node.Close()) })
	live, err := origin.New(node, origin.Config{})
	require.NoError(t, err)
	handler, err := whip.New(live, whip.Config{})
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.Handle("/whip/", handler)
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte(publishPage))
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)

	browser := newBrowser(t)
	rate := func(query string) float64 {
		p := browser.open(server.URL)
		defer p.close()
		require.Equal(t, http.StatusCreated, eval[int](p, `publish("/whip/live`+query+`")`))
		time.Sleep(4 * time.Second) // it begins low
		before := live.Stats().Bytes
		const span = 12 * time.Second
		time.Sleep(span)
		rate := float64(live.Stats().Bytes-before) * 8 / span.Seconds()
		select {
		case err := <-ended:
			t.Errorf("the session has ended: %v", err)
		default:
		}
		require.NoError(t, node.EndSession(node.Sessions()[0].Session, cdn.ErrClosed))
		<-ended
		return rate
	}
	const bound = 300_000
	free, held := rate(""), rate("?bound="+strconv.Itoa(bound))
	t.Logf("bits a second: without a bound %.0f, with one of %d %.0f", free, bound, held)
	require.Greater(t, free, 1.25*bound, "or the bound shows nothing")
	require.Less(t, held, 1.25*bound)
	require.Greater(t, held, 0.3*bound)
}
