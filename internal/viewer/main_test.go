package viewer_test

import (
	"os"
	"runtime/debug"
	"testing"
)

// Each of the hundreds of offers is answered by a node of its own, which is soon gone: a
// collector that runs for each few megabytes takes a third of the tests' time.
func TestMain(m *testing.M) {
	debug.SetGCPercent(800)
	debug.SetMemoryLimit(256 << 20)
	os.Exit(m.Run())
}
