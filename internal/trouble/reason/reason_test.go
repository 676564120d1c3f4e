package reason

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
)

func TestWordsSurvive(t *testing.T) {
	for _, r := range words {
		require.ErrorIs(t, Error(Word(&cdn.Error{Op: "x", Err: r.err})), r.err)
	}
	require.Equal(t, "failed", Word(nil))
	require.ErrorIs(t, Error("something new"), cdn.ErrPeerLost)
}
