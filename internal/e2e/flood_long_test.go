//go:build long

package delta_test

import (
	"testing"
	"time"

	"github.com/deltacdn/delta/cdn"
)

// 30 s of 250 POSTs a second from one address: every join from another address is
// answered within a second, and viewers lose nothing.
func TestSoakFloodOfPOSTs(t *testing.T) {
	testFlood(t, flood{
		lasts: 30 * time.Second, latest: time.Second, limits: cdn.Limits{Sessions: 5000, HalfOpen: 1000},
		running: 20, joinEach: 250 * time.Millisecond,
	})
}
