package whep_test

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/signal"
	"github.com/deltacdn/delta/signal/whep"
)

// A taker notes what viewers ask for.
type taker struct {
	cdntest.ScriptedHandler
	asked []signal.Adapt
}

func (h *taker) Offer(ctx context.Context, o signal.Offer) (signal.Session, error) {
	h.asked = append(h.asked, o.Adapt)
	return h.ScriptedHandler.Offer(ctx, o)
}

// A viewer says by the query how its video is to be fitted to its path.
func TestViewersAskByTheQuery(t *testing.T) {
	for query, want := range map[string]signal.Adapt{
		"": {},
		"?strategy=careful&first_bitrate=300000&max_bitrate=2000000": {Strategy: "careful", FirstBitrate: 300_000, MaxBitrate: 2_000_000},
		"?first_bitrate=0":  {FirstBitrate: -1},
		"?max_height=720":   {MaxHeight: 720},
		"?strategy=quality": {Strategy: "quality"},
	} {
		h := &taker{}
		s := serve(t, h)
		require.Equal(t, http.StatusCreated, do(t, "POST", s.URL+"/whep/live"+query, "v=0\r\n", "application/sdp").StatusCode, query)
		require.Equal(t, []signal.Adapt{want}, h.asked, query)
		session, err := (&whep.Client{HTTP: s.Client()}).Dial(t.Context(), s.URL+"/whep/live", signal.Offer{SDP: "v=0\r\n", Adapt: want})
		require.NoError(t, err)
		require.Equal(t, want, h.asked[1], "by our client: %s", query)
		require.NoError(t, session.Close(t.Context()))
	}
}

func TestWhatViewersCannotAskFor(t *testing.T) {
	h := &taker{}
	s := serve(t, h)
	for query, detail := range map[string]string{
		"strategy=best":               "The parameter strategy is quality, balanced or careful.",
		"first_bitrate=-1":            "The parameter first_bitrate is a whole number of bits a second below 2147483648, or 0 for the lowest layer.",
		"first_bitrate=":              "The parameter first_bitrate is a whole number of bits a second below 2147483648, or 0 for the lowest layer.",
		"first_bitrate=1e6":           "The parameter first_bitrate is a whole number of bits a second below 2147483648, or 0 for the lowest layer.",
		"max_bitrate=0":               "The parameter max_bitrate is a whole number of bits a second from 1 to 2147483647.",
		"max_bitrate=9999999999":      "The parameter max_bitrate is a whole number of bits a second from 1 to 2147483647.",
		"layer=h&max_bitrate=1%20000": "The parameter max_bitrate is a whole number of bits a second from 1 to 2147483647.",
		"max_height=0":                "The parameter max_height is a whole number of pixels from 1 to 65535.",
		"max_height=65536":            "The parameter max_height is a whole number of pixels from 1 to 65535.",
		"max_height=720p":             "The parameter max_height is a whole number of pixels from 1 to 65535.",
	} {
		resp := do(t, "POST", s.URL+"/whep/live?"+query, "v=0\r\n", "application/sdp")
		require.Equal(t, http.StatusBadRequest, resp.StatusCode, query)
		var problem struct{ Code, Detail string }
		require.NoError(t, json.NewDecoder(resp.Body).Decode(&problem))
		require.Equal(t, "invalid", problem.Code, query)
		require.Equal(t, detail, problem.Detail, query)
	}
	require.Empty(t, h.asked)
}
