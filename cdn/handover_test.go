package cdn_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
)

// A handed stream comes by two ways, each frame of video in three packets, and sound
// every 20 ms. Each way has a delay and may reorder.
type handed struct {
	*testing.T
	stream *cdn.Stream
	began  time.Time
	rand   *rand.Rand
	ways   []*handedWay
	cursor [2]cdn.Cursor // of picture and sound
	all    [2][]*cdn.Packet
}

type handedWay struct {
	input *cdn.Input
	ends  [2]*cdn.LayerInput
	backs [2]*back
	delay time.Duration
	sent  [2]int // packets
	base  uint16
	lossy bool
	lost  []lostPacket
}

// A lostPacket comes later, as it was asked for again.
type lostPacket struct {
	kind, k int
	at      time.Time
}

var packetEvery = [2]time.Duration{time.Second / 90, 20 * time.Millisecond}

func newHanded(t *testing.T, n *cdn.Node, seed uint64) *handed {
	return &handed{T: t, stream: newStream(t, n), began: time.Now(), rand: rand.New(rand.NewPCG(seed, 0))}
}

func (h *handed) add(c cdn.InputConfig, delay time.Duration) *handedWay {
	c.Publication = "p"
	w := &handedWay{input: newInput(h.T, h.stream, c, vp8, opus), delay: delay, base: uint16(1000 * len(h.ways))}
	for i := range w.ends {
		w.ends[i], w.backs[i] = newLayer(h.T, w.input, i)
		w.sent[i] = max(int((time.Since(h.began)-delay)/packetEvery[i]), 0)
		if i == 0 {
			w.sent[i] -= w.sent[i] % 3 // a whole frame
		}
	}
	if len(h.ways) == 0 {
		for i := range h.cursor {
			h.cursor[i] = h.stream.Tracks()[i].Layers()[0].Live()
		}
	}
	h.ways = append(h.ways, w)
	return w
}

// packet returns the k-th packet of the picture or the sound, as a way numbers it.
func (w *handedWay) packet(kind, k int) *rtp.Packet {
	if kind == 1 {
		return &rtp.Packet{
			Header:  rtp.Header{Version: 2, SequenceNumber: w.base + uint16(k), Timestamp: uint32(900 + 960*k)},
			Payload: []byte(fmt.Sprint(k)),
		}
	}
	p := frame(w.base+uint16(k), uint32(7000+k/3*3000), k == 0, uint16(k/3))
	p.Marker = k%3 == 2
	if k%3 > 0 {
		p.Payload[0] &^= 0x10 // not the first of a partition
	}
	return p
}

func (h *handed) play(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(time.Millisecond) {
		for _, w := range h.ways {
			for kind, li := range w.ends {
				var due []int
				for k := w.sent[kind]; li != nil && time.Since(h.began)-w.delay >= time.Duration(k)*packetEvery[kind]; k++ {
					due = append(due, k)
					w.sent[kind] = k + 1
				}
				for _, k := range due {
					if w.lossy && h.rand.IntN(20) == 0 {
						w.lost = append(w.lost, lostPacket{kind, k, time.Now().Add(40 * time.Millisecond)})
						continue
					}
					li.Write(time.Now(), w.packet(kind, k), nil)
				}
			}
			w.lost = slices.DeleteFunc(w.lost, func(l lostPacket) bool {
				due := !time.Now().Before(l.at)
				if due && w.ends[l.kind] != nil {
					w.ends[l.kind].Write(time.Now(), w.packet(l.kind, l.k), nil)
				}
				return due
			})
		}
		for i := range h.cursor {
			h.all[i] = append(h.all[i], read(&h.cursor[i])...)
		}
	}
}

// requireWhole requires that every packet has come once, in order but for those that
// were repaired.
func (h *handed) requireWhole(least time.Duration) {
	h.Helper()
	for kind, all := range h.all {
		slices.SortStableFunc(all, func(a, b *cdn.Packet) int { return cmp.Compare(a.Seq, b.Seq) })
		require.GreaterOrEqual(h, len(all), int(least/packetEvery[kind]))
		for i, p := range all {
			if i > 0 {
				require.Equal(h, all[i-1].Seq+1, p.Seq)
			}
			if kind == 0 {
				require.Equal(h, uint16(i/3), pictureID(p), "packet %d", i)
				require.Equal(h, all[0].Timestamp+uint64(i/3*3000), p.Timestamp)
			} else {
				require.Equal(h, fmt.Sprint(i), string(p.Payload))
				require.Equal(h, all[0].Timestamp+uint64(i*960), p.Timestamp)
			}
		}
	}
}

// An input that is to go on where the active one is does so with nothing left out,
// shown twice or asked for, be it ahead or behind, and the other one ends.
func TestHandover(t *testing.T) {
	for _, apart := range []time.Duration{0, 1, 7, 12, 33, 40, 100, 400, -1, -7, -12, -33, -40, -100, -400, -800} {
		apart *= time.Millisecond
		t.Run(apart.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *cdn.Node) {
				h := newHanded(t, n, 1)
				const delay = time.Second
				first := h.add(cdn.InputConfig{Path: []cdn.NodeID{"o", "one"}}, delay)
				h.play(4 * time.Second)
				second := h.add(cdn.InputConfig{Path: []cdn.NodeID{"o", "two"}, Handover: true}, delay-apart)
				h.play(3 * time.Second)
				require.ErrorIs(t, first.input.Err(), cdn.ErrSuperseded)
				require.NoError(t, second.input.Err())
				h.requireWhole(6*time.Second - delay)
				asked, _ := second.backs[0].counts()
				require.Zero(t, asked, "no keyframe is needed")
				c, _ := h.stream.Input()
				require.Equal(t, []cdn.NodeID{"o", "two"}, c.Path)
			})
		})
	}
}

// What either way loses and repairs is not missing.
func TestHandoverOfWaysThatLose(t *testing.T) {
	for seed := range uint64(20) {
		for _, apart := range []time.Duration{-60, -5, 5, 60} {
			apart *= time.Millisecond
			t.Run(fmt.Sprint(seed, apart), func(t *testing.T) {
				inBubble(t, func(t *testing.T, n *cdn.Node) {
					h := newHanded(t, n, seed)
					first := h.add(cdn.InputConfig{Path: []cdn.NodeID{"o", "one"}}, time.Second)
					h.play(3 * time.Second)
					first.lossy = true
					h.play(time.Second)
					second := h.add(cdn.InputConfig{Path: []cdn.NodeID{"o", "two"}, Handover: true}, time.Second-apart)
					h.play(20 * time.Millisecond) // its first packets are there
					second.lossy = true
					h.play(3 * time.Second)
					require.ErrorIs(t, first.input.Err(), cdn.ErrSuperseded)
					second.lossy = false
					h.play(200 * time.Millisecond)
					h.requireWhole(5 * time.Second)
				})
			})
		}
	}
}

// Where it comes to nothing, the input in use goes on: after another one that never
// comes so far, or ends in the middle.
func TestHandoverComesToNothing(t *testing.T) {
	for name, end := range map[string]func(*handedWay){
		"it ends":    func(w *handedWay) { w.input.Close(cdn.ErrPeerLost); w.ends = [2]*cdn.LayerInput{} },
		"it ceases":  func(w *handedWay) { w.ends = [2]*cdn.LayerInput{} },
		"no picture": func(w *handedWay) { w.ends[0] = nil },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *cdn.Node) {
				h := newHanded(t, n, 1)
				first := h.add(cdn.InputConfig{Path: []cdn.NodeID{"o", "one"}}, 100*time.Millisecond)
				h.play(2 * time.Second)
				second := h.add(cdn.InputConfig{Path: []cdn.NodeID{"o", "two"}, Handover: true}, 400*time.Millisecond)
				h.play(105 * time.Millisecond) // the first is held now
				end(second)
				h.play(2 * time.Second)
				before := len(h.all[0])
				h.play(time.Second)
				require.NoError(t, first.input.Err())
				if before == len(h.all[0]) { // it needs a keyframe, and has asked for one
					asked, _ := first.backs[0].counts()
					require.Positive(t, asked)
					h.play(3 * time.Second)
				}
				require.Greater(t, len(h.all[0]), before)
			})
		})
	}
}

// One whose publication is another takes over at a keyframe, as ever.
func TestHandoverOfAnotherPublication(t *testing.T) {
	inBubble(t, func(t *testing.T, n *cdn.Node) {
		h := newHanded(t, n, 1)
		h.add(cdn.InputConfig{Path: []cdn.NodeID{"o", "one"}}, 0)
		h.play(time.Second)
		in := newInput(t, h.stream, cdn.InputConfig{Publication: "other", Handover: true}, vp8, opus)
		li, b := newLayer(t, in, 0)
		asked := 0
		for k := range 30 {
			li.Write(time.Now(), frame(uint16(k), uint32(3000*k), k == 20, uint16(k)), nil)
			time.Sleep(33 * time.Millisecond)
			asked, _ = b.counts()
		}
		c, _ := h.stream.Input()
		require.Equal(t, "other", c.Publication)
		require.Positive(t, asked)
	})
}
