package browser

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/demo/web/webtest"
)

// The publish page shows what other programs need, with buttons that copy it.
func TestAddressesAreShown(t *testing.T) {
	n := startThreenode(t, "-demo=false")
	b := newBrowser(t)
	p := b.open(n.origin + "/publish?stream=live/studio&sig=a%2Bb&exp=7")
	p.waitState("idle")
	text := func(id string) string { return eval[string](p, `document.getElementById("`+id+`").textContent`) }
	whip := n.origin + "/whip/live/studio?sig=a%2Bb&exp=7"
	require.Equal(t, whip, text("whip-url"))
	require.Equal(t, n.origin+"/whep/live/studio?sig=a%2Bb&exp=7", text("whep-url"))
	require.Equal(t, whip, text("obs-server"))
	require.Contains(t, text("ffmpeg"), `-f whip "`+whip+`"`)
	require.Contains(t, text("gstreamer"), `whipclientsink name=out signaller::whip-endpoint="`+whip+`"`)

	eval[any](p, `(f => { f.value = "hunter2"; f.dispatchEvent(new Event("input", {bubbles: true})); })(document.getElementById("token"))`)
	require.Contains(t, text("ffmpeg"), `-authorization "$TOKEN"`)
	require.Contains(t, text("gstreamer"), `signaller::auth-token="$TOKEN"`)
	require.NotContains(t, eval[string](p, `document.body.textContent`), "hunter2")

	eval[any](p, `void Object.defineProperty(navigator, "clipboard", {value: {writeText: async (s) => { window.copied = s; }}})`)
	p.click(`[data-copy="whip-url"]`)
	p.wait(`window.copied === ` + quoted(whip) + ` && document.getElementById("copied").innerText === "Copied."`)
}

// The drawn clock goes on after a picture that could not be drawn.
func TestTheClockGoesOn(t *testing.T) {
	n := webtest.New(t, "127.0.0.1:0")
	o := n.Origin("origin")
	b := newBrowser(t)
	p := b.open(o.URL + "/publish?stream=cam")
	eval[any](p, `(async () => {
		const {Scene} = await import("/assets/scene.js");
		const arc = CanvasRenderingContext2D.prototype.arc;
		Object.assign(window, {failures: 0, drawn: 0, scene: new Scene()});
		scene.start();
		CanvasRenderingContext2D.prototype.arc = function (...args) {
			if (++drawn === 3) { failures++; throw new Error("cannot be drawn"); }
			return arc.apply(this, args);
		};
	})()`)
	p.wait(`failures === 1 && drawn > 10`)
	require.Len(t, b.errors.take(), 1, "the failure is logged")
	eval[any](p, `scene.stop()`)
}

// Devices can be chosen, the choice is remembered, and a device that is gone is said so.
func TestDevicesAreChosen(t *testing.T) {
	n := startThreenode(t, "-demo=false")
	b := newBrowser(t)
	b.errors.allow(refused)
	p := b.open(n.origin + "/publish?stream=cam")
	p.wait(`document.getElementById("microphone").options.length > 2`)
	cameras := eval[[]string](p, `[...document.getElementById("camera").options].map((o) => o.textContent)`)
	require.Greater(t, len(cameras), 1, "%v", cameras)
	choose := func(id, value string) {
		eval[any](p, `(s => { s.value = `+value+`; s.dispatchEvent(new Event("change", {bubbles: true})); })(document.getElementById("`+id+`"))`)
	}
	choose("camera", `s.options[1].value`)
	choose("microphone", `"none"`)
	p.click("#start")
	p.waitState("publishing")
	require.Equal(t, []string{"video"}, eval[[]string](p, `delta.media.getTracks().map((t) => t.kind)`))
	require.Equal(t, eval[string](p, `document.getElementById("camera").value`), eval[string](p, `delta.media.getVideoTracks()[0].getSettings().deviceId`))
	p.close()

	again := b.open(n.origin + "/publish?stream=cam")
	again.wait(`document.getElementById("microphone").value === "none" && document.getElementById("camera").selectedIndex === 1`)
	eval[any](again, `void (navigator.mediaDevices.getUserMedia = async () => { throw new DOMException("", "OverconstrainedError"); })`)
	again.click("#start")
	again.waitState("failed")
	require.Contains(t, eval[string](again, `document.getElementById("reason").innerText`), "Choose another one.")
}

// A token comes in the fragment of the address, which no server sees, and leaves it. The
// other pages of the tab have it, too. Where one is needed the page asks for it.
func TestTokens(t *testing.T) {
	chromium(t)
	const token = "let-me-in"
	n := webtest.New(t, "127.0.0.1:0")
	n.Token = token
	o := n.Origin("origin")
	e := n.Viewing("edge")
	n.Publish(o, "demo")
	b := newBrowser(t)
	b.errors.allow(refused)

	p := b.open(e.URL + "/play?stream=demo#token=" + token)
	requireMoving(t, p)
	require.Equal(t, e.URL+"/play?stream=demo", eval[string](p, `location.href`))
	require.NoError(t, chromedp.Do(p.ctx, chromedp.Navigate(e.URL+"/play?stream=demo&again=1")))
	requireMoving(t, p)

	other := b.open(e.URL + "/play?stream=demo")
	other.waitState("refused")
	require.Equal(t, "This stream needs a valid token. Enter the token that you were given, and start again.", eval[string](other, `delta.message`))
	require.Equal(t, 1.0, eval[float64](other, `delta.attempts`), "a wrong token is not shown over and over")
	other.shoot("refused")
	eval[any](other, `void (document.getElementById("token").value = "`+token+`")`)
	other.click("#token-play")
	requireMoving(t, other)
	for _, r := range n.Requests() {
		assert.False(t, strings.Contains(r, token), "%s has the token", r)
	}
	require.NotEmpty(t, n.Requests())
}

// The STUN and TURN servers that a node tells of are used (RFC 9725 section 4.6), and what
// cannot be one is left out.
func TestICEServersAreUsed(t *testing.T) {
	chromium(t)
	n := webtest.New(t, "127.0.0.1:0")
	n.ICEServers = []string{
		`<stun:127.0.0.1:9>; rel="ice-server"`,
		`<turn:127.0.0.1:9?transport=udp>; rel="ice-server"; username="17:ann,e"; credential="a/b+c=\"="; credential-type="password"`,
		`<turn:nobody.example>; rel="ice-server"`, `<https://nothing.example>; rel="ice-server"`, `<stun:other.example>; rel="other"`,
	}
	o, e := n.Origin("origin"), n.Viewing("edge")
	b := newBrowser(t)
	b.errors.allow(refused)
	const servers = `JSON.stringify(delta.pc.getConfiguration().iceServers.map(({urls, username, credential}) => [String(urls), username, credential]))`
	publisher := b.open(o.URL + "/publish?stream=cam&source=canvas&codec=VP8&autostart=1")
	publisher.waitState("publishing")
	player := b.open(e.URL + "/play?stream=cam")
	player.waitState("playing")
	for _, p := range []*page{publisher, player} {
		require.JSONEq(t, `[["stun:127.0.0.1:9", "", ""], ["turn:127.0.0.1:9?transport=udp", "17:ann,e", "a/b+c=\"="]]`, eval[string](p, servers))
		p.wait(`delta.stats?.bitrate > 0`)
	}
}

// A page that takes long to draw its clock misses ticks. They once queued up, and on a busy
// machine the page did nothing but draw.
func TestTicksDoNotQueueUp(t *testing.T) {
	chromium(t)
	n := webtest.New(t, "127.0.0.1:0")
	p := newBrowser(t).open(n.Origin("origin").URL + "/publish")
	eval[any](p, `void (() => {
		window.ticks = 0;
		window.ticker = new Worker("/assets/ticker.js");
		ticker.onmessage = () => { ticks++; };
		ticker.postMessage(30);
	})()`)
	p.wait(`ticks > 0`)
	eval[any](p, `new Promise((resolve) => { setTimeout(resolve, 500); })`) // fifteen ticks
	require.Equal(t, 1, eval[int](p, `ticks`), "ticks that came while the page drew")
	eval[any](p, `ticker.postMessage("drawn")`)
	p.wait(`ticks === 2`)
}
