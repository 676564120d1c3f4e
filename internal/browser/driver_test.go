package browser

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// patience bounds every wait. It is not asserted: a slow machine only waits.
const patience = 45 * time.Second

// A browser is a Chromium with a profile of its own.
type browser struct {
	t      *testing.T
	ctx    context.Context
	errors *errorLog
}

// flags for every browser: no traffic of its own, a camera that needs no one's
// consent, sound without a click.
var flags = map[string]any{
	"headless": "new", "disable-quic": true, "disable-background-networking": true,
	"disable-component-update": true, "disable-sync": true,
	"use-fake-device-for-media-stream": "fps=30", "use-fake-ui-for-media-stream": true,
	"autoplay-policy": "no-user-gesture-required",
}

func chromium(t *testing.T) string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("DELTA_REQUIRE_BROWSER") != "" {
		t.Fatal("no Chromium, and DELTA_REQUIRE_BROWSER is set")
	}
	t.Skip("no Chromium on this machine (Debian: apt-get install chromium)")
	return ""
}

// newBrowser starts a Chromium, without the flags named.
func newBrowser(t *testing.T, without ...string) *browser { return newBrowserWith(t, nil, without...) }

// newBrowserWith starts a Chromium with more flags, and without those named.
func newBrowserWith(t *testing.T, more map[string]any, without ...string) *browser {
	opts := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(chromium(t)), chromedp.NoSandbox, chromedp.UserDataDir(t.TempDir()),
		chromedp.WindowSize(1280, 900))
flags:
	for name, value := range flags {
		for _, w := range without {
			if w == name {
				continue flags
			}
		}
		opts = append(opts, chromedp.Flag(name, value))
	}
	for name, value := range more {
		opts = append(opts, chromedp.Flag(name, value))
	}
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), opts...)
	t.Cleanup(cancel)
	ctx, stop := chromedp.NewContext(ctx)
	t.Cleanup(stop)
	require.NoError(t, chromedp.Do(ctx), "start Chromium")
	b := &browser{t, ctx, &errorLog{}}
	t.Cleanup(func() { // while the pages are open
		for _, line := range b.errors.take() {
			t.Errorf("a page logged an error: %s", line)
		}
	})
	return b
}

// A page is a tab.
type page struct {
	t     *testing.T
	ctx   context.Context
	close context.CancelFunc
}

// open shows url in a new tab. Errors that the page logs fail the test: see [errorLog].
func (b *browser) open(url string) *page {
	b.t.Helper()
	ctx, cancel := chromedp.NewContext(b.ctx, chromedp.WithListener(b.errors.listener(url)))
	b.t.Cleanup(cancel)
	require.NoError(b.t, chromedp.Do(ctx, chromedp.Navigate(url)))
	return &page{b.t, ctx, cancel}
}

// wait waits until the JavaScript expression is true.
func (p *page) wait(expression string) {
	p.t.Helper()
	p.waitFor(patience, expression)
}

// waitFor is wait with a patience of its own. The page keeps it, and we do where the page
// does not come to that.
func (p *page) waitFor(patience time.Duration, expression string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, 2*patience)
	defer cancel()
	_, err := chromedp.Run(ctx, chromedp.Poll[chromedp.Void]("("+expression+")",
		chromedp.WithPollingInterval(100*time.Millisecond), chromedp.WithPollingTimeout(patience)))
	if err != nil {
		ctx, cancel := context.WithTimeout(p.ctx, patience)
		defer cancel()
		state, _ := chromedp.Run(ctx, chromedp.Evaluate[string](`document.body.dataset.state + " " + document.body.innerText + JSON.stringify(window.delta && delta.stats)`))
		p.shoot("failed")
		require.NoError(p.t, err, "waiting for %s; the page says: %s", expression, state)
	}
}

func (p *page) waitState(state string) {
	p.t.Helper()
	p.wait(`document.body.dataset.state === "` + state + `"`)
}

// eval returns the value of a JavaScript expression, or of its promise.
func eval[T any](p *page, expression string) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, 2*patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	require.NoError(p.t, err, expression)
	return v
}

// shoot keeps a screenshot.
func (p *page) shoot(name string) {
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	p.keep(name, png, err)
}

// keep writes a screenshot to the artifacts.
func (p *page) keep(name string, png []byte, err error) {
	dir := os.Getenv("DELTA_ARTIFACTS")
	if dir == "" {
		dir = "artifacts"
	}
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err == nil {
		name = strings.ReplaceAll(p.t.Name(), "/", "_") + "_" + name + ".png"
		err = os.WriteFile(filepath.Join(dir, name), png, 0o644)
	}
	if err != nil {
		p.t.Logf("no screenshot: %v", err)
	}
}
