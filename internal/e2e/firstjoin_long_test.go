//go:build long

package delta_test

import "testing"

// The short form is TestFirstJoinsAreNotLate.
func TestThousandFirstJoins(t *testing.T) {
	needLinks(t)
	firstJoins(t, 1000)
}
