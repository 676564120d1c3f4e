//go:build race

package delta_test

import (
	"maps"
	"math/rand/v2"
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

// someOf returns one of a table's rows, another one in each run: all rows run the same
// code, and what the detector finds in one it finds in the others.
func someOf[T any](rows []T) []T {
	i := rand.IntN(len(rows))
	return rows[i : i+1]
}

// someIn is someOf for a table whose rows have names.
func someIn[T any](rows map[string]T) map[string]T {
	name := someOf(slices.Collect(maps.Keys(rows)))[0]
	return map[string]T{name: rows[name]}
}

const raceEnabled = true
