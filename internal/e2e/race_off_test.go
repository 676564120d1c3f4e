//go:build !race

package delta_test

import "time"

// span returns d. See the one for the race detector.
func span(d time.Duration) time.Duration { return d }

const raceEnabled = false
