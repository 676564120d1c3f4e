package delta_test

import (
	"maps"
	"slices"
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

// stockPion is a viewer with pion's default interceptors. Every 100 ms its NACK generator
// asks for all packets that are missing among the last 512. Packets that were repaired by
// RTX count as missing there.
var stockPion = cdntest.ViewerConfig{
	NoNACK: true, ReceiverReports: -1, // in their place:
	Tune: func(_ *webrtc.SettingEngine, m *webrtc.MediaEngine, r *interceptor.Registry) error {
		return webrtc.RegisterDefaultInterceptors(m, r)
	},
}

// A viewer that loses much, or whose packets overtake one another, plays nearly all frames
// in time, and what is sent again stays below a quarter of what is sent.
func TestRepairsOfViewersOnBadPaths(t *testing.T) {
	skipPeerConnections(t)
	clean := cdntest.Path{Delay: ms(50)}
	lossy := cdntest.Path{Delay: ms(50), Loss: 0.05}
	shaky := cdntest.Path{Delay: ms(50), Jitter: ms(50)}
	both := cdntest.Path{Delay: ms(50), Jitter: ms(50), Loss: 0.05}
	rows := map[string]struct {
		down, up cdntest.Path
		viewer   cdntest.ViewerConfig
		in       time.Duration // the time that a frame may take
		whole    float64       // of the frames, within that time, at least
		repairs  float64       // of all packets, at most
	}{
		"pion, 5 % lost":               {lossy, clean, stockPion, ms(400), 0.985, 0.12},
		"pion, 5 % lost, requests too": {lossy, lossy, stockPion, ms(500), 0.98, 0.12},
		"pion, jitter of 50 ms":        {shaky, shaky, stockPion, ms(400), 0.99, 0.1},
		"pion, jitter and loss":        {both, clean, stockPion, ms(500), 0.96, 0.2},
		"5 % lost":                     {lossy, clean, cdntest.ViewerConfig{}, ms(400), 0.985, 0.08}, // 0.997 on average
		"jitter of 50 ms":              {shaky, shaky, cdntest.ViewerConfig{}, ms(400), 0.99, 0.1},
		"jitter and loss":              {both, clean, cdntest.ViewerConfig{}, ms(600), 0.98, 0.15},
		"reordering":                   {cdntest.Path{Delay: ms(50), Reorder: 0.2, ReorderBy: ms(40)}, clean, cdntest.ViewerConfig{}, ms(400), 0.99, 0.1},
	}
	for _, name := range someOf(slices.Sorted(maps.Keys(rows))) {
		c := rows[name]
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				o := w.origin("origin", cdntest.Path{}, origin.Config{})
				p := w.publish(o, "live", cdntest.Path{}, cdntest.PublisherConfig{Video: &cdntest.Video{Bitrate: 2_500_000}, Audio: &cdntest.Audio{}})
				require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
				w.network.Host("viewer", c.down).SetUplink(c.up)
				v := w.view(o, "live", "viewer", c.down, c.viewer)
				require.NoError(t, v.WaitFrames(w.within(2*time.Minute), 1800))
				r, sent := v.Report().Video(), o.edge.Stats()
				r.Frames = r.Frames[30:] // those that the viewer caught up with were not new
				share := float64(sent.Resent) / float64(sent.Packets+sent.Resent)
				t.Logf("whole within %v: %.4f; latency p50 %v, p99 %v; %d partial, %d absent, %d of %d packets missing, %d faults; repairs: %.3f of all packets",
					c.in, r.WholeWithin(c.in), r.Latency(0.5), r.Latency(0.99), r.Partial, r.Absent, r.Missing, r.Packets, r.FaultCount, share)
				require.GreaterOrEqual(t, r.WholeWithin(c.in), c.whole)
				require.Less(t, r.Missing, r.Packets/100)
				require.LessOrEqual(t, share, c.repairs)
				for len(w.events) > 0 {
					_, slow := (<-w.events).(cdn.ViewerSlow)
					require.False(t, slow)
				}
			})
		})
	}
}

// asksForAll asks each 20 ms for each of the last 512 packets of each stream.
type asksForAll struct {
	interceptor.NoOp
	mu      sync.Mutex
	highest map[uint32]uint16
	running sync.WaitGroup
	stop    chan struct{}
}

func (a *asksForAll) NewInterceptor(string) (interceptor.Interceptor, error) { return a, nil }

func (a *asksForAll) BindRemoteStream(info *interceptor.StreamInfo, r interceptor.RTPReader) interceptor.RTPReader {
	return interceptor.RTPReaderFunc(func(b []byte, at interceptor.Attributes) (int, interceptor.Attributes, error) {
		n, at, err := r.Read(b, at)
		if err == nil && n >= 12 {
			a.mu.Lock()
			a.highest[info.SSRC] = uint16(b[2])<<8 | uint16(b[3])
			a.mu.Unlock()
		}
		return n, at, err
	})
}

func (a *asksForAll) BindRTCPWriter(w interceptor.RTCPWriter) interceptor.RTCPWriter {
	a.running.Go(func() {
		for {
			select {
			case <-time.After(ms(20)):
				a.ask(w)
			case <-a.stop:
				return
			}
		}
	})
	return w
}

func (a *asksForAll) ask(w interceptor.RTCPWriter) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for ssrc, highest := range a.highest {
		n := &rtcp.TransportLayerNack{MediaSSRC: ssrc}
		for back := uint16(512); back >= 17; back -= 17 {
			n.Nacks = append(n.Nacks, rtcp.NackPair{PacketID: highest - back, LostPackets: 0xffff})
		}
		_, _ = w.Write([]rtcp.Packet{n}, nil) // if this fails, the next round asks again
	}
}

func (a *asksForAll) Close() error {
	close(a.stop)
	a.running.Wait()
	return nil
}

// A viewer that asks for everything again and again gets no more than its share, and
// another one loses nothing by it.
func TestAViewersShareOfRepairs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		path := cdntest.Path{Delay: ms(10)}
		o := w.origin("origin", path, origin.Config{})
		p := w.publish(o, "live", path, cdntest.PublisherConfig{Video: &cdntest.Video{Bitrate: 2_000_000}})
		require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
		hostile := cdntest.ViewerConfig{Tune: func(_ *webrtc.SettingEngine, _ *webrtc.MediaEngine, r *interceptor.Registry) error {
			r.Add(&asksForAll{highest: map[uint32]uint16{}, stop: make(chan struct{})})
			return nil
		}}
		w.view(o, "live", "hostile", path, hostile)
		other := w.view(o, "live", "other", path, cdntest.ViewerConfig{})
		require.NoError(t, other.WaitFrames(w.within(time.Minute), 900))
		r := other.Report().Video()
		require.Zero(t, r.Missing+r.Partial+r.Absent+r.FaultCount)
		stats := o.edge.Stats()
		media, resent := float64(stats.Packets)/2, float64(stats.Resent)
		t.Logf("%.0f packets a viewer, %.0f sent again", media, resent)
		require.Greater(t, resent, media/5)
		require.LessOrEqual(t, resent, media/4+32+media/30, "a quarter, the burst, and the opening")
	})
}
