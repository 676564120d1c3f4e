package link

import (
	"context"
	"encoding/binary"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/link/control"
)

// What comes while the answer to a subscription is acted on is kept, as what
// came before it.
func TestEarlyMediaWhileTheAnswerIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, s, f := unanswered(t)
		packet := func(seq uint16) []byte {
			p := rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: 96, SequenceNumber: seq, SSRC: 77}, Payload: []byte{1, 2, 3}}
			raw, err := p.Marshal()
			require.NoError(t, err)
			require.EqualValues(t, 77, binary.BigEndian.Uint32(raw[8:]))
			return raw
		}
		now := time.Now()
		l.media.receiveRTP(now, packet(1))
		require.Len(t, l.media.early.packets, 1, "before the answer")
		// As begin does, before it makes the sources known.
		input, err := s.NewInput(cdn.InputConfig{})
		require.NoError(t, err)
		f.mu.Lock()
		f.input = input
		f.mu.Unlock()
		l.media.receiveRTP(now, packet(2))
		require.Len(t, l.media.early.packets, 2, "while the answer is taken")
		l.end(cdn.ErrClosed)
	})
}

// unanswered returns a link that is up, and a subscription on it that the other node does
// not answer.
func unanswered(t *testing.T) (*Link, *cdn.Stream, *inbound) {
	a, b := pair(t, cdn.Trust{}, cdn.Trust{})
	b.Serve(hangs{})
	l, err := a.to(cdn.Entry{URL: "two"}, wires{to: map[string]*Links{"two": b}})
	require.NoError(t, err)
	s, err := a.node.NewStream("s")
	require.NoError(t, err)
	f, err := l.subscribe(FetchConfig{Request: cdn.Request{Stream: "s"}, Silence: time.Hour}, s)
	require.NoError(t, err)
	l.start()
	<-l.up
	return l, s, f
}

type hangs struct{}

func (hangs) Open(ctx context.Context, _ cdn.Request) (*cdn.Subscription, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// A fetch that is given up while its answer is acted on leaves nothing.
func TestEndedWhileTheAnswerIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, s, f := unanswered(t)
		// begin, step by step, with the end of the fetch before its last one.
		tracks := []control.Track{{ID: "v", Kind: "video", MimeType: "video/VP8", ClockRate: 90000, PT: 96, Layers: []control.Layer{{SSRC: 77}}}}
		input, err := s.NewInput(cdn.InputConfig{})
		require.NoError(t, err)
		f.mu.Lock()
		f.input = input
		f.mu.Unlock()
		require.NoError(t, input.Start([]cdn.TrackInfo{trackInfo(tracks[0])}))
		sources, err := f.sources(input, tracks)
		require.NoError(t, err)
		f.end(cdn.ErrTimeout)
		l.media.add(f, sources)
		require.Empty(t, l.media.sources, "for as long as the link lasts")
		l.end(cdn.ErrClosed)
	})
}

// Fetches by two URLs of one node, begun at one moment on cold links.
func TestFetchByTwoURLsOfOneNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, cdn.Trust{Secret: "s"}, cdn.Trust{Secret: "s"})
		b.Serve(hangs{})
		w := wires{map[string]*Links{"two": b, "deux": b}, "192.0.2.7:1"}
		type result struct {
			err error
			at  time.Duration
		}
		begun := time.Now()
		results := make(chan result, 2)
		for _, url := range []string{"two", "deux"} {
			s, err := a.node.NewStream(cdn.StreamID(url))
			require.NoError(t, err)
			go func() {
				ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
				defer cancel()
				err := a.Fetch(ctx, cdn.Entry{URL: url}, FetchConfig{Request: cdn.Request{Stream: s.ID()}, Dialer: w, Silence: time.Minute}, s)
				results <- result{err, time.Since(begun)}
			}()
		}
		for range 2 {
			r := <-results
			t.Log(r.at, r.err)
			if r.at < 8*time.Second {
				t.Error("a fetch failed, though the node is there")
			}
		}
	})
}

// A packet whose source has become known since that was looked for goes to it.
func TestMediaWhileItsSourceIsMadeKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, cdn.Trust{}, cdn.Trust{})
		b.Serve(hangs{})
		l, err := a.to(cdn.Entry{URL: "two"}, wires{to: map[string]*Links{"two": b}})
		require.NoError(t, err)
		l.start()
		<-l.up
		known := &source{in: &inbound{link: l}, ssrc: 77}
		l.media.add(known.in, []*source{known})
		packet := make([]byte, 12)
		binary.BigEndian.PutUint32(packet[8:], 77)
		require.Same(t, known, l.media.hold(time.Now(), packet))
		require.Empty(t, l.media.early.packets)
		l.end(cdn.ErrClosed)
	})
}
