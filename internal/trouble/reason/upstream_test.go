package reason

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
)

// Of the reasons that another node has for refusing this one, none is taken for a
// refusal of the client, and the cause stays readable.
func TestUpstream(t *testing.T) {
	all := []error{
		cdn.ErrUnauthorized, cdn.ErrForbidden, cdn.ErrInvalid, cdn.ErrAlreadyPublishing, cdn.ErrStale, cdn.ErrSuperseded, cdn.ErrTooSlow,
	}
	for _, refusal := range all {
		told := &cdn.Error{Op: "link", Node: "origin", Err: fmt.Errorf("%w: clock is wrong", refusal)}
		for _, err := range []error{told, &cdn.Error{Op: "fetch", Stream: "live", Err: told}} {
			got := Upstream("live", err)
			require.ErrorIs(t, got, cdn.ErrUpstream)
			for _, sentinel := range all {
				require.NotErrorIs(t, got, sentinel)
			}
			require.Contains(t, got.Error(), "clock is wrong")
			var e *cdn.Error
			require.ErrorAs(t, got, &e)
			require.True(t, e.Remote())
			require.Equal(t, cdn.NodeID("origin"), e.Node)
			require.Equal(t, got, Upstream("live", got))
			require.ErrorIs(t, Error(Word(got)), cdn.ErrUpstream, "from hop to hop")
		}
	}
	for _, err := range []error{nil, cdn.ErrNotFound, cdn.ErrEnded, cdn.ErrNoCommonCodec, cdn.ErrPeerLost, cdn.ErrOverLimit, errors.New("another")} {
		require.Equal(t, err, Upstream("live", err))
	}
}
