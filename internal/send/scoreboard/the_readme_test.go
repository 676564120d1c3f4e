package scoreboard

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const readme = "../../../README.md"

// The README has rows of the scoreboard, and of the page about real clients. With
// -update they are written anew.
func TestTheReadmeHasRowsOfBothTables(t *testing.T) {
	b, err := os.ReadFile(readme)
	require.NoError(t, err)
	text := string(b)
	for _, table := range []struct{ name, rows string }{{"paths", rowsOfPaths(t)}, {"scoreboard", rowsOfScoreboard(t)}} {
		before, rest, ok := strings.Cut(text, "<!-- "+table.name+" -->\n")
		require.True(t, ok, table.name)
		was, after, ok := strings.Cut(rest, "<!-- end -->\n")
		require.True(t, ok, table.name)
		if !*update {
			require.Equal(t, table.rows, was, "run with -update, after the boards")
		}
		text = before + "<!-- " + table.name + " -->\n" + table.rows + "<!-- end -->\n" + after
	}
	if *update && text != string(b) {
		require.NoError(t, os.WriteFile(readme, []byte(text), 0o644))
	}
}

// rowsOfScoreboard has lines of the short plans with the receiver like Chromium.
func rowsOfScoreboard(t *testing.T) string {
	b, err := os.ReadFile("testdata/short.txt")
	require.NoError(t, err)
	var rows strings.Builder
	rows.WriteString("| plan | use % | layers % | fall s | rise s | queue ms | loss % | frozen s | playable % | missed |\n" +
		"|---|---|---|---|---|---|---|---|---|---|\n")
	for _, plan := range []string{
		"variable", "variable x2.5", "steady 3.5", "loss 5 %", "jitter", "half the feedback", "three viewers", "outage", "small fall",
	} {
		line := regexp.MustCompile(`(?m)^chromium ` + plan + ` +use +(\d+)% layers +(.*?) fall +(\S+)s rise +(\S+)s ` +
			`queue +(\d+)ms loss +(\S+)% frozen +(\S+)s playable +(\S+)% [^|\n]*(?:\| missed: (.*))?$`)
		f := line.FindStringSubmatch(string(b))
		require.NotNil(t, f, plan)
		f[2] = strings.Join(strings.Fields(f[2]), " ")
		if f[9] == "" {
			f[9] = "none"
		}
		fmt.Fprintf(&rows, "| %s | %s |\n", plan, strings.Join(f[1:], " | "))
	}
	return rows.String()
}

// rowsOfPaths has rows of browsers from the first table of the page's results, which
// is the newest.
func rowsOfPaths(t *testing.T) string {
	b, err := os.ReadFile("../../../docs/paths.md")
	require.NoError(t, err)
	_, results, ok := strings.Cut(string(b), "\n| plan | client |")
	require.True(t, ok)
	results, _, _ = strings.Cut(results, "\n\n")
	var rows strings.Builder
	rows.WriteString("| plan | layers % | fall s | rise s | frozen s | frames a second | sound concealed % |\n" +
		"|---|---|---|---|---|---|---|\n")
	for _, plan := range []string{
		"3, 1, 3", "into 1", "150 ms round trip, loss 2 %", "200 ms round trip, loss 2 %", "300 ms round trip, loss 2 %",
		"50 ms round trip, loss 5 %", "jitter of each packet",
	} {
		chromium, firefox := resultsOf(t, results, plan, "chromium"), resultsOf(t, results, plan, "firefox")
		fmt.Fprintf(&rows, "| %s |", plan)
		for _, column := range []int{1, 2, 3, 6, 7, 8} {
			fmt.Fprintf(&rows, " %s / %s |", chromium[column], firefox[column])
		}
		rows.WriteString("\n")
	}
	return rows.String()
}

// resultsOf returns the columns of one row, without the numbers of times in frozen.
func resultsOf(t *testing.T, results, plan, client string) []string {
	_, row, ok := strings.Cut(results, "\n| "+plan+" | "+client+" | ")
	require.True(t, ok, "%s in %s", plan, client)
	row, _, _ = strings.Cut(row, "\n")
	columns := strings.Split(strings.TrimSuffix(row, " |"), " | ")
	require.Len(t, columns, 11, row)
	columns[6], _, _ = strings.Cut(columns[6], " in ")
	return columns
}
