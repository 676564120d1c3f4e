package browser

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/signal/whep"
	"github.com/deltacdn/delta/signal/whip"
)

// soundPage publishes and plays sound, with the codecs named, the preferred one first.
const soundPage = `<!doctype html><link rel="icon" href="data:,"><audio autoplay></audio><script>
async function connect(url, direction, names) {
	const pc = window.pc = new RTCPeerConnection();
	const track = direction === "sendonly" ? (await navigator.mediaDevices.getUserMedia({audio: true})).getAudioTracks()[0] : "audio";
	const transceiver = pc.addTransceiver(track, {direction});
	const all = (direction === "sendonly" ? RTCRtpSender : RTCRtpReceiver).getCapabilities("audio").codecs;
	transceiver.setCodecPreferences(names.map((name) => all.find((c) => c.mimeType === "audio/" + name)));
	pc.addEventListener("track", ({track}) => { document.querySelector("audio").srcObject = new MediaStream([track]); });
	await pc.setLocalDescription(await pc.createOffer());
	const r = await fetch(url, {method: "POST", headers: {"Content-Type": "application/sdp"}, body: pc.localDescription.sdp});
	await pc.setRemoteDescription({type: "answer", sdp: await r.text()});
	return r.status;
}
async function sound() {
	const reports = await pc.getStats();
	const rtp = [...reports.values()].find((r) => /^(in|out)bound-rtp$/.test(r.type));
	return {
		Codec: reports.get(rtp?.codecId)?.mimeType ?? "", Received: rtp?.packetsReceived ?? 0, Sent: rtp?.packetsSent ?? 0,
		Bytes: rtp?.bytesReceived ?? 0, Samples: rtp?.totalSamplesReceived ?? 0, Concealed: (rtp?.concealedSamples ?? 0) - (rtp?.silentConcealedSamples ?? 0),
	};
}
</script>`

type heard struct {
	Codec                                     string
	Received, Sent, Bytes, Samples, Concealed float64
}

// Sound that Chromium publishes with redundancy is played with it by those who take it, and
// without it by those who do not.
func TestSoundWithRedundancy(t *testing.T) {
	chromium(t)
	node, err := cdn.Listen(cdn.Config{Addr: "127.0.0.1:0"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, node.Close()) })
	live, err := origin.New(node, origin.Config{})
	require.NoError(t, err)
	viewers, err := edge.New(node, edge.Config{Source: live})
	require.NoError(t, err)
	in, err := whip.New(live, whip.Config{})
	require.NoError(t, err)
	out, err := whep.New(viewers, whep.Config{})
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.Handle("/whip/", in)
	mux.Handle("/whep/", out)
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte(soundPage))
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)

	browser := newBrowser(t)
	open := func(url, script string) *page {
		p := browser.open(url)
		require.Equal(t, http.StatusCreated, eval[int](p, script))
		return p
	}
	// Of eight packets that the publisher sends, one is lost.
	publisher := open(impaired(t, server.URL, impairment{loss: 0.12}), `connect("/whip/live", "sendonly", ["red", "opus"])`)
	takes := open(server.URL, `connect("/whep/live", "recvonly", ["opus", "red"])`)
	plain := open(server.URL, `connect("/whep/live", "recvonly", ["opus"])`)
	for _, p := range []*page{takes, plain} {
		for begun := time.Now(); eval[heard](p, `sound()`).Received < 100; time.Sleep(100 * time.Millisecond) {
			require.Less(t, time.Since(begun), patience)
		}
	}
	// What is lost would have an eighth concealed. A browser that the machine does not serve
	// conceals, too, so one of three spans has to be without that.
	var with, without heard
	for span := 1; ; span++ {
		before, beforePlain := eval[heard](takes, `sound()`), eval[heard](plain, `sound()`)
		time.Sleep(5 * time.Second)
		with, without = eval[heard](takes, `sound()`), eval[heard](plain, `sound()`)
		t.Logf("with redundancy: %+v", with)
		t.Logf("without: %+v", without)
		whole := true
		for _, h := range [][2]heard{{before, with}, {beforePlain, without}} {
			whole = whole && h[1].Concealed-h[0].Concealed < 0.05*(h[1].Samples-h[0].Samples)
		}
		if whole {
			break
		}
		require.Less(t, span, 3, "much is concealed")
	}
	t.Logf("publisher: %+v", eval[heard](publisher, `sound()`))
	t.Logf("origin: %+v", live.Stats())
	require.Equal(t, "audio/opus", without.Codec)
	require.Greater(t, with.Bytes/with.Received, 1.5*without.Bytes/without.Received)
	require.Greater(t, live.Stats().Restored, uint64(10))
}
