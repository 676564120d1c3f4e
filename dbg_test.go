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

func TestDbg(t *testing.T) {
	for i, name := range []string{"pub", "hop", "view"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bad := cdntest.Path{Delay: ms(20), Jitter: ms(30), Loss: 0.05}
				w := newWorld(t)
				o := w.origin("origin", cdntest.Path{}, origin.Config{})
				e := w.edge("edge", cdntest.Path{}, edge.Config{}, o)
				publisher, viewer := w.network.Host("publisher of live", cdntest.Path{}), w.network.Host("viewer", cdntest.Path{})
				switch i {
				case 0:
					w.network.Between(publisher, o.host, bad)
				case 1:
					w.network.Between(o.host, e.host, bad)
				case 2:
					w.network.Between(e.host, viewer, bad)
				}
				p := w.publish(o, "live", cdntest.Path{}, cdntest.PublisherConfig{Video: &cdntest.Video{Bitrate: 2_000_000}})
				require.NoError(t, p.WaitConnected(w.within(20*time.Second)))
				v := w.view(e, "live", "viewer", cdntest.Path{}, cdntest.ViewerConfig{})
				require.NoError(t, v.WaitFrames(w.within(3*time.Minute), 1000))
				r := v.Report().Video()
				t.Logf("latency p50 %v p99 %v p99.9 %v worst %v repaired %d", r.Latency(0.5), r.Latency(0.99), r.Latency(0.999), r.Latency(1), r.Repaired)
				t.Logf("o %+v", o.Stats().Streams[0].Tracks[0].Layers[0])
				t.Logf("e %+v", e.Node.Stats().Streams[0].Tracks[0].Layers[0])
				t.Logf("pub nacks %d; v %+v", p.Report().Video[0].NACKs, e.edge.Stats().Sessions)
				t.Logf("%+v", w.network.Traffic(o.host, e.host))
				t.Logf("%+v", w.network.Traffic(e.host, o.host))
			})
		})
	}
}
