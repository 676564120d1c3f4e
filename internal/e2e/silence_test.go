package delta_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
)

// silence is an edge with two relays above it, and a viewer that plays.
type silence struct {
	*world
	origin, one, two, edge *node
	publisher              *cdntest.Publisher
	viewer                 *cdntest.Viewer
}

func newSilence(t *testing.T) *silence {
	w := newWorld(t)
	o := w.origin("origin", cdntest.Path{Delay: ms(5)}, origin.Config{})
	one, two := w.relay("one", cdntest.Path{Delay: ms(5)}, o), w.relay("two", cdntest.Path{Delay: ms(5)}, o)
	e := w.edge("edge", cdntest.Path{Delay: ms(5)}, edge.Config{}, one, two)
	p := w.publish(o, "live", cdntest.Path{Delay: ms(5)}, cdntest.PublisherConfig{Video: &cdntest.Video{KeyframeInterval: 2 * time.Second}})
	require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
	v := w.view(e, "live", "viewer", cdntest.Path{Delay: ms(5)}, cdntest.ViewerConfig{})
	require.NoError(t, v.WaitFrames(w.within(10*time.Second), 90))
	require.Equal(t, one.url(), e.relay.Stats()[0].URL)
	s := &silence{world: w, origin: o, one: one, two: two, edge: e, publisher: p, viewer: v}
	s.moves()
	return s
}

// moves returns to which nodes the edge has gone over since the last time.
func (s *silence) moves() (urls []string) {
	for len(s.events) > 0 {
		if e, ok := (<-s.events).(cdn.UpstreamChanged); ok && e.Err != nil {
			urls = append(urls, e.URL)
		}
	}
	return urls
}

// A relay that is there but gives nothing any more is left for the other one, which
// has more.
func TestASilentUpstreamIsLeft(t *testing.T) {
	needLinks(t)
	synctest.Test(t, func(t *testing.T) {
		s := newSilence(t)
		lost := time.Now()
		s.network.Between(s.origin.host, s.one.host, cdntest.Path{Loss: 1})
		time.Sleep(5 * time.Second)
		require.Equal(t, s.two.url(), s.edge.relay.Stats()[0].URL)
		require.Contains(t, s.moves(), s.two.url())
		require.Less(t, gap(s.viewer.Report().Video(), lost), ms(2200))
		s.plays()
	})
}

// When it is the publisher who is silent, nobody has more, and nothing moves.
func TestASilentPublisherMovesNothing(t *testing.T) {
	needLinks(t)
	for i := range 4 {
		synctest.Test(t, func(t *testing.T) {
			s := newSilence(t)
			time.Sleep(ms(500 * i))
			s.publisher.Pause()
			time.Sleep(4500 * time.Millisecond)
			s.publisher.Resume()
			time.Sleep(3 * time.Second)
			require.Empty(t, s.moves())
			require.Equal(t, s.one.url(), s.edge.relay.Stats()[0].URL)
			s.plays()
			require.Zero(t, s.viewer.Report().Video().TimestampJumps)
		})
	}
}

// Nor while that lasts longer: the relays know that the publisher is there.
func TestAPublisherWhoIsSilentForLong(t *testing.T) {
	needLinks(t)
	synctest.Test(t, func(t *testing.T) {
		s := newSilence(t)
		s.publisher.Pause()
		time.Sleep(12 * time.Second)
		require.Empty(t, s.moves())
		s.publisher.Resume()
		time.Sleep(3 * time.Second)
		require.Empty(t, s.moves())
		s.plays()
	})
}

// plays fails the test if the viewer does not play, or something is wrong.
func (s *silence) plays() {
	r := s.viewer.Report().Video()
	require.Zero(s.t, r.FaultCount, r.Faults)
	last := r.Frames[len(r.Frames)-1]
	require.Less(s.t, time.Since(last.Done), ms(100))
	require.Less(s.t, last.Latency(), ms(100))
}

// An upstream that is heard again before the other one has more stays.
func TestAnUpstreamThatIsHeardAgainStays(t *testing.T) {
	needLinks(t)
	synctest.Test(t, func(t *testing.T) {
		s := newSilence(t)
		s.network.Between(s.origin.host, s.two.host, cdntest.Path{Loss: 1})
		s.publisher.Pause()
		time.Sleep(2 * time.Second) // the other one is being tried
		s.publisher.Resume()
		time.Sleep(3 * time.Second)
		require.Empty(t, s.moves())
		require.Equal(t, s.one.url(), s.edge.relay.Stats()[0].URL)
		s.plays()
	})
}
