//go:build long

package clients

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/netem/plans"
)

// TestPaths runs the plans of package plans for real: a client watches behind an
// emulated path, and a line a plan and client is printed, with the bars that are
// missed. It takes root and hours, and the machine for itself.
//
// DELTA_PATHS_CLIENTS and DELTA_PATHS_PLANS name some, with semicolons between, to run no
// others; DELTA_PATHS_LENGTH, such as 60s, cuts longer ones off; DELTA_PATHS_TRACE names a directory for everything about each run. Of the
// directory's files, tenths of a second are in "sent", what getStats said in "client",
// and the node's statistics of the session in "node".
func TestPaths(t *testing.T) {
	requirePaths(t)
	clients := chosen("DELTA_PATHS_CLIENTS", []string{"chromium", "firefox", "aiortc"})
	for _, name := range clients {
		fmt.Printf("# %s: %s\n", name, versionOf(t, name))
	}
	clips := map[string]*clip{}
	for _, p := range append(plans.Seen(), plans.Common()...) {
		if only := chosen("DELTA_PATHS_PLANS", nil); only != nil && !slices.Contains(only, p.Name) {
			continue
		}
		if p.Rates == nil {
			p.Rates = plans.Ladder()
		}
		if most, err := time.ParseDuration(os.Getenv("DELTA_PATHS_LENGTH")); err == nil {
			p.Length = min(p.Length, most)
		}
		key := fmt.Sprint(p.Rates)
		if clips[key] == nil {
			clips[key] = newClip(t, p.Rates)
			fmt.Printf("# layers of %s bit/s cost %.0f with headers and sound\n", key, clips[key].costs())
		}
		for _, name := range clients {
			t.Run(p.Name+"/"+name, func(t *testing.T) {
				trace := &tracer{}
				r := runPlan(t, p, clips[key], watchers()[name](), trace)
				fmt.Println(r.line(name))
				trace.keep(t, p.Name+"-"+name)
			})
		}
	}
}

// TestSoundOfALossyPath: of sound of which a path loses 5 %, a browser that takes redundancy
// misses little.
func TestSoundOfALossyPath(t *testing.T) {
	requirePaths(t)
	for _, p := range plans.Seen() {
		if p.Name != "50 ms round trip, loss 5 %" {
			continue
		}
		p.Rates, p.Length = plans.Ladder(), 40*time.Second
		r := runPlan(t, p, newClip(t, p.Rates), watchers()["chromium"](), &tracer{})
		fmt.Println(r.line("chromium"))
		require.Less(t, r.score().sound, 0.025) // until its first report, 5 s after the start, all that is lost is missing
		return
	}
	t.Fatal("there is no such plan")
}

// chosen returns the names in a variable of the environment, or all.
func chosen(variable string, all []string) []string {
	text := os.Getenv(variable)
	if text == "" {
		return all
	}
	var names []string
	for name := range strings.SplitSeq(text, ";") {
		names = append(names, strings.TrimSpace(name))
	}
	return names
}
