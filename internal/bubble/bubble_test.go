package bubble_test

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/bubble"
)

// Goroutines of others do not count, nor do those that have ended.
func TestGoroutines(t *testing.T) {
	outside := make(chan struct{})
	defer close(outside)
	go func() { <-outside }()
	synctest.Test(t, func(t *testing.T) {
		before := bubble.Goroutines()
		for range 20 {
			inside := make(chan struct{})
			for range 10 {
				go func() { <-inside }()
			}
			require.Equal(t, before+10, bubble.Goroutines())
			close(inside)
			require.Equal(t, before, bubble.Goroutines())
		}
	})
}
