package delta_test

import (
	"bytes"
	"context"
	"net/http"
	"net/netip"
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
	"github.com/deltacdn/delta/signal/whip"
)

// A whipServer has a node's publishers come by HTTP, and notes what they request.
type whipServer struct {
	endpoint string // of the stream "live"

	mu       sync.Mutex
	requests []string // method, path and credential
}

func (w *world) serveWHIP(n *node) *whipServer {
	handler, err := whip.New(n.origin, whip.Config{})
	require.NoError(w.t, err)
	listener, err := n.host.Net().(cdn.TCPNetwork).ListenTCP(netip.AddrPortFrom(n.host.IP(), 80))
	require.NoError(w.t, err)
	s := &whipServer{endpoint: "http://" + n.host.IP().String() + "/whip/live?of=OBS"}
	server := signal.ServerDefaults(&http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests = append(s.requests, r.Method+" "+r.URL.Path+" "+r.Header.Get("Authorization"))
		s.mu.Unlock()
		handler.ServeHTTP(rw, r)
	})})
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener)
	}()
	w.t.Cleanup(func() {
		_ = server.Close()
		<-served
		require.NoError(w.t, handler.Close())
	})
	return s
}

// A watch reads a layer as a program at a node does, until its stream ends.
type watch struct {
	frames  int
	lost    uint64
	broken  int // times that frames were left out for a loss
	longest int // frames left out at once
	ended   time.Time
	err     error
}

// watchLayer begins to read a layer at a node, of which frames from the first one on count. The
// watch is complete when done is closed.
func (w *world) watchLayer(n *node, layer string, first int) (got *watch, done chan struct{}) {
	sub, err := n.relay.Open(w.within(time.Minute), cdn.Request{Stream: "live"})
	require.NoError(w.t, err)
	require.NoError(w.t, sub.Stream().Ready(w.within(10*time.Second)))
	i := 0
	for sub.Stream().Tracks()[i].Info().Kind != cdn.Video {
		i++
	}
	reader, err := sub.Stream().Tracks()[i].Reader(cdn.ReaderConfig{Layer: layer, Keyframe: true})
	require.NoError(w.t, err)
	got, done = &watch{}, make(chan struct{})
	go func() {
		defer close(done)
		defer sub.Close()
		defer func() { _ = reader.Close() }()
		last := -1
		for {
			f, err := reader.ReadFrame(context.Background())
			if err != nil {
				got.ended, got.err = time.Now(), err
				return
			}
			number := obsFrame(f.Data)
			if number < first {
				continue // it was published before the watch began
			}
			if missing := number - last - 1; last >= 0 && missing > 0 {
				got.broken++
				got.longest = max(got.longest, missing)
			}
			last = number
			got.frames++
			got.lost += f.Lost
		}
	}()
	return got, done
}

// obsFrame returns the number in a frame's first slice: see slice.
func obsFrame(annexB []byte) int {
	for _, kind := range []byte{0x41, 0x65} {
		begin := []byte{0, 0, 1, kind, 0x88}
		if _, rest, found := bytes.Cut(annexB, begin); found {
			return int(rest[0])<<8 | int(rest[1])
		}
	}
	return -1
}

// OBS publishes over a path that loses packets, and its stream is read behind a hop. OBS
// retransmits lost packets of the highest layer only. The other layers continue with the next
// keyframe, and no session ends. OBS closes DTLS before it sends its DELETE, and that still
// ends the stream at once.
func TestOBS(t *testing.T) {
	for offer, layers := range map[string][]string{"obs": {""}, "obs-simulcast": {"0", "1", "2"}} {
		t.Run(offer, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				path := cdntest.Path{Delay: ms(10)}
				n := w.node("origin", path)
				var err error
				n.origin, err = origin.New(n.Node, origin.Config{}) // not by PeerConnections, which do not take all of this
				require.NoError(t, err)
				w.serveNodes(n, n.origin)
				server := w.serveWHIP(n)
				e := w.edge("edge", path, edge.Config{}, n)

				o := newOBS(t, w.network.Host("studio", cdntest.Path{Delay: ms(10), Loss: 0.01}), offer, server.endpoint)
				requireAnswerForOBS(t, o.answer, layers)
				require.Regexp(t, "^/whip/live/", o.location, "the Location is relative")
				const first, frames = 60, 30 * 30
				o.stream(0, first) // so that bitrates are known
				var watches []*watch
				var done []chan struct{}
				for _, layer := range layers {
					got, over := w.watchLayer(e, layer, first)
					watches, done = append(watches, got), append(done, over)
				}
				o.stream(first, frames)
				require.Len(t, n.Sessions(), 2, "the publisher's, and the edge's")
				stopped := time.Now()
				o.stop()
				for i, got := range watches {
					<-done[i]
					require.ErrorIs(t, got.err, cdn.ErrEnded)
					require.Less(t, got.ended.Sub(stopped), time.Second)
				}
				requireOfOBS(t, o, watches, frames)
				require.Equal(t, []string{
					"POST /whip/live Bearer " + obsToken, "DELETE " + o.location + " Bearer " + obsToken,
				}, server.requests)
			})
		})
	}
}

// requireAnswerForOBS: libdatachannel takes no section that was not offered, and OBS
// sends the layers that are to be received under the ids that it has offered.
func requireAnswerForOBS(t *testing.T, answer string, layers []string) {
	require.Equal(t, 2, strings.Count(answer, "\nm="))
	require.NotContains(t, answer, "rtx/")
	if len(layers) > 1 {
		require.Contains(t, answer, "\na=simulcast:recv "+strings.Join(layers, ";")+"\r\n")
		require.Contains(t, answer, "\na=extmap:2 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\n")
	}
}

// requireOfOBS: the highest layer, which comes first, was repaired, and all others went on
// with a keyframe a second.
func requireOfOBS(t *testing.T, o *obs, watches []*watch, frames int) {
	require.Positive(t, o.again)
	require.Zero(t, watches[0].lost)
	require.Zero(t, watches[0].broken)
	require.InDelta(t, frames, watches[0].frames, 31)
	for _, got := range watches[1:] {
		require.Positive(t, got.lost)
		require.Positive(t, got.broken)
		require.Less(t, got.longest, 2*30)
		require.Greater(t, got.frames, frames/4)
	}
	if len(watches) > 1 {
		require.Positive(t, o.ignored)
	}
}
