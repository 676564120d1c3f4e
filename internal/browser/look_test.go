package browser

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A look is a way in which a person may see a page.
type look struct {
	name, scheme string
	width        int64
	axe          bool // whether it is examined: what differs between looks is the colours
}

var looks = []look{
	{"light", "light", 1280, true},
	{"dark", "dark", 1280, true},
	{"390px", "light", 390, false},
	{"390px-dark", "dark", 390, false},
}

// axe returns the source of axe-core, which npm ci has installed.
func axe(t *testing.T) string {
	source, err := os.ReadFile(filepath.Join("node_modules", "axe-core", "axe.min.js"))
	if err != nil && os.Getenv("DELTA_REQUIRE_AXE") == "" {
		t.Skip("no axe-core on this machine: npm ci --prefix internal/browser installs it")
	}
	require.NoError(t, err, "DELTA_REQUIRE_AXE is set: npm ci --prefix internal/browser installs axe-core")
	return string(source)
}

func (p *page) emulate(l look, motion string) {
	p.t.Helper()
	_, err := chromedp.Call(p.ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: l.width, Height: 900, DeviceScaleFactor: 1})
	require.NoError(p.t, err)
	_, err = chromedp.Call(p.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: l.scheme}, {Name: "prefers-reduced-motion", Value: motion},
	}})
	require.NoError(p.t, err)
	eval[any](p, `new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(null))))`)
}

// press presses a key.
func (p *page) press(key string) {
	p.t.Helper()
	require.NoError(p.t, chromedp.Do(p.ctx, chromedp.KeyEvent(key)))
}

// A violation is what axe says is wrong.
type violation struct {
	ID, Help string
	Where    []string
}

const runAxe = `(async () => {
	const {violations} = await axe.run(document, {resultTypes: ["violations"]});
	return violations.map(({id, help, nodes}) => ({ID: id, Help: help, Where: nodes.map((n) => n.target.join(" ") + ": " + n.failureSummary)}));
})()`

// tooWide returns what is wider than the page, which then could be scrolled sideways.
const tooWide = `(() => {
	const {scrollWidth, clientWidth} = document.documentElement;
	if (scrollWidth <= clientWidth) return [];
	return [...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > clientWidth + 0.5 && !e.closest(".scroll, code"))
		.map((e) => e.tagName + "#" + e.id + "." + e.className).slice(0, 8).concat(scrollWidth + " > " + clientWidth);
})()`

// examine looks at a page in all ways: it has to be accessible and narrow enough in each.
// Screenshots are kept.
func (p *page) examine(t *testing.T, axe, name string) {
	t.Helper()
	eval[any](p, "void (() => {"+axe+"\n})()")
	for _, l := range looks {
		p.emulate(l, "reduce")
		assert.Empty(t, eval[[]string](p, tooWide), "%s, %s: it can be scrolled sideways", name, l.name)
		assert.Zero(t, eval[int](p, `document.getAnimations().filter((a) => a.playState === "running").length`), "%s, %s: something moves", name, l.name)
		if l.axe {
			for _, v := range eval[[]violation](p, runAxe) {
				assert.Fail(t, "axe: "+v.ID, "%s, %s: %s\n%s", name, l.name, v.Help, strings.Join(v.Where, "\n"))
			}
		}
		if eval[bool](p, `document.querySelector("dialog[open]") !== null`) {
			p.shoot(name + "_" + l.name) // a dialog is as large as the window
		} else {
			p.shootAll(name + "_" + l.name)
		}
	}
	p.emulate(looks[0], "no-preference")
}

// tabbed presses Tab until the focus comes back, and returns what had it. Each has to be
// seen to have it.
func (p *page) tabbed(t *testing.T) (all []string) {
	t.Helper()
	const focused = `(() => {
		const e = document.activeElement;
		if (!e || e === document.body) return null;
		const ring = [e, e.closest("label")].some((n) => n && getComputedStyle(n).outlineStyle !== "none" && parseFloat(getComputedStyle(n).outlineWidth) > 0);
		return {Name: e.id || e.getAttribute("aria-label") || e.textContent.trim() || e.tagName, Ring: ring};
	})()`
	eval[any](p, `void document.activeElement?.blur()`)
	for range 100 {
		p.press("\t")
		f := eval[*struct {
			Name string
			Ring bool
		}](p, focused)
		if f == nil || len(all) > 0 && f.Name == all[0] {
			break
		}
		assert.True(t, f.Ring, "%s has the focus, and it is not seen", f.Name)
		all = append(all, f.Name)
	}
	return all
}

// operable are the elements of a page that a person can use.
const operable = `[...document.querySelectorAll("a[href], button, input, select, summary")]
	.filter((e) => !e.disabled && e.checkVisibility() && !e.closest("dialog:not([open])") && !(e.type === "radio" && !e.checked))
	.map((e) => e.id || e.getAttribute("aria-label") || e.textContent.trim() || e.tagName)`

func (p *page) requireKeyboard(t *testing.T) {
	t.Helper()
	reached := p.tabbed(t)
	for _, name := range eval[[]string](p, operable) {
		assert.True(t, slices.Contains(reached, name), "%s cannot be reached by keyboard: %v", name, reached)
	}
}

// shootAll keeps a screenshot of the whole page, however long it is.
func (p *page) shootAll(name string) {
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	p.keep(name, png, err)
}

// holdTickers notes the workers that a page makes, which say when it draws the clock.
const holdTickers = `void (() => {
	window.tickers = [];
	window.Worker = class extends Worker { constructor(...args) { super(...args); tickers.push(this); } };
})()`

// drawSlowly has a page draw its clock five times a second: what is examined does not depend
// on it, and three layers that are encoded at full rate leave a busy machine no time.
const drawSlowly = `void tickers.forEach((ticker) => ticker.postMessage(5))`

// Every page, in each of its main states, is accessible by what axe-core finds, fits a
// phone and does not move where that is not wanted.
func TestLook(t *testing.T) {
	source := axe(t)
	n := startThreenode(t, "-relay")
	b := newBrowser(t)
	b.errors.allow(lost, refused)

	console := b.open(n.edge1 + "/")
	console.wait(`document.querySelectorAll(".node[data-state=running]").length === 5 && document.querySelectorAll(".stream").length === 1`)
	player := b.open(n.edge1 + "/play?stream=demo")
	requireMoving(t, player)
	console.wait(`document.getElementById("viewers").innerText === "1" && document.querySelector(".wire.carries")`)
	console.examine(t, source, "console-live")
	console.requireKeyboard(t)
	console.click(`[data-node="relay1"] button`)
	console.examine(t, source, "console-confirm")
	require.Equal(t, "confirm-cancel", eval[string](console, `document.activeElement.id`))
	console.click("#confirm-cancel")

	player.wait(`delta.stats.fps > 0`)
	player.examine(t, source, "play-playing")
	player.requireKeyboard(t)
	picker := b.open(n.edge1 + "/play")
	picker.wait(`document.querySelectorAll("#picks a").length === 1`)
	picker.examine(t, source, "play-idle")
	waiting := b.open(n.edge1 + "/play?stream=tomorrow")
	waiting.waitState("waiting")
	waiting.examine(t, source, "play-waiting")

	publisher := b.open(n.origin + "/publish?stream=clock&source=canvas&codec=VP8&simulcast=1")
	publisher.waitState("idle")
	eval[any](publisher, `void document.querySelectorAll("details").forEach((d) => { d.open = true; })`)
	publisher.examine(t, source, "publish-idle")
	publisher.requireKeyboard(t)
	eval[any](publisher, holdTickers)
	publisher.click("#start")
	publisher.wait(`delta.state === "publishing" && delta.stats?.layers.length === 3 && delta.stats.bitrate > 0`)
	eval[any](publisher, drawSlowly)
	eval[any](publisher, `void document.querySelectorAll("details").forEach((d) => { d.open = false; })`)
	publisher.examine(t, source, "publish-publishing")
	taken := b.open(n.origin + "/publish?stream=demo&source=canvas&autostart=1")
	taken.waitState("failed")
	taken.examine(t, source, "publish-error")

	two := b.open(n.origin + "/twoway?publish=one&play=one&source=canvas")
	two.wait(`!document.getElementById("nav-twoway").hidden`)
	two.examine(t, source, "twoway-idle")
	two.requireKeyboard(t)
	eval[any](two, holdTickers)
	two.click("#publish-start")
	two.wait(`delta.publish.state === "publishing"`)
	two.click("#play-start")
	two.wait(`delta.play.state === "playing" && delta.play.stats?.fps > 0 && delta.publish.stats?.fps > 0`)
	eval[any](two, drawSlowly)
	two.examine(t, source, "twoway-playing")

	n.kill()
	publisher.waitState("reconnecting")
	publisher.examine(t, source, "publish-reconnecting")
	player.waitState("reconnecting")
	player.examine(t, source, "play-reconnecting")
	console.waitState("offline")
	console.examine(t, source, "console-offline")
	two.wait(`delta.publish.state === "reconnecting" && delta.play.state === "reconnecting"`)
	two.examine(t, source, "twoway-error")
	n.start()
}

// axe finds what is wrong: a rule that cannot fail is worth nothing.
func TestAxeFindsFaults(t *testing.T) {
	source := axe(t)
	n := startThreenode(t, "-demo=false")
	p := newBrowser(t).open(n.origin + "/")
	p.waitState("live")
	eval[any](p, `(() => {
		const gray = document.createElement("p");
		gray.textContent = "hardly seen";
		gray.style.color = "#cccccc";
		document.querySelector("main").append(gray, document.createElement("input"), Object.assign(document.createElement("div"), {id: "wide"}));
		document.getElementById("wide").style.width = "2000px";
	})()`)
	eval[any](p, "void (() => {"+source+"\n})()")
	found := []string{}
	for _, v := range eval[[]violation](p, runAxe) {
		found = append(found, v.ID)
	}
	assert.ElementsMatch(t, []string{"color-contrast", "label"}, found)
	assert.NotEmpty(t, eval[[]string](p, tooWide))
}
