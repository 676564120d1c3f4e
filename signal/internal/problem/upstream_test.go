package problem

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
)

// That another node has refused this one is no fault of the client's, whose player
// would ask it for another token, and why is none of its business.
func TestAnUpstreamsRefusalIsABadGateway(t *testing.T) {
	err := &cdn.Error{Op: "play", Stream: "live", Err: &cdn.Error{
		Op: "fetch", Stream: "live", Err: fmt.Errorf("%w: link at 10.0.0.7: unauthorized: node relay1 is not known here", cdn.ErrUpstream),
	}}
	d := Of(err)
	require.Equal(t, http.StatusBadGateway, d.Status)
	require.Equal(t, "upstream", d.Code)
	require.NotContains(t, d.Detail, "10.0.0.7")
	require.NotContains(t, d.Detail, "unauthorized")
}
