package browser

import (
	"bytes"
	"cmp"
	"context"
	"image"
	"image/jpeg"
	"math"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	protocol "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/demo/web/webtest"
)

// startNetwork starts an origin, at which the countdown clip is published, and two edges.
func startNetwork(t *testing.T, token string) (e1, e2 *webtest.Node) {
	chromium(t) // skip before anything is started
	n := webtest.New(t, "127.0.0.1:0")
	n.Token = token
	o := n.Origin("origin")
	e1, e2 = n.Viewing("edge1"), n.Viewing("edge2")
	n.Publish(o, "demo")
	return e1, e2
}

// A lead is one drain, seen from the page.
type lead struct {
	from, to *webtest.Node
	refused  int    // how often the other edge does not take the page
	by       string // what the frames are compared by
	atMost   time.Duration
}

// drain drains an edge at which the page plays: the picture goes over to the other one,
// and nobody who looks and listens notices.
func (l lead) drain(t *testing.T, p *page) {
	moves, attempts := eval[float64](p, `delta.moves`), eval[float64](p, `delta.attempts`)
	l.to.Refuse.Store(int32(l.refused))
	eval[any](p, webtest.Forget)
	require.Equal(t, []int{1, 0}, []int{l.from.Viewers("demo"), l.to.Viewers("demo")})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // in the first 10 s the page is told
	defer cancel()
	begun := time.Now()
	require.NoError(t, l.from.Drain(ctx), "nobody is left")
	t.Logf("%s is empty after %v", l.from.ID(), time.Since(begun))
	require.Equal(t, []int{0, 1}, []int{l.from.Viewers("demo"), l.to.Viewers("demo")})
	p.wait(`delta.moves === ` + format(moves+1))
	time.Sleep(2 * time.Second)
	seen, m := eval[webtest.Recording](p, `seen`), eval[webtest.Move](p, webtest.LastMove)
	still, missing := seen.Pauses(m.At-m.Took-1000, m.At+1500)
	t.Logf("compared by %s for %.0f ms, stood for %.0f ms: a frame stood still for %v at most, %v were left out at most, %.0f ms without sound",
		m.By, m.Took, m.Stood, still, missing, seen.Silent)
	assert.Empty(t, seen.Unnoticed(m, l.atMost))
	require.Equal(t, l.by, m.By)
	require.Equal(t, attempts+1+float64(l.refused), eval[float64](p, `delta.attempts`))
	require.True(t, eval[bool](p, `delta.location.startsWith("`+l.to.URL+`/") && delta.pc.connectionState === "connected"`))
	require.Equal(t, []any{false, 0.4, true}, eval[[]any](p, `(v => [v.muted, v.volume, document.getElementById("spare").muted])(document.getElementById("video"))`))
	p.wait(`document.getElementById("node-name").innerText === "` + string(l.to.ID()) + `"`)
	p.shoot(string(l.to.ID()))
	l.from.Undrain()
}

// An edge is drained while the page plays: the picture goes over to another edge, and
// back when that is drained.
func TestAnEdgeDrains(t *testing.T) {
	e1, e2 := startNetwork(t, "")
	b := newBrowser(t)
	b.errors.allow(refused)
	p := b.open(e1.URL + "/play?stream=demo")
	requireMoving(t, p)
	eval[any](p, `(volume => { volume.value = 40; volume.dispatchEvent(new Event("input")); })(document.getElementById("volume"))`)
	require.True(t, eval[bool](p, webtest.Record))
	const bar = 250 * time.Millisecond
	lead{from: e1, to: e2, by: "picture", atMost: bar}.drain(t, p)
	lead{from: e2, to: e1, by: "picture", atMost: bar, refused: 2}.drain(t, p)
	// Where the nodes send different layers, say, no two pictures are the same. What is
	// compared then is less exact, and a margin is left.
	eval[any](p, `import("/assets/frames.js").then(({Printer}) => { Printer.prototype.print = Math.random; })`)
	lead{from: e1, to: e2, by: "capture", atMost: 2 * bar}.drain(t, p)
	require.Zero(t, eval[float64](p, `delta.reconnects`))
}

// A page that listens to no events stays until the deadline. Then it comes back by
// itself: its node sends it elsewhere, and it shows its token there.
func TestAnEdgeDrainsUnheard(t *testing.T) {
	const token = "let-me-in"
	e1, e2 := startNetwork(t, token)
	b := newBrowser(t)
	b.errors.allow(refused)
	p := b.open(e1.URL + "/play?stream=demo&events=0#token=" + token)
	requireMoving(t, p)
	require.True(t, eval[bool](p, webtest.Record))
	time.Sleep(time.Second)
	before := len(eval[webtest.Recording](p, `seen`).Frames) // how many the machine has time for
	require.Positive(t, before)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	over := make(chan error, 1)
	go func() { over <- e1.Drain(ctx) }()
	time.Sleep(3 * time.Second)
	seen := eval[webtest.Recording](p, `seen`)
	require.Empty(t, seen.States)
	require.NoError(t, seen.Forward())
	require.Greater(t, len(seen.Frames)-before, before, "it plays on")
	require.ErrorIs(t, <-over, context.DeadlineExceeded)
	begun := time.Now()
	p.wait(`delta.reconnects === 1`)
	t.Logf("it is back after %v", time.Since(begun))
	require.Zero(t, e1.Viewers("demo"))
	requireMoving(t, p)
	require.True(t, eval[bool](p, `delta.location.startsWith("`+e2.URL+`/")`))
	require.Equal(t, 1, e2.Viewers("demo"))
	require.Zero(t, eval[float64](p, `delta.moves`))
	require.Equal(t, 2.0, eval[float64](p, `delta.attempts`))
	require.Contains(t, eval[webtest.Recording](p, `seen`).States, "reconnecting")
}

// What the browser draws in the end shows no older frame either: not for the moment in
// which one <video> takes the place of the other.
func TestNoOlderFrameIsDrawn(t *testing.T) {
	e1, e2 := startNetwork(t, "")
	b := newBrowser(t)
	b.errors.allow(refused)
	p := b.open(e1.URL + "/play?stream=demo")
	requireMoving(t, p)
	stop := p.cast()
	for i, from := range []*webtest.Node{e1, e2, e1} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		require.NoError(t, from.Drain(ctx))
		cancel()
		from.Undrain()
		p.wait(`delta.moves === ` + strconv.Itoa(i+1))
		t.Log(eval[string](p, `JSON.stringify(delta.lastMove)`))
	}
	time.Sleep(time.Second)
	frames := stop()
	t.Logf("%d pictures of the page", len(frames))
	require.Greater(t, len(frames), 50)
	for i, f := range frames[1:] {
		require.GreaterOrEqual(t, webtest.Step(frames[i], f), 0, "frame %d after frame %d", f, frames[i])
	}
}

// cast takes pictures of the page as the browser draws them. stop returns which frames
// of the clip are in them.
func (p *page) cast() (stop func() []int) {
	place := eval[[5]float64](p, `(r => [r.x, r.y, r.width, r.height, innerWidth])(document.getElementById("video").getBoundingClientRect())`)
	drawn, done := make(chan *protocol.EventScreencastFrame, 100), make(chan struct{})
	require.NoError(p.t, chromedp.Listen(p.ctx, func(e any) {
		if e, ok := e.(*protocol.EventScreencastFrame); ok {
			select {
			case drawn <- e:
			case <-done:
			}
		}
	}))
	var all []*protocol.EventScreencastFrame
	var work sync.WaitGroup
	work.Go(func() {
		for {
			select {
			case e := <-drawn:
				all = append(all, e)
				_, _ = chromedp.Call(p.ctx, protocol.ScreencastFrameAck, protocol.ScreencastFrameAckParams{SessionID: e.SessionID})
			case <-done:
				return
			}
		}
	})
	quality := int64(70)
	_, err := chromedp.Call(p.ctx, protocol.StartScreencast, protocol.StartScreencastParams{Format: "jpeg", Quality: &quality})
	require.NoError(p.t, err)
	return func() (frames []int) {
		_, err := chromedp.Call(p.ctx, protocol.StopScreencast, cdp.Empty{})
		require.NoError(p.t, err)
		close(done)
		work.Wait()
		// Several are compressed at once, and not all in the same time.
		slices.SortStableFunc(all, func(a, b *protocol.EventScreencastFrame) int {
			return cmp.Compare(a.Metadata.Timestamp, b.Metadata.Timestamp)
		})
		for _, e := range all {
			img, err := jpeg.Decode(bytes.NewReader(e.Data))
			require.NoError(p.t, err)
			at := func(i int) int { return int(math.Round(place[i] * float64(img.Bounds().Dx()) / place[4])) }
			n, ok := webtest.Countdown(img, image.Rect(at(0), at(1), at(0)+at(2), at(1)+at(3)))
			require.True(p.t, ok, "a picture without a number")
			frames = append(frames, n)
		}
		return frames
	}
}
