package browser

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/demo/web/webtest"
)

// askedOnly is true if a page has asked its own node only.
const askedOnly = `performance.getEntriesByType("resource").every((r) => r.name.startsWith(location.origin + "/"))`

// The console shows the network as its node knows it, and asks nobody else. A node that is
// gone is shown as it was, and how long ago; and so is everything when its own node is.
func TestTheConsoleTellsThePast(t *testing.T) {
	chromium(t)
	n := webtest.New(t, "127.0.0.1:0")
	o := n.Origin("origin")
	e1, e2 := n.Viewing("edge1"), n.Viewing("edge2")
	n.Publish(o, "demo")
	b := newBrowser(t)
	b.errors.allow(lost, refused)
	for _, e := range []*webtest.Node{e1, e2} {
		requireMoving(t, b.open(e.URL+"/play?stream=demo"))
	}
	p := b.open(e1.URL + "/")
	running := func(name string) string {
		return `document.querySelector('[data-node="` + name + `"]')?.dataset.state === "running"`
	}
	for _, name := range []string{"origin", "edge1", "edge2"} {
		p.wait(running(name))
	}
	p.wait(`document.querySelector('[data-stream="demo"] .end')?.innerText === "2 viewers, carried by 3 nodes"`)
	// What the origin sends is what its links carry, and what these say at either end.
	p.wait(`(({nodes}) => {
		const origin = nodes.find((n) => n.name === "origin"), sent = origin.totals.out;
		const links = origin.links.reduce((sum, l) => sum + l.bitrate_out, 0);
		const there = nodes.filter((n) => n.name !== "origin").flatMap((n) => n.links.filter((l) => l.peer === "origin")).reduce((sum, l) => sum + l.bitrate_in, 0);
		return sent > 500e3 && Math.abs(sent - links) < 0.02 * sent && Math.abs(there - sent) < 0.35 * sent;
	})(delta.knowledge)`)
	require.True(t, eval[bool](p, askedOnly))
	p.shoot("all")

	// What the origin has sent in all is what its links have, and never falls.
	at := b.open(o.URL + "/")
	at.wait(`/^[\d.]+ [kM]B$/.test(document.getElementById("bytes-out").innerText) && delta.status.totals.bytes_out > 100e3`)
	sent := eval[float64](at, `delta.status.totals.bytes_out`)

	require.NoError(t, e2.Close())
	p.wait(`document.querySelector('[data-node="edge2"]').dataset.state === "stale"`)
	p.wait(`/^As it was \d+ s ago\. [A-Z].*\.$/.test(document.querySelector('[data-node="edge2"] .age').innerText)`)
	p.wait(`document.querySelector('.wire[data-to="edge2"]') === null`)
	require.Contains(t, eval[string](p, `getComputedStyle(document.querySelector('[data-node="edge2"]')).filter`), "grayscale")
	p.wait(`document.querySelector('[data-stream="demo"] .end').innerText === "1 viewer, carried by 2 nodes"`)
	p.shoot("one-gone")

	at.wait(`document.querySelector('[data-node="edge2"]').dataset.state === "stale"`)
	require.Greater(t, eval[float64](at, `delta.status.totals.bytes_out`), sent)
	e1.Stop()
	p.waitState("offline")
	p.wait(`/This page shows how it was \d+ s ago\.$/.test(document.getElementById("offline").innerText)`)
	require.Zero(t, eval[int](p, `document.querySelectorAll('.node[data-state="running"]').length`))
	require.Equal(t, "stale", eval[string](p, `document.querySelector(".stream .pill").innerText`))
	require.Contains(t, eval[string](p, `getComputedStyle(document.querySelector("section")).filter`), "grayscale")
	p.shoot("all-gone")
}

// Where the network is shown for a token, the console asks for one, once.
func TestTheConsoleAsksForAToken(t *testing.T) {
	chromium(t)
	n := webtest.New(t, "127.0.0.1:0")
	n.Operator = "an-operator-of-the-network"
	o := n.Origin("origin")
	n.Viewing("edge")
	b := newBrowser(t)
	b.errors.allow(refused)
	p := b.open(o.URL + "/")
	p.wait(`!document.getElementById("access").hidden`)
	require.True(t, eval[bool](p, `delta.knowledge.mine.name === "origin" && delta.knowledge.mine.state === "current"`), "it tells of itself")
	p.shoot("asks")
	eval[any](p, `void (document.getElementById("token").value = "`+n.Operator+`")`)
	p.click("#access button")
	p.wait(`document.querySelector('[data-node="origin"]')?.dataset.state === "running" && delta.knowledge.complete && document.getElementById("access").hidden`)
	for _, r := range n.Requests() {
		assert.False(t, strings.Contains(r, n.Operator), "%s has the token", r)
	}
}

// A kill has to be confirmed. Escape and Cancel leave the node alone.
func TestAKillIsConfirmed(t *testing.T) {
	n := startThreenode(t, "-demo=false")
	b := newBrowser(t)
	p := b.open(n.origin + "/")
	const state = `document.querySelector('[data-node="edge2"]')?.dataset.state`
	p.wait(state + ` === "running"`)
	const button = `[data-node="edge2"] button`
	const isOpen = `document.getElementById("confirm").open`
	for _, leave := range []string{"Escape", "Cancel"} {
		p.click(button)
		p.wait(isOpen)
		require.Equal(t, "Kill edge2?", eval[string](p, `document.getElementById("confirm-title").innerText`))
		if leave == "Escape" {
			p.press("\u001b")
		} else {
			p.press("\r") // Cancel has the focus
		}
		p.wait(`!` + isOpen)
		require.Equal(t, "Kill edge2", eval[string](p, `document.activeElement.getAttribute("aria-label")`), "the focus is where it was")
	}
	require.Equal(t, "running", eval[string](p, state))
	p.click(button)
	p.wait(isOpen)
	require.True(t, eval[bool](p, `(async () => {
		document.getElementById("confirm-cancel").click();
		for (let i = 0; i < 10; i++) await null; // no event comes meanwhile
		document.querySelector('`+button+`').click();
		for (let i = 0; i < 10; i++) await null;
		return document.getElementById("confirm").open;
	})()`), "the button answers before the close event has come")
	p.click("#confirm-kill")
	p.wait(state + ` === "killed"`)
	p.shoot("killed")
	p.click(button)
	p.wait(state + ` === "running"`)
	require.True(t, eval[bool](p, askedOnly))
}
