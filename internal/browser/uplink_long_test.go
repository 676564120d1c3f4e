//go:build long

package browser

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/demo/web/webtest"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/signal/whip"
)

// ramp adds to publishPage: it publishes with a bound, and notes ten times a second how
// much is sent since the connection was made.
const ramp = `<script>
async function ramp(url, bound, milliseconds) {
	const add = RTCPeerConnection.prototype.addTransceiver;
	RTCPeerConnection.prototype.addTransceiver = function (track, init) {
		if (track.kind === "video") init.sendEncodings = [{maxBitrate: bound}];
		return add.call(this, track, init);
	};
	await publish(url);
	while (pc.connectionState !== "connected") await new Promise((r) => setTimeout(r, 5));
	const begun = performance.now(), seen = [];
	for (let at = 0; at < milliseconds; at = performance.now() - begun) {
		const all = [...(await pc.getStats()).values()];
		const video = all.find((r) => r.type === "outbound-rtp" && r.kind === "video");
		const pair = all.find((r) => r.type === "candidate-pair" && r.nominated);
		seen.push({At: at, Sent: 8 * (video?.bytesSent ?? 0), Target: video?.targetBitrate ?? 0, Available: pair?.availableOutgoingBitrate ?? 0});
		await new Promise((r) => setTimeout(r, 100));
	}
	return seen;
}
</script>`

type sample struct{ At, Sent, Target, Available float64 }

// until returns when the page first sent nine tenths of bound for half a second, in
// milliseconds since it was connected, and when the browser's encoder was told to; negative:
// it never did. Of the bound the encoder gets five sixths: the rest is kept for repairs.
func until(all []sample, bound float64) (sends, means float64) {
	bound *= 5. / 6
	sends, means = -1, -1
	for i, s := range all {
		if means < 0 && s.Target >= 0.9*bound {
			means = s.At
		}
		for j := i - 1; j >= 0 && sends < 0; j-- {
			if d := s.At - all[j].At; d >= 500 {
				if (s.Sent-all[j].Sent)*1000/d >= 0.9*bound {
					sends = s.At
				}
				break
			}
		}
	}
	return sends, means
}

// Chromium finds what its path carries within 3 s, on a near path as on a far one: the
// feedback says in time, and exactly, when its probes arrived.
func TestAPublisherFindsItsRate(t *testing.T) {
	chromium(t)
	node, err := cdn.Listen(cdn.Config{Addr: "127.0.0.1:0"})
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
		_, _ = w.Write([]byte(publishPage + ramp))
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)

	browser := newBrowser(t)
	const bound = 1_500_000 // by additive steps from 300 kbit/s, it takes half a minute
	for _, c := range []struct {
		name string
		how  impairment
	}{
		{"0 ms", impairment{}},
		{"200 ms", impairment{delay: 100 * time.Millisecond}},
		{"200 ms, 4 Mbit/s", impairment{delay: 100 * time.Millisecond, rate: 4_000_000}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := browser.open(impaired(t, server.URL, c.how))
			defer p.close()
			all := eval[[]sample](p, `ramp("/whip/live`+strconv.Itoa(len(c.name))+`", `+strconv.Itoa(bound)+`, 8000)`)
			sends, means := until(all, bound)
			for _, at := range []float64{250, 500, 1000, 1500, 2000, 3000, 5000} {
				for _, s := range all {
					if s.At >= at {
						t.Logf("%4.0f ms: estimate %.0f, target %.0f kbit/s", s.At, s.Available/1000, s.Target/1000)
						break
					}
				}
			}
			t.Logf("nine tenths of %d bits a second: aimed at after %.0f ms, sent after %.0f ms", bound, means, sends)
			require.Greater(t, means, 0.0)
			require.Less(t, means, 3000.0)
			require.Greater(t, sends, 0.0)
			require.Less(t, sends, 6000.0, "the encoder shares the machine")
		})
	}
}

// A publish page whose path becomes too narrow says so, and stops when it carries all
// again.
func TestANarrowUplinkIsShown(t *testing.T) {
	chromium(t)
	n := webtest.New(t, "127.0.0.1:0")
	o := n.Origin("origin")
	browser := newBrowser(t)
	var how atomic.Pointer[impairment]
	how.Store(&impairment{delay: 20 * time.Millisecond})
	p := browser.open(impairedBy(t, o.URL, &how) + "/publish?stream=cam&source=canvas&codec=VP8&simulcast=1&autostart=1")
	p.waitState("publishing")
	p.wait(`delta.stats?.layers.length === 3 && delta.stats.layers.every((l) => l.bitrate > 0)`)
	const shown = `document.getElementById("uplink").innerText`
	how.Store(&impairment{delay: 20 * time.Millisecond, rate: 250_000})
	p.wait(`/too slow|loses/.test(` + shown + `)`)
	t.Log(eval[string](p, shown))
	p.shoot("narrow")
	how.Store(&impairment{delay: 20 * time.Millisecond})
	p.wait(`!/too slow|loses/.test(` + shown + `)`)
}
