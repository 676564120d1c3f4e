package browser

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Two people at two of these pages see each other.
func TestTwoWay(t *testing.T) {
	n := startThreenode(t, "-demo=false")
	b := newBrowser(t)
	b.errors.allow(refused)
	one := b.open(n.origin + "/twoway?publish=one&play=two")
	two := b.open(n.origin + "/twoway?publish=two&play=one&source=canvas")
	one.shoot("idle")
	one.click("#publish-start")
	one.wait(`delta.publish.state === "publishing"`)
	one.click("#play-start")
	one.wait(`delta.play.state === "waiting" && document.getElementById("message").innerText.startsWith('Waiting for "two".')`)
	one.shoot("waiting")
	two.click("#publish-start")
	two.click("#play-start")
	for _, p := range []*page{one, two} {
		p.wait(`delta.publish.state === "publishing" && delta.play.state === "playing" && delta.play.stats?.decoded > 30`)
		p.wait(`/\d fps/.test(document.getElementById("publish-figures").innerText) && /\d fps/.test(document.getElementById("play-figures").innerText)`)
		require.Equal(t, []string{"publishing", "playing"}, eval[[]string](p, `[...document.querySelectorAll(".panel")].map((p) => p.dataset.state)`))
	}
	one.shoot("both")
	two.click("#publish-stop")
	one.wait(`delta.play.state !== "playing"`)
	require.Equal(t, "Nothing is sent.", eval[string](two, `document.getElementById("publish-figures").innerText`))
	require.Equal(t, "playing", eval[string](two, `delta.play.state`), "what it plays goes on")
	one.click("#play-stop")
	one.wait(`delta.play.state === "idle" && delta.publish.state === "publishing"`)
}

// An edge takes no publishers: the page at it publishes to the origin.
func TestTwoWayAtAnEdge(t *testing.T) {
	n := startThreenode(t, "-demo=false")
	b := newBrowser(t)
	b.errors.allow(refused)
	p := b.open(n.edge1 + "/twoway?publish=self&play=self&source=canvas&autostart=1")
	p.wait(`delta.publish.state === "publishing" && delta.play.state === "playing"`)
	require.True(t, eval[bool](p, `delta.publish.location.startsWith("`+n.origin+`/whip/self/") && delta.play.location.startsWith("`+n.edge1+`/whep/self/")`))
}
