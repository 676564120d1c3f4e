package ctl

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn/admin"
)

// What others have named stays in its cell, and does not command the terminal.
func TestCellsAreText(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(admin.SessionPage{Sessions: []admin.Session{
			{ID: "s@n", Stream: "live", Action: "play", Subject: "a\tb\nc\x1b[2J\u009b1m", Tag: "tag"},
		}})
	}))
	defer server.Close()
	var out, errs bytes.Buffer
	none := func(string) string { return "" }
	require.Equal(t, OK, Run(t.Context(), []string{"sessions", "-url", server.URL}, none, &out, &errs), errs.String())
	require.Equal(t, 2, strings.Count(out.String(), "\n"), out.String())
	require.Contains(t, out.String(), "a?b?c?[2J?1m")
}

// A command line that is wrong asks nobody.
func TestWrongCommandLines(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("asked") }))
	defer server.Close()
	for _, line := range []string{
		"", "king", "kick", "kick a b", "limits", "limits n sessions", "limits n sessions=-1", "limits n king=1", "nodes -for x",
		"nodes -token-file /nowhere", "nodes -ca-file /nowhere",
	} {
		var out, errs bytes.Buffer
		args := append(strings.Fields(line), "-url", server.URL)
		code := Run(t.Context(), args, func(string) string { return "" }, &out, &errs)
		require.Equal(t, Usage, code, line)
		require.True(t, strings.HasPrefix(errs.String(), "deltanode ctl: "), errs.String())
		require.Empty(t, out.String())
	}
}

// docs/admin.md has a line for each command, and all of them are understood.
func TestLinesOfTheDocs(t *testing.T) {
	text, err := os.ReadFile("../../../docs/admin.md")
	require.NoError(t, err)
	used := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^# (deltanode ctl .*)$`).FindAllStringSubmatch(string(text), -1) {
		for line := range strings.SplitSeq(m[1], "; ") {
			c, err := parse(strings.Fields(line)[2:], func(string) string { return "" }, io.Discard)
			require.NoError(t, err, line)
			verb, ok := verbs[c.args[0]]
			require.True(t, ok, line)
			require.GreaterOrEqual(t, len(c.args)-1, verb.least, line)
			require.LessOrEqual(t, len(c.args)-1, verb.most, line)
			if c.args[0] == "limits" {
				_, err = parseLimits(c.args[2:])
				require.NoError(t, err, line)
			}
			used[c.args[0]] = true
		}
	}
	require.Len(t, used, len(verbs))
}
