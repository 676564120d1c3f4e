//go:build long

package browser

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/demo/web/webtest"
)

// The play page of a viewer whose path does not carry the picture says so, and stops when
// the viewer has the best again.
func TestLowBandwidthIsShown(t *testing.T) {
	chromium(t)
	n := webtest.New(t, "127.0.0.1:0")
	o := n.Origin("origin")
	e := n.Viewing("edge")
	n.Publish(o, "live")
	browser := newBrowser(t)
	var how atomic.Pointer[impairment]
	how.Store(&impairment{delay: 20 * time.Millisecond})
	p := browser.open(impairedBy(t, e.URL, &how) + "/play?stream=live")
	p.waitState("playing")
	const shown = `document.getElementById("bandwidth").hidden ? "" : document.getElementById("bandwidth").innerText`
	require.Empty(t, eval[string](p, shown))
	how.Store(&impairment{delay: 20 * time.Millisecond, rate: 150_000})
	p.wait(`(` + shown + `) === "Low bandwidth: sound only"`)
	p.shoot("low-bandwidth")
	how.Store(&impairment{delay: 20 * time.Millisecond})
	p.wait(`(` + shown + `) === "" && delta.state === "playing"`)
}

// The sentences that a narrow path brings.
func TestLowBandwidthHasSentences(t *testing.T) {
	chromium(t)
	n := webtest.New(t, "127.0.0.1:0")
	p := newBrowser(t).open(n.Origin("origin").URL + "/play")
	for adaptation, want := range map[string]string{
		`null`: "",
		`{layer: "h", height: 720, mode: "full", limited: false}`:     "",
		`{layer: "m", height: 360, mode: "full", limited: true}`:      "Low bandwidth: 360p",
		`{layer: "m", mode: "full", limited: true}`:                   "Low bandwidth: layer m",
		`{layer: "l", height: 180, mode: "partial", limited: true}`:   "Low bandwidth: 180p, fewer pictures a second",
		`{layer: "", mode: "partial", limited: true}`:                 "Low bandwidth: fewer pictures a second",
		`{layer: "l", height: 180, mode: "keyframes", limited: true}`: "Low bandwidth: still pictures",
		`{layer: "l", mode: "paused", limited: true}`:                 "Low bandwidth: sound only",
	} {
		require.Equal(t, want, eval[string](p, `import("/assets/sentences.js").then((m) => m.lowBandwidth(`+adaptation+`))`), adaptation)
	}
}
