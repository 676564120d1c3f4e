package egress

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// void takes all that is sent.
type void struct{}

func (void) WriteTo(b []byte, _ net.Addr) (int, error) { return len(b), nil }

// A batch looks at the clock now and then, and after each flush.
func TestNowIsNearlyNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(void{}, nil).NewBatch()
		begun := time.Now()
		require.Equal(t, begun, b.Now())
		time.Sleep(time.Millisecond)
		for range nowFor - 1 {
			require.Equal(t, begun, b.Now())
		}
		require.Equal(t, begun.Add(time.Millisecond), b.Now())
		time.Sleep(time.Second)
		require.NoError(t, b.Flush())
		require.Equal(t, time.Now(), b.Now())
	})
}
