package recent

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		get := Of(time.Second, func() int { calls++; return calls })
		for range 1000 {
			require.Equal(t, 1, get())
		}
		time.Sleep(999 * time.Millisecond)
		require.Equal(t, 1, get())
		time.Sleep(time.Millisecond)
		require.Equal(t, 2, get())
	})
}
