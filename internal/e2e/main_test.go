package delta_test

import (
	"os"
	"runtime/debug"
	"testing"
)

// The worlds of these tests are small and are soon gone, so that a collector that runs
// for each few megabytes takes a tenth of their time.
func TestMain(m *testing.M) {
	debug.SetGCPercent(800)
	os.Exit(m.Run())
}
