package origin_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/signal"
)

// A keeper hands out an origin's sessions, and keeps the last.
type keeper struct {
	*origin.Origin

	mu   sync.Mutex
	last signal.Session
}

func (k *keeper) Offer(ctx context.Context, o signal.Offer) (signal.Session, error) {
	s, err := k.Origin.Offer(ctx, o)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.last = s
	return s, err
}

func (k *keeper) session() signal.Session {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.last
}

// narrowed has a publisher's path become too narrow, and returns what is told until ten
// seconds later. When that is told, told is called.
func narrowed(t *testing.T, told func(w *world, k *keeper, e cdn.UplinkNarrow)) (events []string) {
	inWorld(t, origin.Config{Grace: -1}, func(t *testing.T, w *world) {
		k := &keeper{Origin: w.origin}
		w.told = func(e cdn.Event) {
			if e, ok := e.(cdn.UplinkNarrow); ok {
				told(w, k, e)
			}
		}
		w.dialer.Handle("http://node/kept/", k)
		camera := w.network.Host("camera", cdntest.Path{Delay: 20 * time.Millisecond})
		cdntest.Publish(t, cdntest.PublisherConfig{
			Net: camera.Net(), Dialer: w.dialer, URL: "http://node/kept/live", Stream: "live", Credential: "ada",
			Video: &cdntest.Video{Bitrate: 1_000_000}, Audio: &cdntest.Audio{},
		})
		time.Sleep(5 * time.Second)
		camera.SetUplink(cdntest.Path{Delay: 20 * time.Millisecond, Rate: 500_000, Queue: 300 * time.Millisecond})
		time.Sleep(10 * time.Second)
		w.mu.Lock()
		defer w.mu.Unlock()
		events = slices.Clone(w.events)
	})
	return events
}

// Who is told of a narrow path may ask the node and the origin for anything, end the session
// and wait for its end: it is told without locks. The session's end is told once it returns.
func TestWhoIsToldOfANarrowUplinkMayCallBack(t *testing.T) {
	for name, end := range map[string]func(*world, *keeper, cdn.UplinkNarrow){
		"asks the session to end": func(w *world, _ *keeper, e cdn.UplinkNarrow) {
			require.NoError(w.t, w.node.EndSession(e.Session, nil))
			time.Sleep(time.Second)
		},
		"waits for its end": func(w *world, k *keeper, _ cdn.UplinkNarrow) {
			require.NoError(w.t, k.session().Close())
		},
	} {
		t.Run(name, func(t *testing.T) {
			events := narrowed(t, func(w *world, k *keeper, e cdn.UplinkNarrow) {
				require.True(w.t, w.node.Stats().Streams[0].Uplink.Narrow)
				require.NotZero(w.t, w.origin.Stats().Packets)
				end(w, k, e)
				w.mu.Lock()
				defer w.mu.Unlock()
				w.events = append(w.events, "back")
			})
			ofStream := func(name string) bool { return strings.HasPrefix(name, "Stream") || name == "InputChanged" }
			require.Equal(t, []string{"SessionStarted", "UplinkNarrow", "back", "SessionEnded"}, slices.DeleteFunc(events, ofStream))
		})
	}
}

// Who takes its time to be told of one publisher's path holds up no other publisher, which
// gets its reports meanwhile.
func TestWhoIsToldOfANarrowUplinkHoldsUpNobody(t *testing.T) {
	inWorld(t, origin.Config{Grace: -1}, func(t *testing.T, w *world) {
		const long = 20 * time.Second
		node, cameras := w.host, []*cdntest.Host{}
		reports := func() int { return w.network.Traffic(node, cameras[1]).Sent }
		held := make(chan int, 1)
		w.told = func(e cdn.Event) {
			if _, ok := e.(cdn.UplinkNarrow); ok {
				before := reports()
				time.Sleep(long)
				held <- reports() - before
			}
		}
		for _, name := range []string{"one", "two"} {
			camera := w.network.Host(name, cdntest.Path{Delay: 20 * time.Millisecond})
			cameras = append(cameras, camera)
			cdntest.Publish(t, cdntest.PublisherConfig{
				Net: camera.Net(), Dialer: w.dialer, URL: "http://node/whip/" + name, Stream: cdn.StreamID(name), Credential: name,
			})
		}
		time.Sleep(5 * time.Second)
		before := reports()
		time.Sleep(long)
		free := reports() - before
		require.GreaterOrEqual(t, free, int(long/time.Second))
		cameras[0].SetUplink(cdntest.Path{Delay: 20 * time.Millisecond, Rate: 500_000, Queue: 300 * time.Millisecond})
		require.InDelta(t, free, <-held, 0.1*float64(free))
	})
}
