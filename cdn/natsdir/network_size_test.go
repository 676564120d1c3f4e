//go:build !long

package natsdir_test

import "time"

// How many streams the network has, and how long one may be missing after a kill: ten
// frames a second, so that what was lost shows a frame later, and a busy machine.
const (
	networkStreams = 8
	networkGap     = 1500 * time.Millisecond
)
