package delta_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
)

// named is a viewer that asks for one of three layers.
type named struct {
	*world
	publisher *cdntest.Publisher
	at        *node
	viewer    *cdntest.Viewer
}

// gets requires that the viewer gets a layer, and that its session says so.
func (s *named) gets(layer, asked string) {
	s.t.Helper()
	frames := s.viewer.Report().Video().Frames
	require.NotEmpty(s.t, frames)
	last := frames[len(frames)-1]
	require.Less(s.t, time.Since(last.Done), ms(100))
	require.Equal(s.t, layer, s.publisher.Report().Video[last.Layer].RID)
	st := s.at.edge.Stats().Sessions
	i := slices.IndexFunc(st, func(v edge.ViewerStats) bool { return v.Named == asked })
	require.GreaterOrEqual(s.t, i, 0)
	require.Equal(s.t, layer, st[i].Layer)
}

// requests returns how many keyframes the publisher was asked for, by layer.
func (s *named) requests() map[string]int {
	all := map[string]int{}
	for _, l := range s.publisher.Report().Video {
		all[l.RID] = l.PLIs + l.FIRs
	}
	return all
}

// Who names a layer that does not come gets the nearest one below, or above where
// there is none, and the layer itself when it comes. Nothing is asked of the
// publisher for what does not come, and those who watch the others notice nothing.
func TestNamedLayers(t *testing.T) {
	for _, place := range someOf(slices.Sorted(maps.Keys(places))) {
		for name, c := range someIn(map[string]struct {
			declared []string // in this order
			asked    string
			off      []string // are not sent at first
			first    string   // that the viewer gets
		}{
			"best, not sent":                    {[]string{"l", "m", "h"}, "h", []string{"h"}, "m"},
			"best, declared first, not sent":    {[]string{"h", "m", "l"}, "h", []string{"h"}, "m"},
			"best, only the lowest is sent":     {[]string{"l", "m", "h"}, "h", []string{"h", "m"}, "l"},
			"middle, not sent":                  {[]string{"l", "m", "h"}, "m", []string{"m"}, "l"},
			"middle, declared falling":          {[]string{"h", "m", "l"}, "m", []string{"m"}, "l"},
			"lowest, not sent":                  {[]string{"l", "m", "h"}, "l", []string{"l"}, "m"},
			"lowest, only the best one is sent": {[]string{"l", "m", "h"}, "l", []string{"l", "m"}, "h"},
			"best, sent":                        {[]string{"l", "m", "h"}, "h", nil, "h"},
		}) {
			t.Run(fmt.Sprint(place, " ", name), func(t *testing.T) {
				needLinks(t)
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					path := cdntest.Path{Delay: ms(5)}
					o := w.origin("origin", path, origin.Config{})
					at, _ := places[place](w, o)
					var layers []cdntest.VideoLayer
					for _, rid := range c.declared {
						i := slices.Index([]string{"l", "m", "h"}, rid)
						layers = append(layers, cdntest.VideoLayer{RID: rid, Bitrate: 60_000 << (2 * i), Width: 160 << i, Height: 90 << i})
					}
					p := w.publish(o, "live", path, cdntest.PublisherConfig{
						Video: &cdntest.Video{Layers: layers, KeyframeInterval: 4 * time.Second}, Audio: &cdntest.Audio{},
					})
					for _, rid := range c.off {
						p.PauseLayer(rid)
					}
					require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
					time.Sleep(3 * time.Second)
					s := &named{world: w, publisher: p, at: at}
					s.viewer = w.view(at, "live", "viewer", path, cdntest.ViewerConfig{Layer: c.asked})
					require.NoError(t, s.viewer.WaitFrames(w.within(5*time.Second), 30))
					time.Sleep(2 * time.Second)
					s.gets(c.first, c.asked)

					before := s.requests()
					time.Sleep(span(20 * time.Second))
					s.gets(c.first, c.asked)
					require.Equal(t, before, s.requests(), "asked of the publisher meanwhile")

					for _, rid := range c.off { // it comes
						p.ResumeLayer(rid)
					}
					time.Sleep(5 * time.Second)
					s.gets(c.asked, c.asked)

					p.PauseLayer(c.asked) // it stops
					time.Sleep(3 * time.Second)
					other := s.viewer.Report().Video().Frames
					require.NotEqual(t, c.asked, c.declared[other[len(other)-1].Layer])
					before = s.requests()
					time.Sleep(span(20 * time.Second))
					require.Equal(t, before, s.requests(), "asked of the publisher meanwhile")

					p.ResumeLayer(c.asked) // it comes back
					time.Sleep(5 * time.Second)
					s.gets(c.asked, c.asked)
					r := s.viewer.Report().Video()
					require.Zero(t, r.FaultCount+r.Missing, r.Faults)
					require.Zero(t, r.Undecodable())
					require.Less(t, r.Gap(), 1800*time.Millisecond) // each of three hops notices by itself that it has stopped
				})
			})
		}
	}
}
