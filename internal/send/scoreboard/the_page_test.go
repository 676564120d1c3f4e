package scoreboard

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The page of the documentation has the committed lines of all plans.
func TestThePageHasTheScoreboard(t *testing.T) {
	const page, open, shut = "../../../docs/scoreboard.md", "```text\n", "```\n"
	var lines strings.Builder
	for _, name := range []string{"testdata/short.txt", "testdata/long.txt"} {
		b, err := os.ReadFile(name)
		require.NoError(t, err)
		lines.Write(b)
	}
	b, err := os.ReadFile(page)
	require.NoError(t, err)
	before, rest, ok := strings.Cut(string(b), open)
	require.True(t, ok)
	was, after, ok := strings.Cut(rest, shut)
	require.True(t, ok)
	if *update && was != lines.String() {
		require.NoError(t, os.WriteFile(page, []byte(before+open+lines.String()+shut+after), 0o644))
		return
	}
	require.Equal(t, lines.String(), was, "run with -update, after the boards")
}
