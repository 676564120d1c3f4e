package cdn_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
)

// An encoder writes a layer as one that may be restarted does.
type encoder struct {
	*testing.T
	layer  *cdn.Layer
	input  *cdn.LayerInput
	back   *back
	cursor cdn.Cursor
	seq    uint16
	ts     uint32
	id     uint16
	all    []*cdn.Packet // that were stored
}

func newEncoder(t *testing.T, n *cdn.Node, info cdn.TrackInfo, c cdn.InputConfig) *encoder {
	s := newStream(t, n)
	li, b := newLayer(t, newInput(t, s, c, info), 0)
	l := s.Tracks()[0].Layers()[0]
	return &encoder{T: t, layer: l, input: li, back: b, cursor: l.Live(), seq: 100, ts: 5000, id: 3}
}

// send sends a frame, after the time that it takes.
func (e *encoder) send(key bool) {
	time.Sleep(time.Second / 30)
	e.seq++
	e.id++
	e.ts += 3000
	e.write(frame(e.seq, e.ts, key, e.id))
}

func (e *encoder) write(p *rtp.Packet) {
	e.input.Write(time.Now(), p, nil)
	e.all = append(e.all, read(&e.cursor)...) // the ring does not keep them
}

// continuous requires that what was stored has no gap in its numbers, and goes with
// time, and returns all of it.
func (e *encoder) continuous() []*cdn.Packet {
	e.Helper()
	all := e.all
	for i, p := range all[1:] {
		require.Equal(e, all[i].Seq+1, p.Seq, "packet %d", i+1)
		moved := time.Duration(int64(p.Timestamp-all[i].Timestamp)) * time.Second / 90000
		require.InDelta(e, p.Arrival.Sub(all[i].Arrival), moved, float64(100*time.Millisecond), "packet %d", i+1)
	}
	return all
}

// Wherever a publisher's numbers or timestamps jump, those of its viewers go on.
func TestAJumpIsASplice(t *testing.T) {
	const minute = 60 * 90000
	for name, tc := range map[string]struct {
		seq, ts int
		waits   bool // for a keyframe, as something may be missing
	}{
		"time back":          {ts: -10 * minute},
		"time forward":       {ts: 10 * minute},
		"numbers forward":    {seq: 500},
		"numbers far away":   {seq: 20000},
		"numbers back":       {seq: -5000},
		"both":               {seq: 31000, ts: 77 * minute, waits: true},
		"both back":          {seq: -5000, ts: -10 * minute, waits: true},
		"both at the 2^31st": {seq: 1 << 15, ts: 1 << 31, waits: true},
	} {
		for _, path := range [][]cdn.NodeID{nil, {"origin"}} {
			t.Run(fmt.Sprint(name, path), func(t *testing.T) {
				inBubble(t, func(t *testing.T, n *cdn.Node) {
					e := newEncoder(t, n, vp8, cdn.InputConfig{Publication: "p", Path: path})
					for i := range 60 {
						e.send(i == 0)
					}
					e.seq += uint16(tc.seq)
					e.ts += uint32(tc.ts)
					for range 5 {
						e.send(false)
					}
					synctest.Wait()
					asked, _ := e.back.counts()
					require.Equal(t, 1, asked, "for a keyframe")
					if tc.waits {
						require.Len(t, e.continuous(), 60)
						time.Sleep(time.Second / 30)
					} else {
						require.Len(t, e.continuous(), 65)
					}
					e.send(true)
					for range 60 {
						e.send(false)
					}
					require.GreaterOrEqual(t, len(e.continuous()), 121)
					require.Equal(t, uint64(1), e.layer.Stats().Jumps)
					require.Zero(t, e.layer.Stats().Nacked, "what was never sent is not asked for")
					require.Zero(t, e.layer.Stats().Lost)
				})
			})
		}
	}
}

// A restart may lead to numbers and timestamps that were used a moment ago: what
// looks late goes on once nothing else comes.
func TestARestartAtNumbersOfAMomentAgo(t *testing.T) {
	for _, info := range []cdn.TrackInfo{vp8, opus} {
		inBubble(t, func(t *testing.T, n *cdn.Node) {
			e := newEncoder(t, n, info, cdn.InputConfig{})
			for i := range 60 {
				e.send(i == 0)
			}
			e.seq -= 60
			e.ts -= 60 * 3000
			for range 25 {
				e.send(false)
			}
			e.send(true)
			for range 60 {
				e.send(false)
			}
			require.GreaterOrEqual(t, len(e.all), 120)
			require.Equal(t, uint64(1), e.layer.Stats().Jumps)
			for i, p := range e.all[1:] {
				require.Equal(t, e.all[i].Seq+1, p.Seq)
			}
		})
	}
}

// Picture identifiers go on, too, where an encoder was restarted.
func TestARestartedEncoderContinuesPictures(t *testing.T) {
	inBubble(t, func(t *testing.T, n *cdn.Node) {
		e := newEncoder(t, n, vp8, cdn.InputConfig{})
		for i := range 30 {
			e.send(i == 0)
		}
		e.seq, e.ts, e.id = 40000, 70, 0
		e.send(true)
		e.send(false)
		e.send(false)
		all := e.continuous()
		require.Len(t, all, 33)
		for i, p := range all[1:] {
			require.Equal(t, pictureID(all[i])+1, pictureID(p))
		}
	})
}

// A layer without keyframes for long, or without any that can be recognised, does
// not wait for ever.
func TestAJumpWithoutAKeyframe(t *testing.T) {
	inBubble(t, func(t *testing.T, n *cdn.Node) {
		e := newEncoder(t, n, vp8, cdn.InputConfig{})
		for i := range 30 {
			e.send(i == 0)
		}
		e.seq, e.ts = 30000, 1<<30
		for range 150 {
			e.send(false)
		}
		require.Greater(t, len(e.continuous()), 80)
		asked, _ := e.back.counts()
		require.Greater(t, asked, 2)
	})
	inBubble(t, func(t *testing.T, n *cdn.Node) {
		unknown := vp8
		unknown.Codec.MimeType = "video/H266"
		e := newEncoder(t, n, unknown, cdn.InputConfig{})
		for range 30 {
			e.send(false)
		}
		e.seq, e.ts = 30000, 1<<30
		for range 10 {
			e.send(false)
		}
		require.Len(t, e.continuous(), 40)
	})
}

// Sound goes on at once.
func TestSoundJumps(t *testing.T) {
	inBubble(t, func(t *testing.T, n *cdn.Node) {
		e := newEncoder(t, n, opus, cdn.InputConfig{})
		write := func() {
			time.Sleep(20 * time.Millisecond)
			e.seq++
			e.ts += 960
			e.write(&rtp.Packet{Header: rtp.Header{SequenceNumber: e.seq, Timestamp: e.ts}, Payload: []byte{1}})
		}
		for _, jump := range []struct{ seq, ts int }{{0, -48000 * 600}, {0, 48000 * 5}, {7000, 0}, {-40, 0}, {30000, 1 << 31}} {
			for range 50 {
				write()
			}
			e.seq += uint16(jump.seq)
			e.ts += uint32(jump.ts)
		}
		for range 50 {
			write()
		}
		all := e.all
		require.Greater(t, len(all), 295)
		for i, p := range all[1:] {
			require.Equal(t, all[i].Seq+1, p.Seq)
			require.InDelta(t, 960, int64(p.Timestamp-all[i].Timestamp), 1000)
		}
	})
}

// A takeover after a jump moves viewers by the time that has passed, and not by how
// far the publisher's timestamps had gone back.
func TestATakeoverAfterAJump(t *testing.T) {
	inBubble(t, func(t *testing.T, n *cdn.Node) {
		e := newEncoder(t, n, vp8, cdn.InputConfig{Publication: "p"})
		for i := range 60 {
			e.send(i == 0)
		}
		e.ts -= 600 * 90000
		for i := range 60 {
			e.send(i == 0)
		}
		second, _ := newLayer(t, newInput(t, e.layer.Track().Stream(), cdn.InputConfig{Publication: "q"}, vp8), 0)
		e.input, e.seq, e.ts = second, 7, 1<<30
		for i := range 60 {
			e.send(i == 0)
		}
		require.Len(t, e.continuous(), 180)
	})
}

// However often numbers and timestamps jump, and whatever is lost and reordered:
// each number is given out once, a frame has one timestamp, timestamps do not go
// back for what is in order, and are never far ahead of the time that has passed.
func TestNumbersUnderAnyJumps(t *testing.T) {
	for seed := range uint64(60) {
		inBubble(t, func(t *testing.T, n *cdn.Node) {
			rng := rand.New(rand.NewPCG(seed, 7))
			e := newEncoder(t, n, vp8, cdn.InputConfig{})
			began := time.Now()
			var late []*rtp.Packet
			for i := range 1500 {
				time.Sleep(time.Duration(rng.IntN(66)) * time.Millisecond)
				e.seq++
				e.id++
				e.ts += uint32(rng.IntN(6000))
				p := frame(e.seq, e.ts, i%100 == 0 || rng.IntN(40) == 0, e.id)
				switch rng.IntN(60) {
				case 0: // lost
				case 1, 2:
					late = append(late, p)
				default:
					e.write(p)
				}
				if len(late) > 0 && rng.IntN(3) == 0 {
					e.write(late[0])
					late = late[1:]
				}
				if rng.IntN(100) == 0 {
					e.seq += uint16(rng.Uint32()) >> rng.IntN(16)
				}
				if rng.IntN(100) == 0 {
					e.ts += rng.Uint32() >> rng.IntN(32)
				}
				if rng.IntN(100) == 0 {
					e.ts -= rng.Uint32() >> rng.IntN(32)
				}
				if rng.IntN(300) == 0 {
					time.Sleep(time.Duration(rng.IntN(100)) * time.Second)
				}
			}
			all := e.all
			require.Greater(t, len(all), 500, "seed %d", seed)
			seen := map[uint64]bool{}
			highest, ts := all[0].Seq, all[0].Timestamp
			for _, p := range all {
				require.False(t, seen[p.Seq], "seed %d: number %d twice", seed, p.Seq)
				seen[p.Seq] = true
				ahead := time.Duration(float64(int64(p.Timestamp-all[0].Timestamp))/90000*1e9) - p.Arrival.Sub(began)
				require.Less(t, ahead, 3*time.Second+time.Since(began)/10, "seed %d", seed)
				if p.Seq > highest {
					require.GreaterOrEqual(t, int64(p.Timestamp-ts), int64(-90000), "seed %d", seed)
					highest, ts = p.Seq, p.Timestamp
				}
			}
		})
	}
}

// Tracks of one publisher share its wall clock, each from a goroutine of its own.
func TestTracksThatJumpAndReportAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, n *cdn.Node) {
		s := newStream(t, n)
		in := newInput(t, s, cdn.InputConfig{}, vp8, opus)
		var wg sync.WaitGroup
		for track := range 2 {
			li, _ := newLayer(t, in, track)
			layer := s.Tracks()[track].Layers()[0]
			wg.Go(func() {
				for i := range uint32(2000) {
					ts := i*960 + i/100*12345678
					li.Write(time.Now(), frame(uint16(i), ts, i%50 == 0, uint16(i)), nil)
					li.SenderReport(time.Now(), time.Now().Add(time.Hour), ts)
					layer.Clock()
					time.Sleep(10 * time.Millisecond)
				}
			})
		}
		wg.Wait()
		for _, track := range s.Tracks() {
			c, ok := track.Layers()[0].Clock()
			require.True(t, ok)
			wall, _ := c.At(time.Now())
			require.InDelta(t, time.Hour.Seconds(), time.Until(wall).Seconds(), 0.1)
		}
	})
}
