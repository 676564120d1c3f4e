package config

import (
	"os"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// docs/limits.md has the keys of the section limits, all of them, and their defaults.
func TestLimitsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../../docs/limits.md")
	require.NoError(t, err)
	documented := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z]\\w+)` \\| `[A-Z]\\w+` \\| (\\w+) \\|").FindAllStringSubmatch(string(text), -1) {
		documented["limits."+row[1]] = row[2]
	}
	known := map[string]string{}
	for _, o := range limitOptions {
		known[o.Key] = o.Default
		if o.Default == "0" {
			known[o.Key] = "none"
		}
	}
	require.Equal(t, known, documented)
}
