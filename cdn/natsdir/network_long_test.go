//go:build long

package natsdir_test

import "time"

// The gap is what thirteen nodes and two hundred publishers need that share a small
// machine; the root's TestSoakRelaysAreFound has it in virtual time.
const (
	networkStreams = 200
	networkGap     = 2 * time.Second
)
