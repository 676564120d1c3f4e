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

// A player behind a long path that loses packets is told to hold pictures back until a repair
// has come, and one behind a clean path is not.
func TestPlayersWaitForRepairs(t *testing.T) {
	for name, c := range map[string]struct {
		loss  float64
		adapt edge.Adapt
		told  bool
	}{
		"loss":    {loss: 0.02, told: true},
		"clean":   {},
		"not now": {loss: 0.02, adapt: edge.Adapt{RepairDelay: -1}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				o := w.origin("origin", cdntest.Path{}, origin.Config{})
				e := w.edge("edge", cdntest.Path{}, edge.Config{Adapt: func(cdn.StreamID) edge.Adapt { return c.adapt }}, o)
				p := w.publish(o, "live", cdntest.Path{}, cdntest.PublisherConfig{Video: &cdntest.Video{}})
				require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
				path := cdntest.Path{Delay: 75 * time.Millisecond, Loss: c.loss}
				v := w.view(e, "live", "viewer", path, cdntest.ViewerConfig{Extensions: []string{playoutDelay}})
				require.NoError(t, v.WaitFrames(w.within(5*time.Second), 1))
				time.Sleep(20 * time.Second)
				told := v.Report().Video().Extensions[playoutDelay]
				delay := e.edge.Stats().Sessions[0].Path.RepairDelay
				if !c.told {
					require.Empty(t, told)
					require.Zero(t, delay)
					return
				}
				require.GreaterOrEqual(t, delay, 230*time.Millisecond, "a round trip and 80 ms")
				require.LessOrEqual(t, delay, 500*time.Millisecond)
				require.Len(t, told, 3)
				require.Equal(t, delay, 10*time.Millisecond*time.Duration(int(told[0])<<4|int(told[1])>>4))
			})
		})
	}
}
