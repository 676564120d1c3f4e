package clients

import (
	"context"
	"encoding/json"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/demo/web/webtest"
)

// An edge is drained while the page plays in Firefox: the picture goes over to another
// edge, and back when that is drained.
func TestFirefoxIsLedAway(t *testing.T) {
	findFirefox(t)
	n := webtest.New(t, ":0") // Firefox uses no loopback addresses
	o := n.Origin("origin")
	e1, e2 := n.Viewing("edge1"), n.Viewing("edge2")
	n.Publish(o, "demo")
	p := startFirefox(t).open(t, e1.URL+"/play?stream=demo")
	waitTrue(t, p, `delta.state === "playing" && delta.stats && delta.stats.decoded > 60`)
	require.Equal(t, "true", p.eval(t, `String(`+webtest.Record+`)`))
	for i, from := range []*webtest.Node{e1, e2} {
		p.eval(t, `String(`+webtest.Forget+`)`)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		require.NoError(t, from.Drain(ctx), "nobody is left")
		cancel()
		from.Undrain()
		waitTrue(t, p, `delta.moves === `+strconv.Itoa(i+1))
		time.Sleep(4 * time.Second) // as long as the page plays on without a frame, at least
		var seen webtest.Recording
		require.NoError(t, json.Unmarshal([]byte(p.eval(t, `JSON.stringify(seen)`)), &seen))
		var m webtest.Move
		require.NoError(t, json.Unmarshal([]byte(p.eval(t, `JSON.stringify(`+webtest.LastMove+`)`)), &m))
		still, missing := seen.Pauses(m.At-m.Took-1000, m.At+1500)
		t.Logf("compared by %s for %.0f ms, stood for %.0f ms: a frame stood still for %v at most, %v were left out at most", m.By, m.Took, m.Stood, still, missing)
		require.Empty(t, seen.Unnoticed(m, 500*time.Millisecond))
		require.Equal(t, "picture", m.By)
	}
}
