package browser

import (
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// click clicks as a person does, and not only on what answers to a script.
func (p *page) click(selector string) {
	p.t.Helper()
	require.NoError(p.t, chromedp.Do(p.ctx, chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible)), selector)
}

// tap notes what the player calls each of its states, each connection that it makes, and how long
// the longest pause between two pictures was.
const tap = `(() => {
	const seen = window.seen = { states: [], connections: 0, pc: delta.pc, location: delta.location, pause: 0 };
	new MutationObserver(() => seen.states.push(document.getElementById("state").textContent)).observe(document.body, { attributes: true, attributeFilter: ["data-state"] });
	window.RTCPeerConnection = new Proxy(RTCPeerConnection, { construct(t, args) { seen.connections++; return new t(...args); } });
	const video = document.getElementById("video");
	let last = performance.now();
	const frame = () => {
		const now = performance.now();
		seen.pause = Math.max(seen.pause, now - last);
		last = now;
		video.requestVideoFrameCallback(frame);
	};
	video.requestVideoFrameCallback(frame);
	return true;
})()`

// requireSameSession: the picture moves, time goes on, and the player has done
// nothing for it.
func requireSameSession(t *testing.T, p *page) {
	t.Helper()
	at := eval[float64](p, `document.getElementById("video").currentTime`)
	requireMoving(t, p)
	p.wait(`document.getElementById("video").currentTime > ` + format(at+0.5))
	require.True(t, eval[bool](p, `seen.pc === delta.pc && delta.pc.connectionState === "connected"`), "the same connection")
	require.True(t, eval[bool](p, `seen.location === delta.location && delta.location !== null`), "the same session")
	require.Zero(t, eval[float64](p, `seen.connections`), "connections made since")
	require.Equal(t, 1.0, eval[float64](p, `delta.attempts`), "offers")
	require.Zero(t, eval[float64](p, `delta.reconnects`))
	// "No answer" is no fault: on a busy machine the edge may answer late.
	require.NotContains(t, eval[[]string](p, `seen.states`), "Reconnecting")
	require.NotContains(t, eval[[]string](p, `seen.states`), "Ended")
}

// A person kills the relay that an edge fetches from, on the page, and the player
// carries on as if nothing were; then the other, when the first has been restored.
func TestRelayFailover(t *testing.T) {
	n := startThreenode(t, "-relay")
	b := newBrowser(t)
	b.errors.allow(lost, refused)
	player := b.open(n.edge1 + "/play?stream=demo")
	requireMoving(t, player)
	require.True(t, eval[bool](player, tap))
	console := b.open(n.origin + "/")

	tookOver := false // the other relay, in one turn at least: the origin may seem nearer in one
	for _, turn := range []string{"first", "other"} {
		const from = `document.querySelector('tr[data-fetch="edge1 demo"]')?.cells[2].innerText`
		// The origin may seem nearer on a busy machine. The stream goes back half a minute
		// after that is over.
		console.waitFor(4*patience, `["relay1", "relay2"].includes(`+from+`)`)
		relay := eval[string](console, from)
		other := map[string]string{"relay1": "relay2", "relay2": "relay1"}[relay]
		// Who has gone over once has no standby any more, which a busy machine may
		// bring about before we do.
		console.wait(`(({cells}) => cells[6].innerText !== "0" || cells[3].innerText === "` + other + `")(document.querySelector('tr[data-fetch="edge1 demo"]'))`)
		console.wait(`document.querySelector('.wire.carries[data-from="` + relay + `"][data-to="edge1"]') !== null`)
		console.wait(`document.querySelector('.wire[data-from="` + other + `"][data-to="edge1"]') !== null`)
		console.shoot(turn + "-running")

		eval[float64](player, `seen.pause = 0`)
		console.click(`[data-node="` + relay + `"] button[data-action="kill"]`)
		console.click("#confirm-kill")
		console.wait(`document.querySelector('[data-node="` + relay + `"]').dataset.state === "killed"`)
		console.wait(`["` + other + `", "origin"].includes(` + from + `)`)
		tookOver = tookOver || eval[string](console, from) == other
		requireSameSession(t, player)
		console.wait(`document.querySelector('.wire.carries[data-from="' + ` + from + ` + '"][data-to="edge1"]') !== null`)
		console.wait(`document.querySelector('.wire[data-from="` + relay + `"]') === null`)
		console.shoot(turn + "-killed")
		t.Logf("%s killed: the longest pause between two pictures was %.0f ms", relay, eval[float64](player, `seen.pause`))
		player.shoot(turn + "-killed-player")

		console.click(`[data-node="` + relay + `"] button[data-action="restore"]`)
		console.wait(`document.querySelector('[data-node="` + relay + `"]').dataset.state === "running"`)
		console.wait(`document.querySelector('.wire[data-from="` + relay + `"][data-to="edge1"]') !== null`)
		requireSameSession(t, player)
	}
	require.True(t, tookOver, "the other relay has taken over in neither turn")
	require.Equal(t, "", eval[string](console, `document.getElementById("refused").innerText`))
}
