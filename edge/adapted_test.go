package edge_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/signal"
	"github.com/deltacdn/delta/signal/inproc"
)

// A keeper hands out an edge's sessions, and keeps the last. It has viewers ask for adapt.
type keeper struct {
	*edge.Edge
	adapt signal.Adapt

	mu   sync.Mutex
	last signal.StatusSession
}

func (k *keeper) Offer(ctx context.Context, o signal.Offer) (signal.Session, error) {
	o.Adapt = k.adapt
	s, err := k.Edge.Offer(ctx, o)
	if err == nil {
		k.mu.Lock()
		k.last = s.(signal.StatusSession)
		k.mu.Unlock()
	}
	return s, err
}

// steps collects the adaptations that a session tells until ctx ends.
func (k *keeper) steps(ctx context.Context) func() []signal.Adaptation {
	k.mu.Lock()
	session := k.last
	k.mu.Unlock()
	var mu sync.Mutex
	var all []signal.Adaptation
	go func() {
		for seen := (signal.Status{}); ctx.Err() == nil; {
			bounded, cancel := context.WithTimeout(ctx, time.Second)
			now := session.AwaitStatus(bounded, seen)
			cancel()
			if now.Adaptation != seen.Adaptation {
				mu.Lock()
				all = append(all, now.Adaptation)
				mu.Unlock()
			}
			seen = now
		}
	}()
	return func() []signal.Adaptation {
		mu.Lock()
		defer mu.Unlock()
		return all
	}
}

// inEdge has a viewer, which asks for adapt, watch layers of so many bits a second behind a
// path.
func inEdge(t *testing.T, adapt signal.Adapt, path cdntest.Path, layers []cdntest.VideoLayer, f func(k *keeper, viewer *cdntest.Viewer, host *cdntest.Host, steps func() []signal.Adaptation)) {
	inside{log: slog.DiscardHandler}.edge(t, adapt, path, layers, f)
}

// inside is the edge of inEdge, and where its node logs to.
type inside struct {
	edge.Config
	log slog.Handler
}

func (in inside) edge(t *testing.T, adapt signal.Adapt, path cdntest.Path, layers []cdntest.VideoLayer, f func(k *keeper, viewer *cdntest.Viewer, host *cdntest.Host, steps func() []signal.Adaptation)) {
	synctest.Test(t, func(t *testing.T) {
		network := cdntest.NewNetwork(t, cdntest.NetworkConfig{Seed: 1})
		at := network.Host("node", cdntest.Path{})
		node, err := cdn.Listen(cdn.Config{Addr: at.IP().String() + ":7000", Net: at.Net(), Logger: slog.New(in.log)})
		require.NoError(t, err)
		defer func() { require.NoError(t, node.Close()) }()
		live, err := origin.New(node, origin.Config{})
		require.NoError(t, err)
		in.Source = live
		view, err := edge.New(node, in.Config)
		require.NoError(t, err)
		k := &keeper{Edge: view, adapt: adapt}
		dialer := inproc.New(inproc.Config{})
		dialer.Handle("http://node/whip/", live)
		dialer.Handle("http://node/whep/", k)
		cdntest.Publish(t, cdntest.PublisherConfig{
			Net: network.Host("camera", cdntest.Path{}).Net(), Dialer: dialer, URL: "http://node/whip/live", Stream: "live",
			Video: &cdntest.Video{Layers: layers}, Audio: &cdntest.Audio{},
		})
		time.Sleep(6 * time.Second) // until bitrates are known
		host := network.Host("viewer", cdntest.Path{})
		host.SetDownlink(path)
		viewer := cdntest.View(t, cdntest.ViewerConfig{
			Net: host.Net(), Dialer: dialer, URL: "http://node/whep/live", Stream: "live", TransportFeedback: true,
		})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		steps := k.steps(ctx)
		f(k, viewer, host, steps)
	})
}

// Each step by which a viewer's video is fitted to its path is told by the session's status,
// and that the path limits no more.
func TestAdaptationIsTold(t *testing.T) {
	wide := cdntest.Path{Delay: 50 * time.Millisecond}
	narrow := cdntest.Path{Delay: 50 * time.Millisecond, Rate: 600_000, Queue: 300 * time.Millisecond}
	layers := []cdntest.VideoLayer{{RID: "l", Bitrate: 150_000, Width: 320, Height: 180}, {RID: "h", Bitrate: 1_500_000, Width: 1280, Height: 720}}
	inEdge(t, signal.Adapt{}, wide, layers, func(_ *keeper, _ *cdntest.Viewer, host *cdntest.Host, steps func() []signal.Adaptation) {
		time.Sleep(4 * time.Second)
		require.Empty(t, steps())
		host.SetDownlink(narrow)
		time.Sleep(6 * time.Second)
		down := steps()
		require.NotEmpty(t, down)
		low := down[len(down)-1]
		require.Equal(t, "l", low.Layer)
		require.Equal(t, "full", low.Mode)
		require.Equal(t, 180, low.Height)
		require.InDelta(t, 200_000, low.Bitrate, 120_000)
		require.True(t, low.Limited)
		require.Contains(t, []string{"congestion", "loss", "room"}, low.Reason)
		host.SetDownlink(wide)
		time.Sleep(30 * time.Second)
		all := steps()
		best := all[len(all)-1]
		require.Equal(t, "h", best.Layer)
		require.Equal(t, 720, best.Height)
		require.Equal(t, "room", best.Reason)
		require.False(t, best.Limited)
	})
}

// ceiling is a policy that leaves out the best layer.
type ceiling struct{}

func (ceiling) Choose(v edge.View) edge.Choice { return edge.Within(0, min(3, len(v.Options)-1)) }

// A path limits no more when a viewer has again what it had, though its policy keeps it from
// better layers.
func TestALimitEndsBelowTheBestLayer(t *testing.T) {
	layers := []cdntest.VideoLayer{
		{RID: "l", Bitrate: 150_000, Width: 320, Height: 180}, {RID: "m", Bitrate: 1_500_000, Width: 640, Height: 360}, {RID: "h", Bitrate: 2_500_000, Width: 1280, Height: 720},
	}
	wide := cdntest.Path{Delay: 50 * time.Millisecond}
	in := inside{log: slog.DiscardHandler, Config: edge.Config{Adapt: func(cdn.StreamID) edge.Adapt {
		return edge.Adapt{Policy: func() edge.Policy { return ceiling{} }}
	}}}
	in.edge(t, signal.Adapt{}, wide, layers, func(_ *keeper, _ *cdntest.Viewer, host *cdntest.Host, steps func() []signal.Adaptation) {
		time.Sleep(4 * time.Second)
		host.SetDownlink(cdntest.Path{Delay: 50 * time.Millisecond, Rate: 600_000, Queue: 300 * time.Millisecond})
		time.Sleep(6 * time.Second)
		down := steps()
		require.NotEmpty(t, down)
		require.Equal(t, "l", down[len(down)-1].Layer)
		require.True(t, down[len(down)-1].Limited)
		host.SetDownlink(wide)
		time.Sleep(30 * time.Second)
		all := steps()
		require.Equal(t, "m", all[len(all)-1].Layer)
		require.False(t, all[len(all)-1].Limited)
	})
}

// A path that carries sound alone is told as that.
func TestSoundOnlyIsTold(t *testing.T) {
	wide := cdntest.Path{Delay: 50 * time.Millisecond}
	inEdge(t, signal.Adapt{}, wide, []cdntest.VideoLayer{{Bitrate: 1_500_000}}, func(_ *keeper, _ *cdntest.Viewer, host *cdntest.Host, steps func() []signal.Adaptation) {
		time.Sleep(4 * time.Second)
		host.SetDownlink(cdntest.Path{Delay: 50 * time.Millisecond, Rate: 200_000, Queue: 300 * time.Millisecond})
		time.Sleep(6 * time.Second)
		all := steps()
		require.NotEmpty(t, all)
		require.Equal(t, signal.Adaptation{Mode: "paused", Limited: true, Reason: all[len(all)-1].Reason}, all[len(all)-1])
		host.SetDownlink(wide)
		time.Sleep(30 * time.Second)
		all = steps()
		require.Equal(t, "full", all[len(all)-1].Mode)
		require.False(t, all[len(all)-1].Limited)
	})
}

// What a viewer asks for counts from its first frame on.
func TestViewersAskForTheirLayer(t *testing.T) {
	layers := []cdntest.VideoLayer{
		{RID: "l", Bitrate: 150_000, Width: 320, Height: 180}, {RID: "m", Bitrate: 500_000, Width: 640, Height: 360}, {RID: "h", Bitrate: 1_500_000, Width: 1280, Height: 720},
	}
	for name, c := range map[string]struct {
		edge  edge.Adapt
		adapt signal.Adapt
		first int
	}{
		"nothing":              {edge.Adapt{}, signal.Adapt{}, 2},
		"careful":              {edge.Adapt{}, signal.Adapt{Strategy: "careful"}, 0},
		"a first bitrate":      {edge.Adapt{}, signal.Adapt{FirstBitrate: 1_000_000}, 1},
		"the lowest first":     {edge.Adapt{}, signal.Adapt{FirstBitrate: -1}, 0},
		"no more than so":      {edge.Adapt{}, signal.Adapt{MaxBitrate: 800_000}, 1},
		"less than there is":   {edge.Adapt{}, signal.Adapt{MaxBitrate: 1}, 0},
		"a low picture":        {edge.Adapt{}, signal.Adapt{MaxHeight: 700}, 1},
		"lower than all are":   {edge.Adapt{}, signal.Adapt{MaxHeight: 100}, 0},
		"the edge's bitrate":   {edge.Adapt{MaxBitrate: 800_000}, signal.Adapt{}, 1},
		"no more than that":    {edge.Adapt{MaxBitrate: 800_000}, signal.Adapt{MaxBitrate: 5_000_000}, 1},
		"less than the edge's": {edge.Adapt{MaxBitrate: 800_000}, signal.Adapt{MaxBitrate: 300_000}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			in := inside{log: slog.DiscardHandler, Config: edge.Config{Adapt: func(cdn.StreamID) edge.Adapt { return c.edge }}}
			in.edge(t, c.adapt, cdntest.Path{Delay: 20 * time.Millisecond}, layers, func(_ *keeper, viewer *cdntest.Viewer, _ *cdntest.Host, _ func() []signal.Adaptation) {
				time.Sleep(3 * time.Second)
				frames := viewer.Report().Video().Frames
				require.NotEmpty(t, frames)
				require.Equal(t, c.first, frames[0].Layer)
				if c.adapt.MaxBitrate > 0 || c.adapt.MaxHeight > 0 || c.edge.MaxBitrate > 0 {
					require.Equal(t, c.first, frames[len(frames)-1].Layer)
				}
			})
		})
	}
}

// A viewer is served by the defaults where a function of the embedder's panics.
func TestFunctionsThatPanic(t *testing.T) {
	var log bytes.Buffer // read when the viewer is over
	layers := []cdntest.VideoLayer{{RID: "l", Bitrate: 150_000, Width: 320, Height: 180}, {RID: "h", Bitrate: 800_000, Width: 640, Height: 360}}
	for what, c := range map[string]edge.Config{
		"Adapt.Policy": {Adapt: func(cdn.StreamID) edge.Adapt {
			return edge.Adapt{Policy: func() edge.Policy { panic("policy") }}
		}},
		"Config.Adapt":   {Adapt: func(cdn.StreamID) edge.Adapt { panic("adapt") }},
		"Config.Start":   {Start: func(cdn.StreamID) edge.Start { panic("start") }},
		"Config.Playout": {Playout: func(cdn.StreamID) *edge.PlayoutDelay { panic("playout") }},
	} {
		t.Run(what, func(t *testing.T) {
			log.Reset()
			in := inside{Config: c, log: slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelError})}
			in.edge(t, signal.Adapt{}, cdntest.Path{Delay: 20 * time.Millisecond}, layers, func(_ *keeper, viewer *cdntest.Viewer, _ *cdntest.Host, _ func() []signal.Adaptation) {
				time.Sleep(3 * time.Second)
				frames := viewer.Report().Video().Frames
				require.NotEmpty(t, frames)
				require.Equal(t, 1, frames[len(frames)-1].Layer)
			})
			require.Equal(t, 1, strings.Count(log.String(), "level=ERROR"))
			require.Contains(t, log.String(), "option="+what)
			require.Contains(t, log.String(), "adapted_test.go", "where")
		})
	}
}

// What no viewer can ask for is refused.
func TestWhatViewersCannotAskFor(t *testing.T) {
	node, err := cdn.Listen(cdn.Config{Addr: "127.0.0.1:0"})
	require.NoError(t, err)
	defer func() { require.NoError(t, node.Close()) }()
	live, err := origin.New(node, origin.Config{})
	require.NoError(t, err)
	view, err := edge.New(node, edge.Config{Source: live})
	require.NoError(t, err)
	for _, adapt := range []signal.Adapt{{Strategy: "best"}, {MaxBitrate: -1}, {MaxHeight: -1}} {
		_, err = view.Offer(t.Context(), signal.Offer{Stream: "live", SDP: "v=0\r\n", Adapt: adapt})
		require.ErrorIs(t, err, cdn.ErrInvalid)
	}
}
