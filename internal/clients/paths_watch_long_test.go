//go:build long

package clients

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// watchers are the clients of the table. Each run starts its own.
func watchers() map[string]func() watcher {
	return map[string]func() watcher{
		"chromium": func() watcher { return &tab{start: chromiumAtHome} },
		"firefox": func() watcher {
			return &tab{start: func(t *testing.T, h *home) browser { return launchFirefox(t, h.viewer) }}
		},
		"aiortc": func() watcher { return &scriptWatcher{} },
	}
}

// A tab is a page of a browser.
type tab struct {
	start func(t *testing.T, h *home) browser
	url   string
	page  page
}

func (w *tab) ready(t *testing.T, h *home) {
	w.url = h.url + "/whep/" + stream
	w.page = w.start(t, h).open(t, h.url+"/")
	require.Eventually(t, func() bool { return w.page.eval(t, `String(typeof client)`) == "object" }, patience, pollInterval)
}

func (w *tab) watch(t *testing.T) {
	require.Equal(t, "ok", w.page.eval(t, `client.watch("`+w.url+`")`))
}

func (w *tab) seen(t *testing.T) (s seen) {
	require.NoError(t, json.Unmarshal([]byte(w.page.eval(t, `client.seen()`)), &s))
	require.Equal(t, "ok", w.page.eval(t, `client.stop()`))
	return s
}

// chromiumAtHome starts Chromium in the viewer's namespace. Its driver talks to it by a
// pipe.
func chromiumAtHome(t *testing.T, h *home) browser {
	wrapper := filepath.Join(t.TempDir(), "chromium")
	script := "#!/bin/sh\nexec nsenter --net=" + h.viewer.File() + " -- " + findChromium(t) + ` "$@"` + "\n"
	require.NoError(t, os.WriteFile(wrapper, []byte(script), 0o755))
	return launchChromium(t, wrapper)
}

// scriptWatcher is aiortc.
type scriptWatcher struct {
	home    *home
	process *process
}

func aiortc() script {
	return pythonScript("aiortc", "aiortc_client.py", "import aiortc, aiohttp", "python3-aiortc python3-aiohttp")
}

func (w *scriptWatcher) ready(t *testing.T, h *home) {
	aiortc().command(t) // or it skips
	w.home = h
}

func (w *scriptWatcher) watch(t *testing.T) {
	w.process = aiortc().run(t, w.home.viewer, "watch", w.home.url+"/whep/"+stream)
}

func (w *scriptWatcher) seen(t *testing.T) (all seen) {
	w.process.mu.Lock()
	lines := slices.Clone(w.process.lines)
	w.process.mu.Unlock()
	for _, line := range lines {
		var s seen
		require.NoError(t, json.Unmarshal(line, &s), "%s", line)
		all.Samples = append(all.Samples, s.Samples...)
		all.Frames = append(all.Frames, s.Frames...)
	}
	w.process.stop(t)
	return all
}

// versionOf says which client is installed.
func versionOf(t *testing.T, name string) string {
	switch name {
	case "aiortc":
		return aiortc().version(t)
	case "firefox":
		name = findFirefox(t)
	case "chromium":
		name = findChromium(t)
	}
	out, err := exec.Command(name, "--version").Output()
	require.NoError(t, err)
	return strings.TrimSpace(string(out))
}
