package delta_test

import (
	"os"
	"runtime/debug"
	"testing"
)

// The worlds of these tests are small and are soon gone, so that a collector that runs
// for each few megabytes takes a tenth of their time. The few that are large, with
// hundreds of viewers, are not to grow to nine times what they use.
func TestMain(m *testing.M) {
	debug.SetGCPercent(800)
	debug.SetMemoryLimit(256 << 20)
	os.Exit(m.Run())
}
