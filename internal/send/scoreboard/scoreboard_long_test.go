//go:build long

package scoreboard

import "testing"

// TestScoreboardLong runs the plans that [TestScoreboard] does not.
func TestScoreboardLong(t *testing.T) {
	compare(t, "testdata/long.txt", true)
}
