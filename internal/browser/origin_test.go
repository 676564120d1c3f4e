package browser

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// soon is within how many ms a page has to say that its node is gone.
const soon = 2000

// note has a page note when it leaves each of its states, in window.left.
const note = `(() => {
	window.left = {};
	let state = document.body.dataset.state;
	new MutationObserver(() => {
		left[state] ??= Date.now();
		state = document.body.dataset.state;
	}).observe(document.body, {attributes: true, attributeFilter: ["data-state"]});
	return true;
})()`

// requireSoon: the page has left a state soon after an instant.
func requireSoon(t *testing.T, p *page, state string, since time.Time) {
	t.Helper()
	p.wait(`left[` + quoted(state) + `] !== undefined`)
	after := eval[float64](p, `left[`+quoted(state)+`]`) - float64(since.UnixMilli())
	t.Logf("%s ended after %.0f ms", state, after)
	require.LessOrEqual(t, after, float64(soon))
}

func quoted(s string) string { return `"` + s + `"` }

// The origin is killed under a publisher and a player, and comes back: both say so at
// once, show no figures meanwhile, and go on by themselves. The camera is the same.
func TestAnOriginGoesAndComesBack(t *testing.T) {
	n := startThreenode(t, "-demo=false")
	b := newBrowser(t)
	b.errors.allow(lost, refused)
	publisher := b.open(n.origin + "/publish?stream=cam&source=camera&autostart=1")
	publisher.waitState("publishing")
	publisher.wait(`delta.stats && delta.stats.bitrate > 0`)
	player := b.open(n.edge1 + "/play?stream=cam")
	requireMoving(t, player)
	const tracks = `delta.media.getTracks().map((t) => [t.id, t.readyState].join())`
	camera := eval[[]string](publisher, tracks)
	require.Len(t, camera, 2)
	eval[any](publisher, `(() => {
		window.asked = 0;
		const ask = navigator.mediaDevices.getUserMedia;
		navigator.mediaDevices.getUserMedia = (...a) => { asked++; return ask.apply(navigator.mediaDevices, a); };
	})()`)
	for _, p := range []*page{publisher, player} {
		require.True(t, eval[bool](p, note))
	}

	gone := time.Now()
	n.kill()
	requireSoon(t, publisher, "publishing", gone)
	requireSoon(t, player, "playing", gone)
	publisher.wait(`delta.state === "reconnecting" && delta.attempts > 1`)
	require.Regexp(t, `^The (server|connection) .*\. .*tries again by itself\.$`, eval[string](publisher, `document.getElementById("reason").innerText`))
	require.True(t, eval[bool](publisher, `delta.stats === null && document.getElementById("sending").hidden && document.getElementById("badge").hidden`))
	require.Equal(t, "–", eval[string](player, `document.getElementById("s-bitrate").innerText`))
	require.Equal(t, "–", eval[string](player, `document.getElementById("s-fps").innerText`))
	publisher.shoot("gone-publisher")
	player.shoot("gone-player")

	n.start()
	publisher.waitState("publishing")
	requireMoving(t, player)
	require.Equal(t, camera, eval[[]string](publisher, tracks), "the same tracks")
	require.Zero(t, eval[float64](publisher, `asked`), "how often the browser was asked for the camera")
	require.Equal(t, 1.0, eval[float64](publisher, `delta.reconnects`))
	publisher.shoot("back-publisher")

	eval[any](publisher, `document.getElementById("stop").click()`)
	publisher.waitState("idle")
	require.True(t, eval[bool](publisher, `document.getElementById("sending").hidden && document.getElementById("preview").srcObject === null`))
}

// A node that stands still for a while is noticed as soon, and when it goes on so do the
// sessions: nobody has to connect again.
func TestANodeStandsStill(t *testing.T) {
	n := startThreenode(t, "-demo=false")
	b := newBrowser(t)
	b.errors.allow(lost, refused)
	publisher := b.open(n.origin + "/publish?stream=clock&source=canvas&codec=VP8&autostart=1")
	publisher.waitState("publishing")
	player := b.open(n.edge1 + "/play?stream=clock")
	requireMoving(t, player)
	for _, p := range []*page{publisher, player} {
		require.True(t, eval[bool](p, note))
	}
	still := time.Now()
	t.Cleanup(func() { _ = n.cmd.Process.Signal(syscall.SIGCONT) }) // or it would not end
	require.NoError(t, n.cmd.Process.Signal(syscall.SIGSTOP))
	requireSoon(t, publisher, "publishing", still)
	requireSoon(t, player, "playing", still)
	time.Sleep(time.Until(still.Add(3 * time.Second)))
	require.NoError(t, n.cmd.Process.Signal(syscall.SIGCONT))
	publisher.waitState("publishing")
	requireMoving(t, player)
	for _, p := range []*page{publisher, player} {
		require.Equal(t, 1.0, eval[float64](p, `delta.attempts`))
	}
}
