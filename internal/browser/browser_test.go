package browser

import (
	"context"
	"math"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/demo/web/webtest"
	"github.com/deltacdn/delta/origin"
)

// grab returns the picture that a player shows, 32 x 18 grey values.
const grab = `(() => {
	const c = document.createElement("canvas");
	c.width = 32; c.height = 18;
	const g = c.getContext("2d");
	g.drawImage(document.getElementById("video"), 0, 0, 32, 18);
	const d = g.getImageData(0, 0, 32, 18).data, out = [];
	for (let i = 0; i < d.length; i += 4) out.push(d[i] + d[i+1] + d[i+2]);
	return out;
})()`

// distance is the mean difference of two pictures, 0 to 765.
func distance(a, b []float64) float64 {
	sum := 0.0
	for i := range a {
		sum += math.Abs(a[i] - b[i])
	}
	return sum / float64(len(a))
}

// requireMoving: frames are decoded, and the picture changes.
func requireMoving(t *testing.T, p *page) {
	t.Helper()
	p.waitState("playing")
	p.wait(`delta.stats && delta.stats.decoded > 0`)
	before, picture := eval[float64](p, `delta.stats.decoded`), eval[[]float64](p, grab)
	p.wait(`delta.stats.decoded > ` + format(before+30))
	require.Greater(t, distance(picture, eval[[]float64](p, grab)), 0.5, "the picture stands still")
}

// requireSame: both players show one stream. Grabs of one instant are nearer to
// each other than those of one player a second apart.
func requireSame(t *testing.T, a, b *page) {
	t.Helper()
	same, moved := math.Inf(1), 0.0
	for range 5 {
		pa, pb := eval[[]float64](a, grab), eval[[]float64](b, grab)
		same = min(same, distance(pa, pb))
		shown := eval[float64](a, `delta.frames`)
		a.wait(`delta.frames > ` + format(shown+25))
		moved = max(moved, distance(pa, eval[[]float64](a, grab)))
	}
	require.Less(t, same, moved, "the players show different pictures")
}

func TestDemoPlaysOnBothEdges(t *testing.T) {
	n := startThreenode(t)
	b := newBrowser(t)
	one, two := b.open(n.edge1+"/play?stream=demo"), b.open(n.edge2+"/play?stream=demo")
	requireMoving(t, one)
	requireMoving(t, two)
	requireSame(t, one, two)
	for _, p := range []*page{one, two} {
		p.wait(`delta.stats.audioPackets > 50`)
		require.Zero(t, eval[float64](p, `delta.stats.lost`))
		require.Equal(t, 640.0, eval[float64](p, `delta.stats.width`))
		require.Equal(t, "VP8", eval[string](p, `delta.stats.codec`))
		p.shoot("playing")
	}
	console := b.open(n.origin + "/")
	console.wait(`document.body.innerText.includes("demo") && document.body.innerText.includes("published here")`)
	console.shoot("console")
}

func TestCamera(t *testing.T) {
	for _, codec := range []string{"VP8", "H264"} {
		t.Run(codec, func(t *testing.T) { testCamera(t, codec) })
	}
}

func testCamera(t *testing.T, codec string) {
	n := startThreenode(t, "-demo=false")
	b := newBrowser(t)
	b.errors.allow(refused)
	address := n.origin + "/publish?stream=live/cam&source=camera&autostart=1&codec=" + codec
	publisher := b.open(address)
	publisher.waitState("publishing")
	one, two := b.open(n.edge1+"/play?stream=live/cam"), b.open(n.edge2+"/play?stream=live/cam")
	requireMoving(t, one)
	requireMoving(t, two)
	requireSame(t, one, two)
	require.Equal(t, codec, eval[string](one, `delta.stats.codec`))
	publisher.shoot("publishing")
	one.shoot("playing")

	eval[any](publisher, `document.getElementById("stop").click()`)
	for _, p := range []*page{one, two} {
		p.wait(`document.body.dataset.state !== "playing"`)
		p.wait(`/ended|not there|waiting/i.test(document.body.innerText)`)
		p.wait(`performance.getEntriesByType("resource").some((r) => /\/-\/\w+\/events\/1$/.test(r.name))`) // the event stream, which is over
	}
	one.shoot("ended")

	publisher.close()
	again := b.open(address)
	again.waitState("publishing")
	requireMoving(t, one)
	requireMoving(t, two)
	again.close() // a page that is closed says goodbye, too
	one.wait(`document.body.dataset.state !== "playing"`)
}

// The drawn clock crosses a relay and an edge, and the player reads the true
// latency from it.
func TestLatencyIsReadFromTheClock(t *testing.T) {
	n := startThreenode(t, "-relay", "-demo=false")
	b := newBrowser(t)
	publisher := b.open(n.origin + "/publish?stream=clock&source=canvas&codec=VP8&autostart=1")
	publisher.waitState("publishing")
	player := b.open(n.edge1 + "/play?stream=clock")
	requireMoving(t, player)
	player.wait(`delta.latency.samples > 30`)
	p50 := eval[float64](player, `delta.latency.p50`)
	require.Greater(t, p50, 0.0)
	t.Logf("glass to glass through a relay and an edge: p50 %.1f ms, p95 %.1f ms; first picture after %.0f ms",
		p50, eval[float64](player, `delta.latency.p95`), eval[float64](player, `delta.firstFrame`))
	player.shoot("clock")
	relay := b.open(n.relay + "/")
	relay.wait(`document.body.innerText.includes("clock")`)
	relay.shoot("console")
}

func TestSimulcast(t *testing.T) {
	n := startThreenode(t, "-demo=false")
	b := newBrowser(t)
	publisher := b.open(n.origin + "/publish?stream=layers&source=canvas&codec=VP8&simulcast=1&autostart=1")
	publisher.waitState("publishing")
	publisher.wait(`document.querySelectorAll("#layers tr[data-rid]").length === 3`)
	best := b.open(n.edge1 + "/play?stream=layers")
	requireMoving(t, best)
	best.wait(`delta.stats.width >= 1280`)
	low := b.open(n.edge1 + "/play?stream=layers&layer=l")
	requireMoving(t, low)
	require.Less(t, eval[float64](low, `delta.stats.width`), 1280.0)
	names := eval[[]string](low, `fetch("/status.json").then(r => r.json()).then(s =>
		s.streams[0].tracks.find(t => t.kind === "video").layers.map(l => l.name))`)
	require.ElementsMatch(t, []string{"l", "m", "h"}, names)
	best.shoot("best")
	low.shoot("low")
}

// A browser without leave for the camera hides its addresses behind .local
// names, which we cannot resolve, and need not.
func TestHiddenAddresses(t *testing.T) {
	n := startThreenode(t)
	b := newBrowser(t, "use-fake-ui-for-media-stream", "use-fake-device-for-media-stream")
	p := b.open(n.edge1 + "/play?stream=demo")
	requireMoving(t, p)
}

// Players come back by themselves when the nodes were gone.
func TestNodesComeBack(t *testing.T) {
	n := startThreenode(t)
	b := newBrowser(t)
	b.errors.allow(lost, refused)
	p := b.open(n.edge1 + "/play?stream=demo")
	requireMoving(t, p)
	n.kill()
	p.wait(`document.body.dataset.state !== "playing"`)
	n.start()
	requireMoving(t, p)
}

func TestRefusalIsShown(t *testing.T) {
	n := startThreenode(t)
	b := newBrowser(t)
	b.errors.allow(refused)
	p := b.open(n.edge1 + "/play?stream=nothing")
	p.waitState("waiting")
	second := b.open(n.origin + "/publish?stream=demo&source=canvas&autostart=1")
	second.waitState("failed")
	second.wait(`/already/i.test(document.getElementById("reason").innerText)`)
	second.shoot("refused")
}

// Where a browser can play the sound of a stream alone, its page says which codec the
// picture has and which ones the browser plays, and stays at that. The sound plays.
func TestAMismatchIsShown(t *testing.T) {
	chromium(t)
	n := webtest.New(t, "127.0.0.1:0")
	o, e := n.Origin("origin"), n.Viewing("edge")
	pub, err := o.Live.Publish(t.Context(), origin.PublishRequest{Stream: "odd", Tracks: []cdn.TrackInfo{
		{Codec: cdn.Codec{MimeType: "audio/opus"}},
		{Codec: cdn.Codec{MimeType: "video/H265", Fmtp: "profile-id=4"}}, // that of no browser
	}})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var sound sync.WaitGroup
	sound.Go(func() {
		for ; ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
			_ = pub.Track("audio").WriteSample([]byte{0xf8, 0xff, 0xfe}, 20*time.Millisecond) // silence
		}
	})
	defer func() {
		cancel()
		sound.Wait()
		_ = pub.Close()
	}()

	b := newBrowser(t)
	b.errors.allow(refused) // the first session is answered ahead of the stream, and over at once
	begun := time.Now()
	p := b.open(e.URL + "/play?stream=odd")
	p.waitState("unplayable")
	t.Logf("told after %.1f s", time.Since(begun).Seconds())
	require.NotEqual(t, "not-connected", eval[string](p, `delta.problem?.code ?? ""`), "the page waits for a session that is over")
	for range 2 { // nor does it change its mind
		message := eval[string](p, `document.getElementById("message").innerText`)
		require.Regexp(t, `^The stream's video is video/H265[^.]*\. This browser plays .*video/VP8.*\. Use another browser,`, message)
		heard := eval[float64](p, `delta.stats?.audioPackets ?? 0`)
		p.wait(`delta.stats?.audioPackets > ` + format(heard+150))
		require.Equal(t, "unplayable", eval[string](p, `document.body.dataset.state`))
	}
	p.shoot("unplayable")
}

func format(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }
