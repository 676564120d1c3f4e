package control

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A subscription needs one round trip, and the hello none of its own.
func TestSubscribeTakesOneRoundTrip(t *testing.T) {
	s := newSim(1)
	s.serveAll(1, 1)
	var took time.Duration
	serve := s.watch
	s.watch = func(side int, e Event) {
		serve(side, e)
		if _, ok := e.(Accepted); ok {
			took = s.now.Sub(epoch)
		}
	}
	s.end[0].Subscribe(s.now, Subscribe{Stream: "live"})
	s.run(t, time.Second)
	require.Equal(t, 50*time.Millisecond, took)
	require.Equal(t, "b", of[Opened](s.events[0])[0].Hello.Node)
}

// With a fifth of all datagrams lost, jitter, reordering and doubles, everything
// arrives, and ends.
func TestUnderLoss(t *testing.T) {
	for seed := range uint64(10) {
		s := newSim(seed)
		s.loss, s.jitter, s.double = 0.2, 40*time.Millisecond, 0.1
		s.serveAll(1, 60) // some 6 KiB, which is cut into parts
		const streams = 200
		var ids []uint64
		for i := range streams {
			ids = append(ids, s.end[0].Subscribe(s.now, Subscribe{Stream: fmt.Sprint("live/", i)}))
		}
		s.run(t, 20*time.Second)
		accepted := of[Accepted](s.events[0])
		require.Len(t, accepted, streams)
		for _, a := range accepted {
			require.Len(t, a.Subscribed.Tracks, 60)
		}
		for i, id := range ids {
			if i%2 == 0 {
				s.end[0].Unsubscribe(s.now, id)
			} else {
				s.end[1].End(s.now, id, Reason{Code: "ended"})
			}
		}
		s.run(t, 20*time.Second)
		require.Len(t, of[Left](s.events[1]), streams/2)
		require.Len(t, of[Ended](s.events[0]), streams/2)
		for _, c := range s.end {
			require.Empty(t, c.asks)
			require.Empty(t, c.serves.running)
			require.Empty(t, c.serves.early)
			require.Empty(t, c.out.parts)
			require.Empty(t, c.in.pending)
		}
		require.Empty(t, of[Closed](append(s.events[0], s.events[1]...)))
		require.LessOrEqual(t, s.longest, maxDatagram)
	}
}

// One that is lost again and again holds up no other.
func TestALostOneHoldsUpNoOther(t *testing.T) {
	s := pair(t)
	s.serveAll(1, 1)
	asked := map[uint64]time.Time{}
	var slowest time.Duration
	serve := s.watch
	s.watch = func(side int, e Event) {
		serve(side, e)
		if a, ok := e.(Accepted); ok {
			slowest = max(slowest, s.now.Sub(asked[a.ID]))
		}
	}
	unlucky := s.end[0].Subscribe(s.now, Subscribe{Stream: "unlucky"})
	s.edit = func(_ int, d []byte) []byte {
		return without(d, func(p part) bool { return strings.Contains(string(p.data), "unlucky") })
	}
	const others = window - 2
	for range others {
		asked[s.end[0].Subscribe(s.now, Subscribe{Stream: "other"})] = s.now
		s.run(t, 3*time.Millisecond)
	}
	s.run(t, 100*time.Millisecond)
	require.Len(t, of[Accepted](s.events[0]), others)
	require.Equal(t, 50*time.Millisecond, slowest)
	s.edit = nil
	s.run(t, 2*time.Second)
	accepted := of[Accepted](s.events[0])
	require.Equal(t, unlucky, accepted[len(accepted)-1].ID)
}

// Beyond the window nothing is sent, and nothing is lost.
func TestTheWindowEnds(t *testing.T) {
	s := pair(t)
	s.serveAll(1, 1)
	s.end[0].Subscribe(s.now, Subscribe{Stream: "unlucky"})
	s.edit = func(_ int, d []byte) []byte {
		return without(d, func(p part) bool { return strings.Contains(string(p.data), "unlucky") })
	}
	for range 2 * window {
		s.end[0].Subscribe(s.now, Subscribe{Stream: "other"})
	}
	s.run(t, 5*time.Second)
	require.Len(t, of[Accepted](s.events[0]), window-1)
	s.edit = nil
	s.run(t, 5*time.Second)
	require.Len(t, of[Accepted](s.events[0]), 2*window+1)
}

// Each datagram of a first flight can be acted on without the others.
func TestAFirstFlightOfSeveralDatagrams(t *testing.T) {
	s := newSim(1)
	s.serveAll(1, 1)
	const streams = 200
	for i := range streams {
		s.end[0].Subscribe(s.now, Subscribe{Stream: fmt.Sprint("live/", i)})
	}
	lost := 0
	s.edit = func(to int, d []byte) []byte {
		if to == 1 && lost == 0 {
			_ = frames(d, func(t frameType, _ []byte) {
				if t == framePart {
					lost++
				}
			})
			return nil
		}
		return d
	}
	s.run(t, 30*time.Millisecond)
	require.Greater(t, lost, 10)
	require.Len(t, of[Asked](s.events[1]), streams-(lost-1), "all but those of the first datagram, in which the hello was, too")
	s.run(t, time.Second)
	require.Len(t, of[Accepted](s.events[0]), streams)
}

// 8 tracks of 8 layers with long parameters are more than a datagram.
func TestALongMessage(t *testing.T) {
	var want Subscribed
	for i := range 8 {
		track := Track{ID: fmt.Sprint("track", i), Kind: "video", MimeType: "video/H264", ClockRate: 90000, Fmtp: strings.Repeat("sprop-parameter-sets=", 100)}
		for k := range 8 {
			track.Layers = append(track.Layers, Layer{Name: fmt.Sprint("layer", k), SSRC: uint32(i*8 + k), RTX: 1 << 31, Clock: &Clock{RTP: 1, NTP: 1 << 63}, Bitrate: 2.5e6})
		}
		want.Tracks = append(want.Tracks, track)
	}
	for _, loss := range []float64{0, 0.2} {
		s := newSim(3)
		s.loss, s.jitter = loss, 30*time.Millisecond
		s.watch = func(side int, e Event) {
			if a, ok := e.(Asked); ok {
				s.end[side].Accept(s.now, a.ID, want)
			}
		}
		s.end[0].Subscribe(s.now, Subscribe{Stream: "live"})
		s.run(t, 5*time.Second)
		require.Equal(t, []Accepted{{Subscribed: want}}, of[Accepted](s.events[0]))
		require.Greater(t, s.end[1].Stats().Sent, uint64(20), "parts")
		require.LessOrEqual(t, s.longest, maxDatagram)
	}
}

// What is not answered is sent again after 1.5 round trips, and then ever later.
func TestWhenItIsSentAgain(t *testing.T) {
	for _, tc := range []struct {
		rtt  int
		want []int // ms
	}{
		{4, []int{0, 20, 60, 140, 300, 460, 620}},
		{40, []int{0, 60, 180, 420, 900, 1380}},
		{200, []int{0, 300, 900, 1900}},
		{2000, []int{0, 1000}},
	} {
		c := New(epoch, Config{RTT: time.Duration(tc.rtt) * time.Millisecond})
		var got []int
		for ms := range 2000 {
			now := epoch.Add(time.Duration(ms) * time.Millisecond)
			if !now.Before(c.Next()) {
				c.Advance(now)
			}
			for _, d := range all(c) {
				if strings.Contains(describe(d), "hello") {
					got = append(got, ms)
				}
			}
		}
		require.Equal(t, tc.want, got[:len(tc.want)], "round trip %d ms", tc.rtt)
	}
}

// The round trip comes from what was sent once, and is not measured by what went
// another way.
func TestRTT(t *testing.T) {
	s := pair(t)
	require.Equal(t, 50*time.Millisecond, s.end[0].RTT())
	require.Equal(t, 50*time.Millisecond, s.end[0].Stats().RTT)

	s = newSim(1)
	_ = all(s.end[0]) // goes with the signaling
	s.end[0].Untimed()
	s.now = s.now.Add(20 * time.Millisecond)
	require.NoError(t, s.end[0].Receive(s.now, appendFrame([]byte{format}, frameAck, (&set{next: 1}).marshal())))
	require.Equal(t, 100*time.Millisecond, s.end[0].RTT())
	require.Zero(t, s.end[0].Stats().RTT)
}

// A hello that goes along with something later is acknowledged later.
func TestRTTWithoutTheHello(t *testing.T) {
	c := New(epoch, Config{})
	_ = all(c)
	c.Subscribe(epoch.Add(100*time.Millisecond), Subscribe{Stream: "live"})
	require.Contains(t, describe(all(c)[0]), "hello")
	require.NoError(t, c.Receive(epoch.Add(130*time.Millisecond), appendFrame([]byte{format}, frameAck, (&set{next: 2}).marshal())))
	require.Equal(t, 30*time.Millisecond, c.RTT())
}
