package delta_test

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/flexfec"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/internal/rtp/fec/fectest"
	"github.com/deltacdn/delta/origin"
)

const (
	redPayloadType  = 121
	ulpPayloadType  = 122
	flexPayloadType = 49
)

// ulpfec sends video in RED with ULPFEC in the numbers of the media: a parity of each two
// neighbours, and of each two packets that are two apart.
type ulpfec struct{ interceptor.NoOp }

func (u *ulpfec) NewInterceptor(string) (interceptor.Interceptor, error) { return u, nil }

func (u *ulpfec) BindLocalStream(info *interceptor.StreamInfo, w interceptor.RTPWriter) interceptor.RTPWriter {
	if !strings.HasPrefix(info.MimeType, "video/") {
		return w
	}
	var mu sync.Mutex
	var seq uint16
	var group [][]byte // as they are protected
	inRED := func(h rtp.Header, pt uint8, payload []byte) error {
		h.SequenceNumber, h.PayloadType = seq, redPayloadType
		seq++
		_, err := w.Write(&h, append([]byte{pt}, payload...), nil)
		return err
	}
	return interceptor.RTPWriterFunc(func(h *rtp.Header, payload []byte, _ interceptor.Attributes) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		one := rtp.Packet{Header: *h, Payload: payload}
		one.SequenceNumber = seq
		raw, err := one.Marshal()
		if err != nil {
			return 0, err
		}
		group = append(group, raw)
		err = inRED(*h, h.PayloadType, payload)
		if !h.Marker && len(group) < 8 {
			return len(payload), err
		}
		parity := rtp.Header{Version: 2, SSRC: h.SSRC, Timestamp: h.Timestamp}
		for i := range group {
			if i%2 == 0 {
				err = inRED(parity, ulpPayloadType, fectest.ULP(-1, group[i:min(i+2, len(group))]...))
			}
		}
		for i := range group {
			if protected := [][]byte{group[i]}; i%4 < 2 {
				if i+2 < len(group) {
					protected = append(protected, group[i+2])
				}
				err = inRED(parity, ulpPayloadType, fectest.ULP(-1, protected...))
			}
		}
		group = nil
		return len(payload), err
	})
}

// withULPFEC has a publisher offer and send ULPFEC.
func withULPFEC(_ *webrtc.SettingEngine, m *webrtc.MediaEngine, r *interceptor.Registry) error {
	for pt, name := range map[webrtc.PayloadType]string{redPayloadType: "video/red", ulpPayloadType: "video/ulpfec"} {
		c := webrtc.RTPCodecParameters{RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: name, ClockRate: 90000}, PayloadType: pt}
		if err := m.RegisterCodec(c, webrtc.RTPCodecTypeVideo); err != nil {
			return err
		}
	}
	r.Add(&ulpfec{})
	return nil
}

// withFlexFEC has a publisher offer and send the FlexFEC of pion, which is an implementation
// of the draft by others.
func withFlexFEC(_ *webrtc.SettingEngine, m *webrtc.MediaEngine, r *interceptor.Registry) error {
	return webrtc.ConfigureFlexFEC03(flexPayloadType, m, r, flexfec.NumMediaPackets(2), flexfec.NumFECPackets(2))
}

// A watcher counts what a viewer gets, by payload types and SSRCs.
type watcher struct {
	interceptor.NoOp
	mu      sync.Mutex
	types   map[uint8]int
	sources map[uint32]int
}

func (w *watcher) NewInterceptor(string) (interceptor.Interceptor, error) { return w, nil }

func (w *watcher) BindRemoteStream(_ *interceptor.StreamInfo, r interceptor.RTPReader) interceptor.RTPReader {
	return interceptor.RTPReaderFunc(func(b []byte, at interceptor.Attributes) (int, interceptor.Attributes, error) {
		n, at, err := r.Read(b, at)
		var h rtp.Header
		if _, bad := h.Unmarshal(b[:n]); err == nil && bad == nil {
			w.mu.Lock()
			w.types[h.PayloadType]++
			w.sources[h.SSRC]++
			w.mu.Unlock()
		}
		return n, at, err
	})
}

// A publisher that sends nothing again, over a path that loses 5 %: its forward error
// correction repairs nearly all frames at the origin, without delay, and nothing of it goes on to
// viewers, there and behind a hop. Without it, the losses show.
func TestForwardErrorCorrection(t *testing.T) {
	skipPeerConnections(t)
	for name, c := range someIn(map[string]struct {
		tune        func(*webrtc.SettingEngine, *webrtc.MediaEngine, *interceptor.Registry) error
		origin      origin.Config
		nack        bool
		least, most float64 // of the frames, whole within 100 ms
	}{
		"ULPFEC":              {tune: withULPFEC, least: 0.99, most: 1},
		"FlexFEC":             {tune: withFlexFEC, least: 0.99, most: 1},
		"without":             {least: 0.5, most: 0.9},
		"not asked for":       {tune: withFlexFEC, origin: origin.Config{FEC: origin.FECNever}, least: 0.5, most: 0.9},
		"beside NACK, always": {tune: withFlexFEC, origin: origin.Config{FEC: origin.FECAlways}, nack: true, least: 0.99, most: 1},
	}) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				o := w.origin("origin", cdntest.Path{}, c.origin)
				e := w.edge("edge", cdntest.Path{Delay: ms(5)}, edge.Config{}, o)
				publisher := w.network.Host("publisher of live", cdntest.Path{})
				publisher.SetUplink(cdntest.Path{Delay: ms(40), Loss: 0.05})
				p := w.publishFrom(o, "live", cdntest.PublisherConfig{
					Net: publisher.Net(), NoRTX: !c.nack, Tune: c.tune, Video: &cdntest.Video{Bitrate: 550_000, KeyframeScale: 2},
				})
				require.NoError(t, p.WaitConnected(w.within(20*time.Second)))
				var viewers []*cdntest.Viewer
				var watchers []*watcher
				for _, at := range []*node{o, e} {
					seen := &watcher{types: map[uint8]int{}, sources: map[uint32]int{}}
					tune := func(_ *webrtc.SettingEngine, _ *webrtc.MediaEngine, r *interceptor.Registry) error {
						r.Add(seen)
						return nil
					}
					viewers = append(viewers, w.view(at, "live", "viewer at "+at.name, cdntest.Path{}, cdntest.ViewerConfig{Tune: tune}))
					watchers = append(watchers, seen)
				}
				for i, v := range viewers {
					require.NoError(t, v.WaitFrames(w.within(2*time.Minute), 1000))
					r, got := v.Report().Video(), o.origin.Stats()
					whole := r.WholeWithin(ms(100))
					t.Logf("viewer %d: whole within 100 ms: %.4f, %d partial, %d absent, latency p99 %v; at the origin: %d packets, %d restored, dropped %v; asked for again: %d",
						i, whole, r.Partial, r.Absent, r.Latency(0.99), got.Packets, got.Restored, got.Dropped, p.Report().Video[0].NACKs)
					require.Zero(t, r.FaultCount, r.Faults)
					require.GreaterOrEqual(t, whole, c.least)
					require.LessOrEqual(t, whole, c.most)
					require.Equal(t, c.most == 1, got.Restored > 0)
					require.Equal(t, c.nack, p.Report().Video[0].NACKs > 0)
					watchers[i].mu.Lock()
					types := slices.Sorted(maps.Keys(watchers[i].types))
					require.LessOrEqual(t, len(watchers[i].sources), 2, "media, and its retransmissions")
					watchers[i].mu.Unlock()
					for _, pt := range types {
						require.Contains(t, []uint8{96, 97, 98, 99}, pt)
					}
				}
			})
		})
	}
}
