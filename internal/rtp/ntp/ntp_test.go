package ntp

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRoundTripIsExact(t *testing.T) {
	for _, ns := range []int64{0, 1, 2, 3, 999, 123_456_789, 500_000_000, 999_999_998, 999_999_999} {
		in := time.Unix(1_800_000_000, ns)
		require.True(t, in.Equal(Time(Stamp(in))), "%d ns came back as %v", ns, Time(Stamp(in)))
	}
}

func TestKnownInstant(t *testing.T) {
	// 1970-01-01 is 2208988800 s into the NTP era (RFC 868).
	require.Equal(t, uint64(2208988800)<<32, Stamp(time.Unix(0, 0)))
	require.Equal(t, uint64(2208988800)<<32|1<<31, Stamp(time.Unix(0, 500_000_000)))
	require.Equal(t, uint32(0x0002_8000), Middle(0x0001_0002_8000_0000))
}
