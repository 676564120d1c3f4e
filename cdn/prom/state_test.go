package prom_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/prom"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/relay"
	"github.com/deltacdn/delta/signal"
)

// A site is a node with all services, whose streams are fed by the test.
type site struct {
	node      *cdn.Node
	edge      *edge.Edge
	collector *prom.Collector
	streams   map[cdn.StreamID]*cdn.Stream
}

// source is a [cdn.Source] of the site's streams.
type source struct{ *site }

func newSite(t testing.TB) *site {
	t.Helper()
	node, err := cdn.Listen(cdn.Config{
		ID: "node", Addr: "127.0.0.1:0", Limits: cdn.Limits{Sessions: 6000, HalfOpen: 6000, Tracks: 20, Layers: 8},
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, node.Close()) })
	s := &site{node: node, streams: make(map[cdn.StreamID]*cdn.Stream)}
	s.edge, err = edge.New(node, edge.Config{Source: source{s}})
	require.NoError(t, err)
	o, err := origin.New(node, origin.Config{})
	require.NoError(t, err)
	server, err := relay.NewServer(node, source{s})
	require.NoError(t, err)
	s.collector = prom.New(prom.Config{Node: node, Group: "test", Edge: s.edge, Origin: o, Server: server})
	return s
}

// noBack is a sender that is asked for nothing.
type noBack struct{}

func (noBack) RequestKeyframe() {}
func (noBack) Nack([]uint16)    {}

// publish makes a stream with sound and a track of video of each number of layers.
func (s *site) publish(t testing.TB, id cdn.StreamID, layers ...int) {
	t.Helper()
	stream, err := s.node.NewStream(id)
	require.NoError(t, err)
	in, err := stream.NewInput(cdn.InputConfig{})
	require.NoError(t, err)
	tracks := []cdn.TrackInfo{{ID: "sound", Kind: cdn.Audio, Codec: cdn.Codec{MimeType: "audio/opus", ClockRate: 48000, Channels: 2}, Layers: []string{""}}}
	for i, n := range layers {
		info := cdn.TrackInfo{ID: fmt.Sprint("picture", i), Kind: cdn.Video, Codec: cdn.Codec{MimeType: "video/VP8", ClockRate: 90000}}
		for l := range n {
			info.Layers = append(info.Layers, fmt.Sprint("l", l))
		}
		tracks = append(tracks, info)
	}
	require.NoError(t, in.Start(tracks))
	for i, info := range tracks {
		for _, name := range info.Layers {
			l, err := in.Layer(i, name, noBack{})
			require.NoError(t, err)
			l.Write(time.Now(), &rtp.Packet{
				Header: rtp.Header{Version: 2, SequenceNumber: 1, Timestamp: 1, Marker: true}, Payload: []byte{0x10, 0, 0, 0, 0, 0},
			}, nil)
		}
	}
	s.streams[id] = stream
}

// offerOf returns a browser's offer to receive.
func offerOf(t testing.TB) string {
	t.Helper()
	pc, err := webrtc.NewPeerConnection(webrtc.Configuration{})
	require.NoError(t, err)
	defer func() { _ = pc.Close() }()
	for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeAudio, webrtc.RTPCodecTypeVideo} {
		_, err := pc.AddTransceiverFromKind(kind, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly})
		require.NoError(t, err)
	}
	offer, err := pc.CreateOffer(nil)
	require.NoError(t, err)
	return offer.SDP
}

// view lets viewers in: sessions that are answered and wait for their clients.
func (s *site) view(t testing.TB, id cdn.StreamID, n int, offer string) (all []signal.Session) {
	t.Helper()
	for i := range n {
		v, err := s.edge.Offer(t.Context(), signal.Offer{
			Stream: id, SDP: offer, RemoteAddr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1}), 1000).String(),
		})
		require.NoError(t, err)
		all = append(all, v)
	}
	return all
}

func offerFor(id cdn.StreamID, sdp string) signal.Offer { return signal.Offer{Stream: id, SDP: sdp} }
