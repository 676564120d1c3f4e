package delta_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
)

// requireForward requires that no frame is shown that is older than one that was
// shown already.
func requireForward(t *testing.T, r cdntest.TrackReport) {
	t.Helper()
	require.Zero(t, r.FaultCount, r.Faults)
	var shown cdntest.Frame
	for _, f := range r.Frames {
		if !f.Decodable {
			continue
		}
		require.False(t, f.Rewind)
		require.False(t, f.Sent.Before(shown.Sent), "frame %d, sent %v before frame %d, is shown after it", f.Number, shown.Sent.Sub(f.Sent), shown.Number)
		shown = f
	}
}

// An edge loses a relay, which comes back, and then the other one: what the relay
// that has just been restored has from ahead of that is not shown again, wherever
// in a group of pictures it happens, and the viewer plays on soon.
func TestNothingOlderIsShownAfterAFailover(t *testing.T) {
	needLinks(t)
	for name, video := range someIn(map[string]cdntest.Video{
		"keyframes every 2 s":  {Bitrate: 400_000, KeyframeInterval: 2 * time.Second},
		"keyframes every 10 s": {Bitrate: 400_000, KeyframeInterval: 10 * time.Second},
		"requests are ignored": {Bitrate: 400_000, KeyframeInterval: 3 * time.Second, NoRequestedKeyframes: true},
	}) {
		t.Run(name, func(t *testing.T) {
			for i := range fewer(6) {
				synctest.Test(t, func(t *testing.T) { testRestoredRelay(t, video, time.Duration(i)*370*time.Millisecond) })
			}
		})
	}
}

func testRestoredRelay(t *testing.T, video cdntest.Video, after time.Duration) {
	w := newWorld(t)
	path := cdntest.Path{Delay: ms(15)}
	o := w.origin("origin", path, origin.Config{})
	relays := map[string]*node{"one": w.relay("one", path, o), "two": w.relay("two", path, o)}
	e := w.edge("edge", path, edge.Config{}, relays["one"], relays["two"])
	p := w.publish(o, "live", path, cdntest.PublisherConfig{Video: &video})
	require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
	v := w.view(e, "live", "viewer", path, cdntest.ViewerConfig{})
	require.NoError(t, v.WaitFrames(w.within(10*time.Second), 60))
	time.Sleep(after)
	for _, name := range []string{"one", "two", "one"} {
		w.kill(relays[name])
		require.NoError(t, relays[name].Close())
		relays[name].Node = nil
		time.Sleep(3*time.Second + after)
		w.network.Host(name, path).Heal()
		relays[name] = w.relay(name, path, o)
		time.Sleep(700 * time.Millisecond) // the link with it is there again
	}
	time.Sleep(5 * time.Second)
	r := v.Report().Video()
	requireForward(t, r)
	last := r.Frames[len(r.Frames)-1]
	require.Less(t, time.Since(last.Done), ms(100), "it plays")
	require.Less(t, last.Latency(), ms(200))
	if !video.NoRequestedKeyframes {
		require.Less(t, gap(r, v.Report().Connected), 1500*time.Millisecond)
	}
}
