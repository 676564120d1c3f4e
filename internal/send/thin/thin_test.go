package thin

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/rtp/codec"
)

// A frame as an encoder makes it.
type frame struct {
	layer   uint8
	key     bool
	refs    []int // to earlier frames
	packets int
	first   uint64 // number
	place   codec.Temporal
}

// encode returns frames of up to four temporal layers, each of which refers to earlier
// frames of its layer or lower ones, as an encoder may. The flags are as far as possible
// what the references allow, since receivers gain by them.
func encode(rnd *rand.Rand, n int) []frame {
	layers := 1 + rnd.IntN(4)
	empty := uint8(1 + rnd.IntN(6)) // this one has no frames
	all := make([]frame, n)
	seq := uint64(1000)
	for i := range all {
		f := &all[i]
		f.packets, f.first = 1+rnd.IntN(4), seq
		seq += uint64(f.packets)
		if f.key = i == 0 || rnd.IntN(60) == 0; f.key {
			continue
		}
		if f.layer = uint8(rnd.IntN(layers)); f.layer >= empty {
			f.layer++
		}
		for l := range int(f.layer) + 1 {
			last := func(back int) int { // of the layer, since the last keyframe
				for j := i - 1; j >= 0; j-- {
					if all[j].layer == uint8(l) {
						if back--; back < 0 {
							return j
						}
					}
					if all[j].key {
						break
					}
				}
				return -1
			}
			if at := last(rnd.IntN(2) * rnd.IntN(2)); at >= 0 && (l == 0 || rnd.IntN(3) == 0) {
				f.refs = append(f.refs, at)
			}
		}
	}
	for i := range all {
		f := &all[i]
		f.place = codec.Temporal{Layer: f.layer, Sync: f.layer > 0, Switch: true}
		for j := i; j < n; j++ {
			for _, ref := range all[j].refs {
				f.place.Sync = f.place.Sync && (ref >= i || all[ref].layer < f.layer)
				f.place.Switch = f.place.Switch && (j == i || all[j].layer <= f.layer || ref >= i || all[ref].layer <= f.layer)
			}
		}
	}
	return all
}

func (f *frame) packet(index, at int) Packet {
	return Packet{
		Seq: f.first + uint64(at), Timestamp: uint64(3000 * index), Keyframe: f.key && at == 0,
		FrameStart: at == 0, Place: f.place,
	}
}

// A piece is a packet on its way.
type sent struct{ frame, at int }

// shuffle returns the packets of frames in the order in which they come: some are late.
func shuffle(rnd *rand.Rand, all []frame, late int) (order []sent) {
	for i, f := range all {
		for at := range f.packets {
			order = append(order, sent{i, at})
		}
	}
	if late == 0 {
		return order
	}
	for i := range order {
		if j := i + 1 + rnd.IntN(20); rnd.IntN(late) == 0 && j < len(order) {
			moved := order[i]
			copy(order[i:j], order[i+1:j+1])
			order[j] = moved
		}
	}
	return order
}

// Whatever is wanted when, and in whatever order packets come, frames are sent whole or not
// at all, and a decoder gets what they refer to. Numbers are not skipped but ahead of a
// keyframe that is begun with.
func TestWhatIsSentCanBeDecoded(t *testing.T) {
	sentOf, of := 0, 0
	for seed := range uint64(600) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		all := encode(rnd, 200)
		late := 0
		if seed%2 == 1 {
			late = 15
		}
		f := New()
		got := make([]int, len(all)) // packets
		for k, s := range shuffle(rnd, all, late) {
			if k%20 == 10 {
				f.Want(Level(rnd.IntN(6) - 1))
			}
			p := all[s.frame].packet(s.frame, s.at)
			switch v := f.Next(p); v {
			case Begin:
				require.True(t, p.Keyframe, "seed %d, frame %d", seed, s.frame)
				got[s.frame]++
			case Send:
				got[s.frame]++
			case Omit, OmitFrame, Skip:
			}
		}
		for i, n := range got {
			of++
			if n == 0 {
				continue
			}
			if all[i].key && late != 0 {
				continue // what came ahead of its first packet is the caller's to send
			}
			sentOf++
			require.Equal(t, all[i].packets, n, "seed %d, frame %d is whole", seed, i)
			for _, ref := range all[i].refs {
				require.NotZero(t, got[ref], "seed %d, frame %d of layer %d refers to %d of layer %d", seed, i, all[i].layer, ref, all[ref].layer)
			}
		}
	}
	require.Greater(t, sentOf, of/3, "the test tests something")
}

// play gives a filter the packets of frames of the layers given, one packet each, of which
// the first is a keyframe, and returns which are sent.
func play(f *Filter, from int, places ...codec.Temporal) (sent []int) {
	for i, place := range places {
		p := Packet{Seq: uint64(from + i), Timestamp: uint64(from + i), Keyframe: from+i == 0, FrameStart: true, Place: place}
		if v := f.Next(p); v == Send || v == Begin {
			sent = append(sent, from+i)
		}
	}
	return sent
}

func TestMoreIsSentOnlyFromWhereItCanBeDecoded(t *testing.T) {
	base, one, two := codec.Temporal{}, codec.Temporal{Layer: 1}, codec.Temporal{Layer: 2}
	sync := func(p codec.Temporal) codec.Temporal { p.Sync = true; return p }
	point := func(p codec.Temporal) codec.Temporal { p.Switch = true; return p }
	for name, tc := range map[string]struct {
		want   Level
		places []codec.Temporal
		sent   []int
	}{
		"nothing says where":         {All, []codec.Temporal{base, one, base, one, two}, []int{10, 12}},
		"layer sync, one by one":     {All, []codec.Temporal{base, sync(two), sync(one), two, base, sync(two), one}, []int{10, 12, 14, 15, 16}},
		"not above what is wanted":   {1, []codec.Temporal{base, sync(one), sync(two), base, one, two}, []int{10, 11, 13, 14}},
		"switching point":            {All, []codec.Temporal{base, one, point(base), one, two}, []int{10, 12, 13, 14}},
		"switching point, up to one": {1, []codec.Temporal{base, one, point(base), one, two, base}, []int{10, 12, 13, 15}},
		"of a layer that is not had": {All, []codec.Temporal{base, point(one), two, base}, []int{10, 13}},
	} {
		f := New()
		f.Want(0)
		require.Equal(t, []int{0, 1}, play(f, 0, base, base, one, two))
		f.Want(tc.want)
		require.Equal(t, tc.sent, play(f, 10, tc.places...), name)
		f.Want(0)
		require.Equal(t, []int{20, 23}, play(f, 20, base, one, two, base), "%s: less is sent at once", name)
	}
}

// H.265 has seldom frames of layer 1. What has none is gone over, once that is certain.
func TestALayerWithoutFrames(t *testing.T) {
	base, two, three := codec.Temporal{}, codec.Temporal{Layer: 2, Sync: true}, codec.Temporal{Layer: 3, Sync: true}
	f := New()
	f.Want(0)
	at := 0
	next := func(places ...codec.Temporal) (sent []int) {
		for _, i := range play(f, at, places...) {
			sent = append(sent, i-at)
		}
		at += len(places)
		return sent
	}
	next(base, codec.Temporal{Layer: 1})
	f.Want(2)
	for range emptyAfter / 2 {
		require.Equal(t, []int{0}, next(base, two), "there may be more of layer 1")
	}
	require.Equal(t, []int{0, 1, 3}, next(base, two, three, two))
	f.Want(All)
	require.Equal(t, []int{0, 1, 2}, next(base, three, two))
	f.Want(0)
	require.Equal(t, []int{0}, next(base, two, three))
	next(base, codec.Temporal{Layer: 1})
	f.Restart(Packet{Seq: uint64(at), Timestamp: uint64(at), Keyframe: true, FrameStart: true})
	f.Want(All)
	require.Equal(t, []int{0}, next(base, two), "it has been seen")
}

// The frame behind a switching point may be late.
func TestAllFramesBehindASwitchingPointAreSent(t *testing.T) {
	f := New()
	f.Want(0)
	require.Equal(t, []int{0, 1}, play(f, 0, codec.Temporal{}, codec.Temporal{}))
	f.Want(All)
	require.Equal(t, []int{3}, play(f, 2, codec.Temporal{Layer: 1}, codec.Temporal{Switch: true}))
	require.Equal(t, []int{5}, play(f, 5, codec.Temporal{Layer: 2}))
	require.Equal(t, []int{4}, play(f, 4, codec.Temporal{Layer: 1}))
	require.Empty(t, play(f, 2, codec.Temporal{Layer: 1}))
}

func TestOnlyKeyframes(t *testing.T) {
	f := New()
	f.Want(Keyframes)
	packet := func(frame, at int, key bool) Packet {
		return Packet{Seq: uint64(10*frame + at), Timestamp: uint64(frame), Keyframe: key, FrameStart: at == 0}
	}
	require.Equal(t, Send, f.Next(packet(1, 0, false)), "some of it may be sent already")
	require.Equal(t, Skip, f.Next(packet(2, 0, false)))
	require.Equal(t, Skip, f.Next(packet(3, 0, false)), "a parameter set ahead of a keyframe")
	require.Equal(t, Begin, f.Next(packet(3, 1, true)))
	require.Equal(t, Send, f.Next(packet(3, 2, false)))
	require.Equal(t, Skip, f.Next(packet(4, 0, false)))
	require.Equal(t, Send, f.Next(packet(3, 3, false)), "late")
	require.Equal(t, Omit, f.Next(packet(2, 1, false)), "late")
	require.Equal(t, Begin, f.Next(packet(5, 0, true)))
	require.Equal(t, Skip, f.Next(packet(6, 0, false)))
	f.Want(All)
	require.Equal(t, Skip, f.Next(packet(7, 0, false)))
	require.Equal(t, Begin, f.Next(packet(8, 0, true)))
	require.Equal(t, Send, f.Next(packet(9, 0, false)))
	require.Equal(t, Omit, f.Next(packet(7, 1, false)), "late")
	require.False(t, f.Idle())
	for i := range mostLate {
		f.Next(packet(10+i, 0, false))
	}
	require.True(t, f.Idle())
}

func TestRestart(t *testing.T) {
	f := New()
	f.Want(0)
	f.Restart(Packet{Seq: 100, Timestamp: 9000, Keyframe: true})
	one := codec.Temporal{Layer: 1, Sync: true}
	require.Equal(t, Send, f.Next(Packet{Seq: 100, Timestamp: 9000, Keyframe: true}))
	require.Equal(t, OmitFrame, f.Next(Packet{Seq: 102, Timestamp: 9001, Place: one}))
	require.Equal(t, Omit, f.Next(Packet{Seq: 103, Timestamp: 9001, Place: one}))
	require.Equal(t, Send, f.Next(Packet{Seq: 101, Timestamp: 9000}))
	require.Equal(t, Omit, f.Next(Packet{Seq: 99, Timestamp: 8000}), "the receiver has not begun yet")
	f.Want(Keyframes)
	f.Restart(Packet{Seq: 200, Timestamp: 9900, Keyframe: true})
	require.Equal(t, Send, f.Next(Packet{Seq: 200, Timestamp: 9900, Keyframe: true}))
	require.Equal(t, Send, f.Next(Packet{Seq: 202, Timestamp: 9900}))
	require.Equal(t, Skip, f.Next(Packet{Seq: 203, Timestamp: 9901}))
	require.Equal(t, Send, f.Next(Packet{Seq: 201, Timestamp: 9900}))
}

func TestLevelsAreBounded(t *testing.T) {
	f := New()
	require.Equal(t, All, f.Level())
	f.Want(All + 1)
	require.Equal(t, All, f.Level())
	f.Want(Keyframes - 1)
	require.Equal(t, Keyframes, f.Level())
	require.Equal(t, []Level{All, Keyframes}, slices.Clone([]Level{7, -1}))
}

func TestNothingIsAllocated(t *testing.T) {
	f := New()
	i := 0
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		i++
		f.Want(Level(i % 5))
		f.Next(Packet{Seq: uint64(i), Timestamp: uint64(i), Place: codec.Temporal{Layer: uint8(i % 3)}})
	}))
}
