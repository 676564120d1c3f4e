package whip_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/signal"
	"github.com/deltacdn/delta/signal/whip"
)

// What means to a player that nobody publishes, means to a publisher that somebody
// does.
func TestConflictIsAnotherPublisher(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusConflict) }))
	defer s.Close()
	_, err := (&whip.Client{}).Dial(t.Context(), s.URL, signal.Offer{SDP: "v=0\r\n"})
	require.ErrorIs(t, err, cdn.ErrAlreadyPublishing)
}
