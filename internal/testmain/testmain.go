// Package testmain runs the tests of packages that are busy for long.
package testmain

import (
	"os"
	"runtime"
	"runtime/debug"
	"testing"
)

// Run is for TestMain. It runs the tests so that they take the least processor time, and
// ends the program.
//
// In a bubble of testing/synctest, and in a simulation, one goroutine after the other has
// its turn, so that a second processor does little but look for work and be woken: a sixth
// of the tests' time. Where data races are looked for it stays, since they are of goroutines
// that run at once.
//
// The worlds of tests are small and are soon gone, so that a collector that runs for each
// few megabytes takes a tenth of their time, and up to a third. The few that are large, with
// hundreds of viewers, are not to grow to nine times what they use. The race detector keeps
// two words for each word of the heap, and zeroes them all from time to time. A small heap
// costs less there than a collector that seldom runs.
func Run(m *testing.M) {
	if raceEnabled {
		debug.SetGCPercent(100)
	} else {
		runtime.GOMAXPROCS(1)
		debug.SetGCPercent(800)
	}
	debug.SetMemoryLimit(256 << 20)
	os.Exit(m.Run())
}
