package scoreboard

import (
	"cmp"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTrace runs the plans whose names begin with SCOREBOARD_TRACE, with one seed,
// and prints each step.
func TestTrace(t *testing.T) {
	want := os.Getenv("SCOREBOARD_TRACE")
	if want == "" {
		t.Skip("SCOREBOARD_TRACE is not set")
	}
	seed, err := strconv.ParseUint(cmp.Or(os.Getenv("SCOREBOARD_SEED"), "1"), 10, 64)
	require.NoError(t, err)
	for _, k := range []kind{chromium, rembOnly, reportsOnly} {
		if w := os.Getenv("SCOREBOARD_KIND"); w != "" && w != k.String() {
			continue
		}
		for _, p := range allPlans() {
			if strings.HasPrefix(p.Name, want) {
				c := &check{plan: p.Name, kind: k}
				o := p.run(k, seed)
				p.judge(c, o)
				t.Log(line(k, p, []*outcome{o}) + c.missed())
			}
		}
	}
}
