package clients

import (
	"context"
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// A browser shows pages. eval returns the value of a JavaScript expression, or of
// its promise, which is a string.
type browser interface {
	open(t *testing.T, url string) page
}

type page interface {
	eval(t *testing.T, expression string) string
}

// browserClient is a browser that runs the page in the folder page. It is started
// once for a test and its subtests, by the first of them that asks for its version.
type browserClient struct {
	find  func(t *testing.T) string // the program, or it skips the test
	start func(t *testing.T) browser

	running browser
}

func (b *browserClient) version(t *testing.T) string {
	b.running = b.start(t)
	out, err := exec.Command(b.find(t), "--version").Output()
	require.NoError(t, err)
	return strings.TrimSpace(string(out))
}

func (b *browserClient) publish(t *testing.T, on *place, path string) session {
	return b.run(t, on, `client.publish("`+path+`")`)
}

func (b *browserClient) play(t *testing.T, on *place, path string) session {
	return b.run(t, on, `client.play("`+path+`")`)
}

func (b *browserClient) run(t *testing.T, on *place, action string) session {
	p := b.running.open(t, on.url+"/")
	require.Eventually(t, func() bool { return p.eval(t, `String(typeof client)`) == "object" }, patience, pollInterval)
	action = strings.ReplaceAll(action, `("/`, `(location.origin + "/`)
	require.Equal(t, "ok", p.eval(t, action))
	return pageSession{p}
}

type pageSession struct{ page }

func (s pageSession) read(t *testing.T) (c counts) {
	require.NoError(t, json.Unmarshal([]byte(s.eval(t, `client.counts()`)), &c))
	return c
}

func (s pageSession) stop(t *testing.T) { require.Equal(t, "ok", s.eval(t, `client.stop()`)) }

func findChromium(t *testing.T) string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	missing(t, "Chromium", "apt-get install chromium")
	return ""
}

// chromium is driven by its DevTools protocol.
type chromium struct{ ctx context.Context }

func startChromium(t *testing.T) browser { return launchChromium(t, findChromium(t)) }

// launchChromium starts the program at a path.
func launchChromium(t *testing.T, path string) browser {
	flags := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.UserDataDir(t.TempDir()))
	for name, value := range map[string]any{
		"headless": "new", "disable-quic": true, "disable-background-networking": true,
		"disable-component-update": true, "disable-sync": true,
		"use-fake-device-for-media-stream": "fps=30", "use-fake-ui-for-media-stream": true,
		"autoplay-policy": "no-user-gesture-required",
	} {
		flags = append(flags, chromedp.Flag(name, value))
	}
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), flags...)
	t.Cleanup(cancel)
	ctx, stop := chromedp.NewContext(ctx)
	t.Cleanup(stop)
	require.NoError(t, chromedp.Do(ctx), "start Chromium")
	return chromium{ctx}
}

func (c chromium) open(t *testing.T, url string) page {
	ctx, cancel := chromedp.NewContext(c.ctx)
	t.Cleanup(cancel)
	require.NoError(t, chromedp.Do(ctx, chromedp.Navigate(url)))
	return chromium{ctx}
}

func (c chromium) eval(t *testing.T, expression string) string {
	v, err := chromedp.Run(c.ctx, chromedp.Evaluate[string](expression, chromedp.EvalAwaitPromise))
	require.NoError(t, err, expression)
	return v
}
