package browser

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/signal/whep"
)

// watch returns how long playback is watched, and whether nothing else keeps
// the machine busy meanwhile: .ci/fanout watches for a minute, and only then is
// a freeze a failure.
func watch(t *testing.T) (d time.Duration, strict bool) {
	text := os.Getenv("DELTA_WATCH")
	if text == "" {
		return 10 * time.Second, false
	}
	d, err := time.ParseDuration(text)
	require.NoError(t, err)
	return d, true
}

// crowd has more viewers at the edge, so that what goes out goes out in batches.
func crowd(t *testing.T, n int, edge string) {
	for range n {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		v, err := cdntest.NewViewer(ctx, cdntest.ViewerConfig{
			Dialer: &whep.Client{}, URL: edge + "/whep/demo", Stream: "demo",
		})
		cancel()
		require.NoError(t, err)
		t.Cleanup(func() { _ = v.Close() })
	}
}

// Playback does not freeze: over IPv4, over IPv6, and (hardly) with one packet
// in twenty lost each way at a round trip of 20 ms.
func TestPlaysWithoutFreezing(t *testing.T) {
	n := startThreenodeAt(t, [4]string{"127.0.0.1", "127.0.0.1", "::1", "127.0.0.1"})
	b := newBrowser(t)
	crowd(t, 6, n.edge1)
	lossy := impaired(t, n.edge1, impairment{delay: 10 * time.Millisecond, loss: 0.05})
	pages := map[string]*page{}
	for name, url := range map[string]string{"IPv4": n.edge1, "IPv6": n.edge2, "5 % loss": lossy} {
		pages[name] = b.open(url + "/play?stream=demo")
		requireMoving(t, pages[name])
	}
	type sums struct{ Decoded, Freezes, Frozen, Lost, Nacks float64 }
	read := func(p *page) sums {
		return eval[sums](p, `({Decoded: delta.stats.decoded, Freezes: delta.stats.freezes, Frozen: delta.stats.frozen, Lost: delta.stats.lost, Nacks: delta.stats.nack})`)
	}
	before := map[string]sums{}
	for name, p := range pages {
		before[name] = read(p)
	}
	watched, strict := watch(t)
	time.Sleep(watched)
	for name, p := range pages {
		after, was := read(p), before[name]
		frozen := after.Frozen - was.Frozen
		t.Logf("%s: %.0f frames in %v, %.0f freezes, %.2f s frozen, %.0f packets lost for good", name, after.Decoded-was.Decoded, watched, after.Freezes-was.Freezes, frozen, after.Lost)
		require.Greater(t, after.Decoded-was.Decoded, 20*watched.Seconds(), name)
		most := 0.0
		switch {
		case !strict:
			most = 0.2
		case name == "5 % loss":
			most = 0.01
		}
		require.LessOrEqual(t, frozen, most*watched.Seconds(), name)
		p.shoot(name)
	}
}
