package plans

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAt(t *testing.T) {
	p := Variable("variable", 1)
	require.Equal(t, 1_000_000, p.At(0).Path.Rate)
	require.Equal(t, 2_500_000, p.At(40*sec).Path.Rate)
	require.Equal(t, 600_000, p.At(80*sec-1).Path.Rate)
	require.Equal(t, 1_000_000, p.At(p.Length).Path.Rate)
	require.Equal(t, 1_000_000, p.Path.Rate, "the plan itself stays")
}

// Names choose plans, and steps happen in order and within the plan.
func TestPlansAreOnesThatCanRun(t *testing.T) {
	names := map[string]bool{}
	for _, p := range append(Common(), Seen()...) {
		require.False(t, names[p.Name], "two of %q", p.Name)
		names[p.Name] = true
		for i, s := range p.Steps {
			require.Less(t, s.At, p.Length, p.Name)
			require.True(t, i == 0 || s.At >= p.Steps[i-1].At, p.Name)
		}
	}
}
