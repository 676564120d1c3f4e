package main

import (
	"encoding/json"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	api "github.com/deltacdn/delta/cdn/admin"
	"github.com/deltacdn/delta/examples/deltanode/ctl"
	"github.com/deltacdn/delta/internal/freeport"
)

// ctl runs "deltanode ctl" with a node, and returns what it writes and its exit code.
func (p *process) ctl(t *testing.T, args ...string) (out string, code int) {
	cmd := exec.CommandContext(t.Context(), binary, append([]string{"ctl", "-url", p.admin}, args...)...)
	text, err := cmd.CombinedOutput()
	if err != nil {
		require.IsType(t, &exec.ExitError{}, err)
	}
	return string(text), cmd.ProcessState.ExitCode()
}

// An operator sees the whole network from one node, and changes it.
func TestCtl(t *testing.T) {
	ctx := within(t, time.Minute)
	secret := write(t, "secret", "known to these alone")
	o := launch(t, "-roles", "origin", "-name", "o", "-secret-file", secret)
	e := launch(t, "-roles", "edge", "-name", "e", "-secret-file", secret, "-entry", o.url)
	e.waitReady(t)
	pub := o.publish(ctx, t)
	v := e.view(ctx, t)

	var nodes string
	require.Eventually(t, func() bool {
		var code int
		nodes, code = e.ctl(t, "nodes")
		return code == ctl.OK && strings.Count(nodes, "current") == 2
	}, 10*time.Second, 200*time.Millisecond, "%s", &nodes)
	require.Regexp(t, `(?m)^o +current +origin `, nodes)
	for args, want := range map[string]string{
		"links": `(?m)^e +o .* live `, "streams": `(?m)^live +live +o +1 .* e,o$`, "sessions -action play": `(?m)^\S+@e +live +play`, "limits o": `(?m)^streams +1000$`,
	} {
		out, code := e.ctl(t, strings.Fields(args)...)
		require.Equal(t, ctl.OK, code, out)
		require.Regexp(t, want, out)
	}
	out, _ := e.ctl(t, "-json", "sessions", "-action", "play")
	var page api.SessionPage
	require.NoError(t, json.Unmarshal([]byte(out), &page), out)
	require.Len(t, page.Sessions, 1)

	out, code := o.ctl(t, "kick", page.Sessions[0].ID, "-reason", "enough")
	require.Equal(t, ctl.OK, code, out)
	require.NoError(t, v.WaitBye(ctx))
	out, code = e.ctl(t, "limits", "o", "viewers=5")
	require.Equal(t, ctl.OK, code, out)
	require.Regexp(t, `(?m)^viewers +5$`, out)

	out, code = e.ctl(t, "block", "live", "-for", "1h")
	require.Equal(t, ctl.OK, code, out)
	select {
	case <-pub.Done():
	case <-time.After(patience):
		t.Fatal("the publisher is still there")
	}
	_, err := o.tryPublish(t, "")
	require.ErrorIs(t, err, cdn.ErrForbidden)
	out, _ = o.ctl(t, "blocks")
	require.Regexp(t, `(?m)^block +live `, out)
	out, code = e.ctl(t, "unblock", "live")
	require.Equal(t, ctl.OK, code, out)
	o.publish(ctx, t)

	out, code = o.ctl(t, "drain", "e")
	require.Equal(t, ctl.OK, code, out)
	code, _ = get(t, e.url+"/readyz")
	require.Equal(t, http.StatusServiceUnavailable, code)
	_, code = o.ctl(t, "undrain", "e")
	require.Equal(t, ctl.OK, code)
	e.waitReady(t)
}

func TestCtlExitCodes(t *testing.T) {
	const token, reader = "0123456789abcdef", "fedcba9876543210"
	n := launch(t, "-name", "n", "-admin-token-file", write(t, "token", token), "-admin-read-token-file", write(t, "reader", reader))
	for args, want := range map[string]int{
		"nodes": ctl.Refused, "-token=" + token + " nodes": ctl.OK, "-token=" + reader + " nodes": ctl.OK,
		"-token=" + reader + " drain n": ctl.Refused, "-token=" + token + " kick nobody@n": ctl.NotFound,
		"-token=" + token + " limits n x=1": ctl.Usage, "king": ctl.Usage, "nodes more": ctl.Usage, "-x": ctl.Usage,
		"-url=http://127.0.0.1:9 nodes": ctl.NotReached, "": ctl.Usage, "-help": ctl.OK,
	} {
		out, code := n.ctl(t, strings.Fields(args)...)
		require.Equal(t, want, code, "%s: %s", args, out)
	}
	for header, want := range map[string]int{"": 401, "Bearer x": 401, "Bearer " + reader: 200, "Bearer " + token: 200, "Basic " + token: 401} {
		require.Equal(t, want, n.ask(t, "/status", header), header)
	}
	require.Equal(t, 200, n.ask(t, "/debug/pprof/cmdline", "Bearer "+token))
	require.Equal(t, 403, n.ask(t, "/debug/pprof/cmdline", "Bearer "+reader))
	require.Equal(t, 200, n.ask(t, "/healthz", ""))
	for _, path := range []string{"/", "/assets/console.js", "/status.json"} { // a person opens the console to show the token
		require.Equal(t, 200, n.ask(t, path, ""), path)
	}
}

// ask asks the listener for operators.
func (p *process) ask(t *testing.T, path, authorization string) (status int) {
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.admin+path, nil)
	require.NoError(t, err)
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	resp, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	_ = resp.Body.Close()
	return resp.StatusCode
}

// The metrics are with the operators, and not with the pages.
func TestMetrics(t *testing.T) {
	ctx := within(t, time.Minute)
	n := launch(t, "-name", "n", "-group", "eu")
	n.publish(ctx, t)
	n.view(ctx, t)
	code, text := get(t, n.admin+"/metrics")
	require.Equal(t, http.StatusOK, code)
	for _, line := range []string{`delta_node_info{group="eu",node="n"} 1`, `delta_sessions{action="play"} 1`, "go_goroutines ", "process_resident_memory_bytes "} {
		require.Contains(t, text, "\n"+line)
	}
	code, _ = get(t, n.url+"/metrics")
	require.Equal(t, http.StatusNotFound, code)
	code, text = get(t, n.admin+"/status.json")
	require.Equal(t, http.StatusOK, code)
	require.Contains(t, text, `"site":"`+n.url+`"`, "operators have the console there, too")
}

// Without a token the listener is for programs on this machine, and not for pages that a
// browser there shows.
func TestAdminIsNotForPages(t *testing.T) {
	n := launch(t, "-name", "n")
	for _, change := range []func(*http.Request){
		func(r *http.Request) { r.Host = "evil.example" },
		func(r *http.Request) { r.Host = "evil.example:9080" },
		func(r *http.Request) { r.Header.Set("Origin", "http://evil.example") },
	} {
		for _, path := range []string{"/status", "/debug/pprof/cmdline"} {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, n.admin+path, nil)
			require.NoError(t, err)
			change(r)
			resp, err := http.DefaultClient.Do(r)
			require.NoError(t, err)
			_ = resp.Body.Close()
			require.Contains(t, []int{http.StatusForbidden, http.StatusMisdirectedRequest}, resp.StatusCode)
		}
	}
	require.Equal(t, 200, n.ask(t, "/debug/pprof/cmdline", ""))
}

// The pages' listener answers operators with a token only: a proxy in front of it may
// look like a program on the machine. The console there asks for the network then alone.
func TestAdminAtThePages(t *testing.T) {
	const secret = "0123456789abcdef0123"
	token := write(t, "token", secret)
	for _, tc := range []struct {
		args []string
		want int
	}{
		{nil, http.StatusNotFound},
		{[]string{"-url", "https://live.example.com"}, http.StatusNotFound},
		{[]string{"-admin-token-file", token}, http.StatusUnauthorized},
		{[]string{"-proxy", "127.0.0.1", "-admin-token-file", token}, http.StatusUnauthorized},
		{[]string{"-admin-pages=false", "-admin-token-file", token}, http.StatusNotFound},
	} {
		addr := freeport.Addr(t) // the start line has the public URL
		launch(t, append([]string{"-name", "n", "-http", addr, "-udp", "127.0.0.1:0"}, tc.args...)...)
		code, _ := get(t, "http://"+addr+"/api/v1/network")
		require.Equal(t, tc.want, code, tc.args)
		_, text := get(t, "http://"+addr+"/status.json")
		if tc.want == http.StatusNotFound {
			require.Contains(t, text, `"network":""`, tc.args)
			continue
		}
		require.Contains(t, text, `"network":"operators"`, tc.args)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/api/v1/network", nil)
		require.NoError(t, err)
		r.Header.Set("Authorization", "Bearer "+secret)
		resp, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		_ = resp.Body.Close()
		require.Equal(t, http.StatusOK, resp.StatusCode)
	}
}
