//go:build !race

package viewer

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/internal/endpoint"
	"github.com/deltacdn/delta/internal/endpoint/dtlssrtp"
	"github.com/deltacdn/delta/internal/send"
)

// mostMemory is what a session may hold that plays video and sound, and dozes, in bytes. What
// the edge and signaling keep of it, about 1,500 bytes more, is not in it.
const mostMemory = 11_500

// leastMemory is less than any session holds. What is freed between the measurements, of others
// than the sessions, could hide what they hold.
const leastMemory = 5_000

// A session of a viewer like Chromium, on a path that carries all there is, holds little
// memory.
func TestMemoryOfASession(t *testing.T) {
	const viewers = 200
	offer, err := os.ReadFile(filepath.Join("testdata", "offers", "chromium-video-audio.sdp"))
	require.NoError(t, err)
	synctest.Test(t, func(t *testing.T) {
		network := cdntest.NewNetwork(t, cdntest.NetworkConfig{})
		host := network.Host("node", cdntest.Path{})
		node, err := cdn.Listen(cdn.Config{Addr: host.IP().String() + ":7000", Net: host.Net()})
		require.NoError(t, err)
		defer func() { require.NoError(t, node.Close()) }()
		r := newReel(t, node)
		join := func() *seat {
			return newSeat(t, newLean(t, network.Host("viewers", cdntest.Path{}), node), r, string(offer))
		}
		first := join() // of what all have in common
		r.play(first)
		before := heap()
		seats := make([]*seat, viewers)
		for i := range seats {
			seats[i] = join()
		}
		r.play(append(seats, first)...)
		sessions := make([]*Session, viewers)
		for i, s := range seats {
			require.True(t, s.session.Stats().Path.Dozing)
			sessions[i] = s.session
			s.client.close()
		}
		clear(seats)
		each := int(heap()-before) / viewers
		t.Logf("%d bytes a session", each)
		assert.Less(t, each, mostMemory)
		assert.Greater(t, each, leastMemory, "not all of it was measured")
		for _, s := range append(sessions, first.session) {
			require.NoError(t, s.Err())
			s.End(cdn.ErrClosed)
		}
		first.client.close()
		for _, s := range append(sessions, first.session) {
			<-s.Done()
		}
	})
}

// heap returns how much of it is in use.
func heap() uint64 {
	synctest.Wait()
	runtime.GC()
	runtime.GC() // of what finalizers have freed
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A reel is a stream of video and sound.
type reel struct {
	stream *cdn.Stream
	layers [2]*cdn.LayerInput
	seq    uint16
	watch  endpoint.Watch // of all who watch it
}

func newReel(t *testing.T, node *cdn.Node) *reel {
	r := &reel{}
	var err error
	r.stream, err = node.NewStream("live")
	require.NoError(t, err)
	in, err := r.stream.NewInput(cdn.InputConfig{})
	require.NoError(t, err)
	require.NoError(t, in.Start([]cdn.TrackInfo{
		{ID: "video", Kind: cdn.Video, Codec: cdn.Codec{MimeType: "video/VP8", ClockRate: 90000}, Layers: []string{""}},
		{ID: "audio", Kind: cdn.Audio, Codec: cdn.Codec{MimeType: "audio/opus", ClockRate: 48000, Channels: 2}, Layers: []string{""}},
	}))
	for i := range r.layers {
		r.layers[i], err = in.Layer(i, "", noBack{})
		require.NoError(t, err)
	}
	return r
}

// play plays until viewers with a good path doze, who report each second.
func (r *reel) play(all ...*seat) {
	const rate = 10 // frames a second
	for i := range 20 * rate {
		r.seq++
		now := time.Now()
		header := rtp.Header{Version: 2, SequenceNumber: r.seq, Marker: true}
		header.Timestamp = uint32(r.seq) * 90000 / rate
		r.layers[0].Write(now, &rtp.Packet{Header: header, Payload: append([]byte{0x10, 0, 0, 0, 1, 2, 3}, make([]byte, 500)...)}, nil)
		header.Timestamp = uint32(r.seq) * 48000 / rate
		r.layers[1].Write(now, &rtp.Packet{Header: header, Payload: make([]byte, 50)}, nil)
		time.Sleep(time.Second / rate)
		for _, s := range all {
			if i%rate == 0 {
				s.report(uint32(r.seq))
			}
		}
	}
}

// A seat is a session, and the viewer that has it.
type seat struct {
	session *Session
	client  *lean
	sealer  *dtlssrtp.Sealer
}

// newSeat returns when the session's DTLS is parked: so the goroutines of handshakes, whose
// memory the runtime keeps, are few at a time.
func newSeat(t *testing.T, client *lean, r *reel, offer string) *seat {
	s, err := Answer(Config{
		Config: send.Config{StartRate: send.DefaultStartRate}, Stream: r.stream, Transport: client.its, Log: client.its.PionLog, Watch: &r.watch,
	}, client.own(offer))
	require.NoError(t, err)
	require.Contains(t, s.SDP(), s.Credentials().Ufrag)
	one := &seat{s, client, client.connect(s.Credentials())}
	synctest.Wait()
	one.report(uint32(r.seq))
	synctest.Wait()
	return one
}

// report tells that all came up to a number.
func (s *seat) report(highest uint32) {
	var blocks []rtcp.ReceptionReport
	for _, ssrc := range s.session.ssrcs {
		blocks = append(blocks, rtcp.ReceptionReport{SSRC: ssrc, LastSequenceNumber: highest})
	}
	raw, err := rtcp.Marshal([]rtcp.Packet{&rtcp.ReceiverReport{SSRC: 1, Reports: blocks}})
	require.NoError(s.client.t, err)
	sealed, err := s.sealer.RTCP(raw)
	require.NoError(s.client.t, err)
	require.NoError(s.client.t, s.client.send(sealed))
}
