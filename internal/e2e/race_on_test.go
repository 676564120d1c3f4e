//go:build race

package delta_test

import "time"

// span returns a fifth of d: the race detector makes tests many times slower, and
// finds in the shorter run what it finds in the longer one. CI runs the whole of it
// without the detector, too.
func span(d time.Duration) time.Duration { return d / 5 }

const raceEnabled = true
