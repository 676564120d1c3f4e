package clients

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/websocket"
)

func findFirefox(t *testing.T) string {
	for _, name := range []string{"firefox-esr", "firefox"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	missing(t, "Firefox", "apt-get install firefox-esr")
	return ""
}

// preferences give a camera that needs no consent, and keep Firefox from calling
// home. What decides about addresses and codecs is as everybody has it.
var preferences = map[string]any{
	"media.navigator.streams.fake":                  true,
	"media.navigator.permission.disabled":           true,
	"media.autoplay.default":                        0,
	"media.gmp-manager.updateEnabled":               false,
	"app.normandy.enabled":                          false,
	"browser.safebrowsing.malware.enabled":          false,
	"browser.safebrowsing.phishing.enabled":         false,
	"datareporting.policy.dataSubmissionEnabled":    false,
	"extensions.update.enabled":                     false,
	"extensions.systemAddon.update.enabled":         false,
	"network.captive-portal-service.enabled":        false,
	"network.connectivity-service.enabled":          false,
	"services.settings.server":                      "data:,#remote-settings-dummy/v1",
	"toolkit.telemetry.server":                      "",
	"browser.startup.page":                          0,
	"security.sandbox.warn_unprivileged_namespaces": false,
}

// firefox is driven by WebDriver BiDi, https://www.w3.org/TR/webdriver-bidi/.
type firefox struct {
	conn *websocket.Conn
	last int
}

// pagesOrigin is what our websocket says it comes from. Firefox lets nobody in whom
// it was not told of.
const pagesOrigin = "http://delta.test"

func startFirefox(t *testing.T) browser { return launchFirefox(t, here{}) }

// launchFirefox starts it on a host.
func launchFirefox(t *testing.T, on host) browser {
	profile := t.TempDir()
	var prefs strings.Builder
	for name, value := range preferences {
		text, err := json.Marshal(value)
		require.NoError(t, err)
		fmt.Fprintf(&prefs, "user_pref(%q, %s);\n", name, text)
	}
	require.NoError(t, os.WriteFile(filepath.Join(profile, "user.js"), []byte(prefs.String()), 0o600))
	cmd := exec.Command(findFirefox(t), "--headless", "--no-remote", "--profile", profile, "--remote-debugging-port", "0",
		"--remote-allow-origins", pagesOrigin)
	cmd.Env = append(os.Environ(), "MOZ_HEADLESS=1", "HOME="+profile, "MOZ_CRASHREPORTER_DISABLE=1")
	out, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, on.Start(cmd))
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	config, err := websocket.NewConfig(listening(t, out)+"/session", pagesOrigin)
	require.NoError(t, err)
	tcp, err := on.Dial(t.Context(), config.Location.Host)
	require.NoError(t, err)
	conn, err := websocket.NewClient(config, tcp)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	f := &firefox{conn: conn}
	f.command(t, "session.new", map[string]any{"capabilities": map[string]any{}}, nil)
	return f
}

// listening reads the address of the BiDi server, which Firefox prints, and then
// everything else.
func listening(t *testing.T, out io.Reader) string {
	const marker = "WebDriver BiDi listening on "
	found, said := make(chan string, 1), &bytes.Buffer{}
	go func() {
		defer close(found)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if _, address, ok := strings.Cut(lines.Text(), marker); ok {
				found <- strings.TrimSpace(address)
				_, _ = io.Copy(io.Discard, out)
				return
			}
			said.WriteString(lines.Text() + "\n")
		}
	}()
	select {
	case address, ok := <-found:
		require.True(t, ok, "Firefox ended: %s", said)
		return address
	case <-time.After(patience):
		t.Fatal("Firefox does not listen")
		return ""
	}
}

// command sends one command and reads its result.
func (f *firefox) command(t *testing.T, method string, params, result any) {
	t.Helper()
	f.last++
	require.NoError(t, websocket.JSON.Send(f.conn, map[string]any{"id": f.last, "method": method, "params": params}))
	require.NoError(t, f.conn.SetReadDeadline(time.Now().Add(patience)))
	for {
		var answer struct {
			ID      int             `json:"id"`
			Type    string          `json:"type"`
			Result  json.RawMessage `json:"result"`
			Message string          `json:"message"`
		}
		require.NoError(t, websocket.JSON.Receive(f.conn, &answer), method)
		if answer.ID != f.last {
			continue // an event
		}
		require.Equal(t, "success", answer.Type, "%s: %s", method, answer.Message)
		if result != nil {
			require.NoError(t, json.Unmarshal(answer.Result, result))
		}
		return
	}
}

func (f *firefox) open(t *testing.T, url string) page {
	var created struct{ Context string }
	f.command(t, "browsingContext.create", map[string]any{"type": "tab"}, &created)
	f.command(t, "browsingContext.navigate", map[string]any{"context": created.Context, "url": url, "wait": "complete"}, nil)
	return firefoxTab{f, created.Context}
}

type firefoxTab struct {
	*firefox
	context string
}

func (f firefoxTab) eval(t *testing.T, expression string) string {
	t.Helper()
	var done struct {
		Type             string
		Result           struct{ Value string }
		ExceptionDetails struct{ Text string }
	}
	f.command(t, "script.evaluate", map[string]any{
		"expression": expression, "target": map[string]any{"context": f.context}, "awaitPromise": true,
	}, &done)
	require.Equal(t, "success", done.Type, "%s: %s", expression, done.ExceptionDetails.Text)
	return done.Result.Value
}
