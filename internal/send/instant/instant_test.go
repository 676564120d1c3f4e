package instant

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestInstants(t *testing.T) {
	epoch := time.Unix(1000, 0)
	now := At(epoch, epoch)
	require.Positive(t, now)
	require.Equal(t, time.Hour, At(epoch, epoch.Add(time.Hour)).Since(now))
	require.Equal(t, -time.Hour, At(epoch, epoch.Add(-time.Hour)).Since(now))
	require.Equal(t, At(epoch, epoch.Add(time.Second)), now.Add(time.Second))
	require.Greater(t, now.Since(0), 90*365*24*time.Hour, "the zero instant is long ago")
}
