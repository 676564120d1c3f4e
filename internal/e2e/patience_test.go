package delta_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/origin"
)

// estimates has a viewer send a bandwidth estimate (REMB) five times a second, as
// Chromium does.
func estimates(bits func(elapsed time.Duration) float32) func(*webrtc.SettingEngine, *webrtc.MediaEngine, *interceptor.Registry) error {
	return func(_ *webrtc.SettingEngine, _ *webrtc.MediaEngine, r *interceptor.Registry) error {
		r.Add(estimator{bits})
		return nil
	}
}

type estimator struct{ bits func(time.Duration) float32 }

func (e estimator) NewInterceptor(string) (interceptor.Interceptor, error) {
	return &estimating{bits: e.bits, done: make(chan struct{})}, nil
}

type estimating struct {
	interceptor.NoOp
	bits func(time.Duration) float32
	done chan struct{}
}

func (e *estimating) BindRTCPWriter(w interceptor.RTCPWriter) interceptor.RTCPWriter {
	go func() {
		tick, began := time.NewTicker(200*time.Millisecond), time.Now()
		defer tick.Stop()
		for {
			select {
			case <-e.done:
				return
			case now := <-tick.C:
				_, _ = w.Write([]rtcp.Packet{&rtcp.ReceiverEstimatedMaximumBitrate{Bitrate: e.bits(now.Sub(began))}}, nil)
			}
		}
	}()
	return w
}

func (e *estimating) Close() error {
	close(e.done)
	return nil
}

// No path on which sound gets through ends a session, and reordering, jitter or a
// low estimate alone do not even pause video.
func TestViewersOnBadPathsStay(t *testing.T) {
	const mbit = 1_000_000
	rate := func(bits int, d time.Duration) step {
		return step{cdntest.Path{Delay: ms(25), Rate: bits, Queue: ms(300)}, d}
	}
	low := func(time.Duration) float32 { return 300_000 }
	falls := func(d time.Duration) float32 { return float32(max(100_000, 5_000_000-200_000*d.Seconds())) }
	single, simulcast := []int{2_500_000}, []int{200_000, 700_000, 2_500_000}
	for _, c := range someOf([]struct {
		name   string
		layers []int
		path   []step
		remb   func(time.Duration) float32
		clean  bool // nothing is lost, so video is never paused
	}{
		{"50 ms of jitter with reordering", single, []step{{cdntest.Path{Delay: ms(20), Jitter: ms(50)}, 70 * time.Second}}, low, true},
		{"200 ms of jitter with reordering", single, []step{{cdntest.Path{Delay: ms(20), Jitter: ms(200)}, 70 * time.Second}}, falls, true},
		{"a low estimate", single, []step{{cdntest.Path{Delay: ms(25)}, 70 * time.Second}}, low, true},
		{"an estimate that falls", single, []step{{cdntest.Path{Delay: ms(25)}, 70 * time.Second}}, falls, true},
		{"150 ms, 2 % loss", single, []step{{cdntest.Path{Delay: ms(75), Loss: .02}, 70 * time.Second}}, low, true},
		{"300 ms, 2 % loss", single, []step{{cdntest.Path{Delay: ms(150), Loss: .02}, 70 * time.Second}}, falls, true},
		{"5 % loss", single, []step{{cdntest.Path{Delay: ms(25), Loss: .05}, 70 * time.Second}}, falls, true},
		{"10 % loss", single, []step{{cdntest.Path{Delay: ms(25), Loss: .1}, 70 * time.Second}}, falls, false},
		{"20 % loss", single, []step{{cdntest.Path{Delay: ms(25), Loss: .2}, 100 * time.Second}}, falls, false},
		{"1 Mbit/s for 30 s, then free", single, []step{rate(mbit, 30*time.Second), rate(0, 60*time.Second)}, low, false},
		{"1 Mbit/s, a single layer", single, []step{rate(mbit, 100*time.Second)}, falls, false},
		{"1 Mbit/s, simulcast", simulcast, []step{rate(mbit, 60*time.Second), rate(0, 40*time.Second)}, low, false},
		{"3, 1.5, 0.8, 4 and 0.6 Mbit/s", simulcast, []step{
			rate(3*mbit, 14*time.Second), rate(1.5*mbit, 14*time.Second), rate(.8*mbit, 14*time.Second),
			rate(4*mbit, 14*time.Second), rate(.6*mbit, 14*time.Second),
		}, falls, false},
	}) {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				o := w.origin("origin", cdntest.Path{}, origin.Config{})
				v := w.viewFor(o, c.layers, c.path, cdntest.ViewerConfig{Tune: estimates(c.remb)})
				paused := 0
				for _, e := range w.told() {
					switch e := e.(type) {
					case cdn.SessionEnded:
						t.Errorf("ended: %v", e.Err)
					case cdn.ViewerSlow:
						if e.Paused {
							paused++
						}
					}
				}
				t.Logf("%d frames, paused %d times", len(v.Report().Video().Frames), paused)
				require.False(t, c.clean && paused > 0, "paused %d times", paused)
			})
		})
	}
}

type step struct {
	path cdntest.Path
	d    time.Duration
}

// viewFor has a viewer watch a stream with sound, of so many bits a second, over
// one path after the other.
func (w *world) viewFor(n *node, layers []int, path []step, c cdntest.ViewerConfig) *cdntest.Viewer {
	video := &cdntest.Video{Bitrate: layers[0], KeyframeInterval: 2 * time.Second}
	if len(layers) > 1 {
		for i, bits := range layers {
			video.Layers = append(video.Layers, cdntest.VideoLayer{RID: fmt.Sprint("r", i), Bitrate: bits})
		}
	}
	p := w.publish(n, "live", cdntest.Path{}, cdntest.PublisherConfig{Video: video, Audio: &cdntest.Audio{}})
	require.NoError(w.t, p.WaitConnected(w.within(5*time.Second)))
	host := w.network.Host("viewer", cdntest.Path{})
	v := w.view(n, "live", "viewer", cdntest.Path{}, c)
	for _, s := range path {
		host.SetDownlink(s.path)
		time.Sleep(span(s.d))
	}
	return v
}

// told returns the events so far.
func (w *world) told() (all []cdn.Event) {
	for len(w.events) > 0 {
		all = append(all, <-w.events)
	}
	return all
}

// A viewer that gets less than half of the sound for half a minute is ended, and
// told so; without sound, the video counts.
func TestViewerThatHearsNothingIsEnded(t *testing.T) {
	for name, kinds := range map[string][]cdn.Kind{"sound and video": {cdn.Audio, cdn.Video}, "video alone": {cdn.Video}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				o := w.origin("origin", cdntest.Path{}, origin.Config{})
				v := w.viewFor(o, []int{2_500_000}, []step{{cdntest.Path{Delay: ms(25)}, 5 * time.Second}},
					cdntest.ViewerConfig{Kinds: kinds, NoNACK: true})
				viewer, rng := w.network.Host("viewer", cdntest.Path{}).IP(), rand.New(rand.NewPCG(1, 1))
				var mu sync.Mutex
				w.network.SetFilter(func(_, dst netip.AddrPort, payload []byte) bool {
					mu.Lock()
					defer mu.Unlock()
					rtcp := len(payload) > 1 && payload[1] >= 192 && payload[1] < 224 // RFC 5761 section 4
					return dst.Addr() != viewer || payload[0]>>6 != 2 || rtcp || rng.Float64() > .7
				})
				time.Sleep(29 * time.Second)
				require.Empty(t, ends(w.told()), "it is kept for 30 s")
				var ended []cdn.SessionEnded
				for range 90 { // while video is paused there is nothing to count
					time.Sleep(time.Second)
					if ended = ends(w.told()); len(ended) > 0 {
						break
					}
				}
				require.Len(t, ended, 1)
				require.ErrorIs(t, ended[0].Err, cdn.ErrTooSlow)
				require.Equal(t, "too slow", v.Report().Video().ByeReason)
			})
		})
	}
}

func ends(all []cdn.Event) (ended []cdn.SessionEnded) {
	for _, e := range all {
		if e, ok := e.(cdn.SessionEnded); ok {
			ended = append(ended, e)
		}
	}
	return ended
}
