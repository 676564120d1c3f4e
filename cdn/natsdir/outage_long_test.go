//go:build long

package natsdir_test

import (
	"testing"
	"time"

	"github.com/deltacdn/delta/cdn/replica/replicatest"
)

// TestLongOutages has the lease that nodes have, and an engine that is frozen and dead
// for 30 s.
func TestLongOutages(t *testing.T) {
	replicatest.TestOutages(t, startEngine, replicatest.Config{Lease: 15 * time.Second})
}
