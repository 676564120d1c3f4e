package redisdir_test

import (
	"testing"
	"time"

	"github.com/deltacdn/delta/cdn/replica/replicatest"
)

// Each look is a question to Redis.
var config = replicatest.Config{Look: 500 * time.Millisecond}

func TestOutages(t *testing.T) {
	t.Parallel()
	replicatest.TestOutages(t, startEngine, config)
}

func TestWithdrawals(t *testing.T) {
	t.Parallel()
	replicatest.TestWithdrawals(t, startEngine, config)
}

func TestStart(t *testing.T) {
	t.Parallel()
	replicatest.TestStart(t, startEngine, config)
}
