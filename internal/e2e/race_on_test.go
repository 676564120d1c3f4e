//go:build race

package delta_test

import (
	"math/rand/v2"
	"time"
)

// span returns a fifth of d: the race detector makes tests many times slower, and
// finds in the shorter run what it finds in the longer one. CI runs the whole of it
// without the detector, too.
func span(d time.Duration) time.Duration { return d / 5 }

// fewer returns a third of n, and at least one. The detector keeps a quarter of a MiB and
// more for each goroutine that there is at a time, and a PeerConnection has some fifteen.
func fewer(n int) int { return (n + 2) / 3 }

// someOf returns a third of a table's rows, other ones in each run.
func someOf[T any](rows []T) (some []T) {
	for _, i := range rand.Perm(len(rows))[:fewer(len(rows))] {
		some = append(some, rows[i])
	}
	return some
}

const raceEnabled = true
