//go:build long

package redisdir_test

import (
	"testing"
	"time"

	"github.com/deltacdn/delta/cdn/replica/replicatest"
)

// TestLongOutages has the lease that nodes have, and a Redis that is frozen and dead for
// 30 s.
func TestLongOutages(t *testing.T) {
	replicatest.TestOutages(t, startEngine, replicatest.Config{Lease: 15 * time.Second, Look: 500 * time.Millisecond})
}
