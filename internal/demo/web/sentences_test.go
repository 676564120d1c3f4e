package web

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
)

// Each code that a server may answer with has a sentence on the pages, and nothing else
// has: docs/problems.md lists them.
func TestEachProblemHasASentence(t *testing.T) {
	docs, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "problems.md"))
	require.NoError(t, err)
	code, err := files.ReadFile("assets/sentences.js")
	require.NoError(t, err)
	_, table, _ := strings.Cut(string(code), "export const problems = {")
	table, _, _ = strings.Cut(table, "\n};")
	spoken := map[string]bool{"failed": false, "unreachable": false, "not-connected": false, "lost": false, "silent": false, "stalled": false}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\|").FindAllStringSubmatch(string(docs), -1) {
		spoken[m[1]] = false
	}
	require.Greater(t, len(spoken), 30)
	for _, entry := range strings.Split(table, "\n  '")[1:] {
		name, rest, _ := strings.Cut(entry, "'")
		_, known := spoken[name]
		assert.True(t, known, "%s is no code of docs/problems.md", name)
		assert.Regexp(t, `says: '[A-Z][^']*\.'`, rest, name)
		assert.Regexp(t, "todo: ('[A-Z][^']*\\.'|again|reload|`[^`]*`)", rest, name)
		spoken[name] = true
	}
	for name, ok := range spoken {
		assert.True(t, ok, "no sentence for %s", name)
	}
}

// docs/troubleshooting.md quotes the sentences of the pages.
func TestSentencesAreQuoted(t *testing.T) {
	docs, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "troubleshooting.md"))
	require.NoError(t, err)
	code, err := files.ReadFile("assets/sentences.js")
	require.NoError(t, err)
	rows := regexp.MustCompile("(?m)^\\| ([^|]+) \\| `([a-z-]+)`, [0-9]+: ").FindAllStringSubmatch(string(docs), -1)
	require.Greater(t, len(rows), 7)
	for _, row := range rows {
		_, entry, ok := strings.Cut(string(code), "\n  '"+row[2]+"': {")
		require.True(t, ok, row[2])
		entry, _, _ = strings.Cut(entry, "\n  '")
		require.Contains(t, entry, "says: '"+strings.ReplaceAll(row[1], `"live"`, `"{stream}"`)+"'")
	}
	require.Contains(t, string(docs), `"The connection failed: no packet came through."`)
	require.Contains(t, string(code), `'The connection failed: no packet came through.'`)
}

// So has each reason of package cdn.
func TestEachReasonHasASentence(t *testing.T) {
	code, err := files.ReadFile("assets/sentences.js")
	require.NoError(t, err)
	for _, reason := range []error{
		cdn.ErrNotFound, cdn.ErrAlreadyPublishing, cdn.ErrNoCommonCodec, cdn.ErrUnauthorized, cdn.ErrForbidden, cdn.ErrOverLimit,
		cdn.ErrDraining, cdn.ErrInvalid, cdn.ErrTimeout, cdn.ErrClosed, cdn.ErrLeft, cdn.ErrEnded, cdn.ErrSuperseded, cdn.ErrPeerLost,
		cdn.ErrTooSlow, cdn.ErrUpstream, cdn.ErrLoop, cdn.ErrStale, cdn.ErrUnsupported, cdn.ErrExpired, cdn.ErrUnavailable, errors.New("anything"),
	} {
		assert.Contains(t, string(code), "\n  '"+cdn.ErrorCode(reason)+"': {", "%v", reason)
	}
}
