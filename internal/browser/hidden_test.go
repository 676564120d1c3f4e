package browser

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// hidden makes a player in a page of an edge, as in a hidden tab, where the browser tells of no
// frame. freeze has the statistics tell of no video, and thaw of what there is. say is
// called as the server tells something.
const hidden = `(async () => {
	HTMLVideoElement.prototype.requestVideoFrameCallback = () => 0;
	const [{Player}, {Stage}] = await Promise.all([import("/assets/player.js"), import("/assets/stage.js")]);
	const videos = [1, 2].map(() => document.body.appendChild(Object.assign(document.createElement("video"), {muted: true})));
	const player = new Player({stage: new Stage(...videos), stream: "demo", events: false, show() {}, endpoint: () => location.origin + "/whep/demo"});
	const real = RTCPeerConnection.prototype.getStats;
	window.hidden = player.report;
	window.say = (name) => player.current.session.options.tell(name, {});
	window.freeze = () => { RTCPeerConnection.prototype.getStats = async function () {
		return new Map([...await real.call(this)].filter(([, r]) => r.type !== "inbound-rtp"));
	}; };
	window.thaw = () => { RTCPeerConnection.prototype.getStats = real; };
	player.start();
	return true;
})()`

// In a hidden tab the page follows the video that is decoded, and what the server has told
// last. It once said that the publisher is gone for as long as the tab was hidden: the event
// of its return changed nothing, and no frame was seen.
func TestAHiddenPageFollowsTheVideo(t *testing.T) {
	n := startThreenode(t)
	p := newBrowser(t).open(n.edge1 + "/")
	require.True(t, eval[bool](p, hidden))
	p.wait(`hidden.state === "playing"`)
	require.Zero(t, eval[float64](p, `hidden.frames`))

	eval[any](p, `freeze()`)
	p.wait(`hidden.state === "waiting" && hidden.message.startsWith("Connected")`)
	eval[any](p, `say("inactive")`)
	require.Equal(t, "The publisher is gone. Playback continues when it comes back.", eval[string](p, `hidden.message`))
	require.True(t, eval[bool](p, `hidden.away`))
	eval[any](p, `say("active")`)
	require.False(t, eval[bool](p, `hidden.away`))
	require.Contains(t, eval[string](p, `hidden.message`), "Connected, but no video arrives.")
	eval[any](p, `thaw()`)
	p.wait(`hidden.state === "playing" && hidden.message === ""`)

	// The event of its return is lost.
	eval[any](p, `freeze()`)
	p.wait(`hidden.state === "waiting"`)
	eval[any](p, `say("inactive")`)
	eval[any](p, `thaw()`)
	p.wait(`hidden.state === "playing" && hidden.message === "" && !hidden.away`)
}
