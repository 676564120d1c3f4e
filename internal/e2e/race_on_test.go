//go:build race

package delta_test

import (
	"hash/fnv"
	"maps"
	"os"
	"runtime"
	"slices"
	"time"
)

// span returns a fifth of d: the race detector makes tests many times slower, and
// finds in the shorter run what it finds in the longer one. CI runs the whole of it
// without the detector, too.
func span(d time.Duration) time.Duration { return d / 5 }

// fewer returns a fifth of n, and at least one. The detector keeps a quarter of a MiB and
// more for each goroutine that there is at a time, and a PeerConnection has some fifteen.
func fewer(n int) int { return (n + 4) / 5 }

// someOf returns one row of a table: the detector makes all of them too slow. Which one
// depends on the caller's name alone, so that a commit does not fail for a row that others
// were not tried with. The run without the detector has every row, and with DELTA_ALL_ROWS=1
// so has one with it: what the detector finds may differ from row to row.
func someOf[T any](rows []T) []T {
	if allRows {
		return rows
	}
	i := choice(len(rows))
	return rows[i : i+1]
}

// someIn is someOf for a table whose rows have names.
func someIn[T any](rows map[string]T) map[string]T {
	if allRows {
		return rows
	}
	name := slices.Sorted(maps.Keys(rows))[choice(len(rows))]
	return map[string]T{name: rows[name]}
}

var allRows = os.Getenv("DELTA_ALL_ROWS") == "1"

// choice returns a number below n for the function that calls the caller.
func choice(n int) int {
	callers := make([]uintptr, 1)
	frame, _ := runtime.CallersFrames(callers[:runtime.Callers(3, callers)]).Next()
	h := fnv.New32a()
	_, _ = h.Write([]byte(frame.Function))
	return int(h.Sum32() % uint32(n))
}

const raceEnabled = true
