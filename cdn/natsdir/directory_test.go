package natsdir_test

import (
	"testing"

	"github.com/deltacdn/delta/cdn/replica/replicatest"
)

func TestOutages(t *testing.T) {
	t.Parallel()
	replicatest.TestOutages(t, startEngine, replicatest.Config{})
}

func TestWithdrawals(t *testing.T) {
	t.Parallel()
	replicatest.TestWithdrawals(t, startEngine, replicatest.Config{})
}

func TestStart(t *testing.T) {
	t.Parallel()
	replicatest.TestStart(t, startEngine, replicatest.Config{})
}
