package send

import (
	"encoding/binary"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/rtp/feedback"
	"github.com/deltacdn/delta/internal/rtp/transportcc"
	"github.com/deltacdn/delta/internal/sdp"
	"github.com/deltacdn/delta/internal/send/bwe"
	"github.com/deltacdn/delta/internal/send/sendtest"
)

const trunkID = 9

// A far is a node that is sent a video in three layers by a trunk. It records all packets.
type far struct {
	*sendtest.World
	sendtest.Receiver
	trunk   *Trunk
	sets    []*Set
	senders []*Sender // of the first set, the lowest layer first
}

// withFar calls f with a node that has subscribed so many times to the same video.
func withFar(t *testing.T, subscriptions int, f func(n *far)) {
	sendtest.Run(t, sendtest.Config{Track: sendtest.VP8("l", "m", "h")}, func(w *sendtest.World) {
		n := &far{World: w, trunk: NewTrunk(time.Now())}
		for i, l := range w.Layers {
			l.Obeys, l.Filler, l.KeyEvery = true, 100+400*i, 60
		}
		w.Play(3 * time.Second)
		ssrc := uint32(1)
		for range subscriptions {
			s := New(Config{Node: true, Trunk: n.trunk, Start: Start{Mode: StartCatchUp}})
			for _, l := range w.Layers {
				snd := s.Add(&Line{Track: w.Track, PT: 96, RTX: 97}, l.Layer, l.Layer.Name())
				snd.Bind(Output{To: &n.Receiver, SSRC: ssrc, RTX: ssrc + 100, Extensions: map[string]uint8{sdp.URITransportCC: trunkID}})
				ssrc++
				if len(n.senders) < len(w.Layers) {
					n.senders = append(n.senders, snd)
				}
			}
			n.sets = append(n.sets, s)
		}
		w.Serve = func() {
			for _, s := range n.sets {
				s.Consume(time.Now(), nil)
			}
		}
		w.Tick = 4 * ms
		for _, s := range n.sets {
			s.Start()
		}
		w.Play(time.Second)
		defer func() {
			for _, s := range n.sets {
				s.Close()
			}
		}()
		f(n)
	})
}

// numbers returns the transport-wide sequence numbers of the packets sent since the last
// call, and how many packets have none.
func (n *far) numbers() (all []uint16, plain int) {
	for _, p := range n.Packets {
		if data := p.GetExtension(trunkID); data != nil {
			all = append(all, binary.BigEndian.Uint16(data))
		} else {
			plain++
		}
	}
	n.Packets = nil
	return all, plain
}

// comes returns which layers of the first subscription have come since the last call.
func (n *far) comes() (layers []bool) {
	layers = make([]bool, len(n.senders))
	for _, p := range n.Packets {
		if p.SSRC <= uint32(len(layers)) {
			layers[p.SSRC-1] = true
		}
	}
	n.Packets = nil
	return layers
}

// What all sets of a trunk send has one sequence of numbers, while the trunk is awake.
func TestATrunkHasOneSequence(t *testing.T) {
	withFar(t, 3, func(n *far) {
		numbers, plain := n.numbers()
		require.Empty(t, numbers, "it dozes")
		require.NotZero(t, plain)
		n.trunk.Wake(time.Now())
		for _, s := range n.sets {
			s.Kick()
		}
		n.Play(2 * time.Second)
		numbers, plain = n.numbers()
		require.Zero(t, plain)
		require.Greater(t, len(numbers), 3*3*50)
		for i, x := range numbers {
			require.Equal(t, numbers[0]+uint16(i), x)
		}
		n.trunk.Doze()
		n.Play(checkEvery)
		n.Packets = nil
		n.Play(time.Second)
		numbers, _ = n.numbers()
		require.Empty(t, numbers)
	})
}

// A trunk is probed with packets of one set, which is sent what the probe asks for, media
// included.
func TestATrunkIsProbed(t *testing.T) {
	withFar(t, 2, func(n *far) {
		n.trunk.Wake(time.Now())
		n.Play(checkEvery)
		n.Packets = nil
		n.Play(time.Second)
		recorder, begun := transportcc.New(1), time.Now()
		tell := func() {
			for _, p := range n.Packets {
				recorder.Record(p.SSRC, binary.BigEndian.Uint16(p.GetExtension(trunkID)), p.At.Sub(begun)+20*ms)
			}
			n.Packets = nil
			n.trunk.Feedback(time.Now(), recorder.Append(nil))
		}
		for range 40 {
			n.Play(50 * ms)
			tell()
		}
		const rate = 3e6
		n.trunk.StartProbe(time.Now(), bwe.Probe{ID: 7, Rate: rate, Duration: 200 * ms}, n.sets[1])
		sent, repeats := 0, 0
		n.Play(200 * ms)
		for _, p := range n.Packets {
			sent += len(p.Payload) + trunkHeaders
			if p.PayloadType == 97 {
				repeats++
				require.Greater(t, p.SSRC, uint32(103), "of the second set")
			}
		}
		require.InDelta(t, rate, float64(8*sent)/0.2, 0.1*rate)
		require.NotZero(t, repeats)
		for range 10 {
			tell()
			n.Play(50 * ms)
		}
		state := n.trunk.State(time.Now())
		require.True(t, state.Probe.Done)
		require.Equal(t, uint32(7), state.Probe.ID)
		require.InDelta(t, rate, state.Probe.Rate, 0.15*rate)
		n.Packets = nil
		n.Play(time.Second)
		for _, p := range n.Packets {
			require.Equal(t, uint8(96), p.PayloadType, "the probe is over")
		}
	})
}

// Reports about many streams wake a trunk if something is lost, taken together.
func TestATrunkIsWoken(t *testing.T) {
	for name, c := range map[string]struct {
		lost   uint8 // of 256
		rtt    time.Duration
		urgent bool
	}{
		"nothing lost":   {0, 20 * ms, false},
		"a little lost":  {2, 20 * ms, false},
		"much lost":      {60, 20 * ms, true},
		"a queue builds": {0, 200 * ms, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				trunk := NewTrunk(time.Now())
				urgent := false
				for i := range uint32(10) {
					for range 500 {
						trunk.Sent(1000)
					}
					time.Sleep(500 * ms)
					rtt := 20 * ms
					lost := uint8(0)
					if i >= 6 {
						rtt, lost = c.rtt, c.lost
					}
					for ssrc := range uint32(50) {
						trunk.report(&feedback.Message{Kind: feedback.Report, SSRC: ssrc, Highest: 10 * (i + 1), Lost: lost})
					}
					trunk.Reported(time.Now(), rtt)
					u := trunk.Complains(time.Now())
					require.False(t, u && i < 6)
					urgent = urgent || u
				}
				require.Equal(t, c.urgent, urgent)
				trunk.Forget([]uint32{3, 4})
				require.Len(t, trunk.reports.highest, 48)
			})
		})
	}
}

// What is held back does not come, in its place comes the best that is not, and the node
// gets what it wants again when there is room.
func TestLayersThatAreHeldBack(t *testing.T) {
	for name, c := range map[string]struct {
		wanted []string // nil: all
		layers int      // that may be sent
		comes  []bool
	}{
		"all":                           {nil, 3, []bool{true, true, true}},
		"all but the highest":           {nil, 2, []bool{true, true, false}},
		"the lowest of all":             {nil, 1, []bool{true, false, false}},
		"none":                          {nil, 0, []bool{false, false, false}},
		"the highest":                   {[]string{"h"}, 3, []bool{false, false, true}},
		"the next in its place":         {[]string{"h"}, 2, []bool{false, true, false}},
		"the lowest in its place":       {[]string{"h"}, 1, []bool{true, false, false}},
		"what is wanted besides":        {[]string{"l", "h"}, 2, []bool{true, true, false}},
		"nothing in place of the lower": {[]string{"l"}, 2, []bool{true, false, false}},
		"nothing of the highest":        {[]string{"h"}, 0, []bool{false, false, false}},
	} {
		t.Run(name, func(t *testing.T) {
			withFar(t, 1, func(n *far) {
				s := n.sets[0]
				s.Want(c.wanted)
				n.Play(time.Second)
				s.Bound(time.Now(), n.Track, c.layers)
				n.Play(200 * ms)
				n.comes()
				n.Play(time.Second)
				require.Equal(t, c.comes, n.comes())
				for i, snd := range n.senders {
					require.Equal(t, i >= c.layers, snd.HeldBack())
				}
				require.Equal(t, c.layers < 3, s.Bound(time.Now(), n.Track, 3))
				require.False(t, s.Bound(time.Now(), n.Track, 3), "nothing changes")
				n.Play(200 * ms)
				n.comes()
				n.Play(time.Second)
				for i, l := range []string{"l", "m", "h"} {
					n.Packets = nil
					require.Equal(t, c.wanted == nil || slices.Contains(c.wanted, l), !n.senders[i].Holds(), l)
				}
			})
		})
	}
}

// What a node would take, by how many layers it may be sent.
func TestShares(t *testing.T) {
	withFar(t, 1, func(n *far) {
		s := n.sets[0]
		cost := make([]float64, 3)
		for i, l := range n.Layers {
			cost[i] = takes(l.Layer)
		}
		shares := func() []float64 {
			all, rest := s.Shares(time.Now())
			require.Zero(t, rest)
			require.Len(t, all, 1)
			require.Equal(t, n.Track, all[0].Track)
			return all[0].Costs
		}
		require.Equal(t, []float64{cost[0], cost[0] + cost[1], cost[0] + cost[1] + cost[2]}, shares())
		s.Want([]string{"h"})
		require.Equal(t, cost, shares(), "a lower one is sent in its place")
		s.Want([]string{"l", "h"})
		require.Equal(t, []float64{cost[0], cost[0] + cost[1], cost[0] + cost[2]}, shares())
		s.Want([]string{"l"})
		require.Equal(t, []float64{cost[0], cost[0], cost[0]}, shares(), "nothing else is wanted")
		s.Want([]string{"h"})
		s.Bound(time.Now(), n.Track, 2)
		s.Want([]string{"m"}) // where the viewers have gone
		require.InDeltaSlice(t, []float64{cost[0], cost[1], cost[2] + overlap*cost[2]}, shares(), 1, "and come back from")
		s.Want([]string{"l"})
		require.InDelta(t, cost[0]+cost[2], shares()[2], 1, "h was wanted, and m was not while it was held")
		s.Bound(time.Now(), n.Track, 1)
		s.Bound(time.Now(), n.Track, 3)
		require.Equal(t, []float64{cost[0], cost[0], cost[0]}, shares(), "what nobody wants is not held back")
	})
	var none []Share
	all, rest := New(Config{Node: true}).Shares(time.Now())
	require.Equal(t, none, all)
	require.Zero(t, rest)
}

// A node that is started later, or again, is not sent what is held back.
func TestHeldBackAheadOfTheStart(t *testing.T) {
	withFar(t, 1, func(n *far) {
		trunk := n.trunk
		s := New(Config{Node: true, Trunk: trunk, Start: Start{Mode: StartCatchUp}})
		snd := s.Add(&Line{Track: n.Track, PT: 96, RTX: 97}, n.Layers[2].Layer, "h")
		to := &sendtest.Receiver{}
		snd.Bind(Output{To: to, SSRC: 50, RTX: 51, Extensions: map[string]uint8{sdp.URITransportCC: trunkID}})
		s.Bound(time.Now(), n.Track, 2)
		s.Want(nil)
		s.Start()
		serve := n.Serve
		n.Serve = func() { serve(); s.Consume(time.Now(), nil) }
		n.Play(time.Second)
		require.Empty(t, to.Packets)
		s.Bound(time.Now(), n.Track, 3)
		n.Play(time.Second)
		require.NotEmpty(t, to.Packets)
		s.Close()
	})
}

// Of a set whose streams are silent nothing is known: what they send next must not wait for a
// part of the path that is none.
func TestASilentSetMayFillTheTrunk(t *testing.T) {
	trunk := NewTrunk(time.Now())
	require.Equal(t, 1.0, trunk.share(time.Now(), 0))
}
