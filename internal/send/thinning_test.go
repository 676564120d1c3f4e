package send

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/rtp/codec"
	"github.com/deltacdn/delta/internal/send/sendtest"
	"github.com/deltacdn/delta/internal/send/thin"
)

// A vp8Frame is a frame of an encoder with three temporal layers. What it refers to is what
// libwebrtc's pattern for three layers lets it: see patternOf.
type vp8Frame struct {
	tid     byte
	sync    bool
	key     bool
	id      uint16 // picture ID
	tl0     byte   // TL0PICIDX
	packets int
	seq     uint16 // of its first packet
	ts      uint32
	since   int // frames since the keyframe
}

// patternOf is the layers of eight frames, in the order 0 2 1 2 twice. The first frames of
// the layers 1 and 2 refer to the base layer alone, and the others to all layers up to
// their own.
func patternOf(i int) (tid byte, sync bool) {
	return []byte{0, 2, 1, 2}[i%4], i%8 == 1 || i%8 == 2
}

// An encoder publishes VP8 in three temporal layers.
type encoder struct {
	*viewer
	frames []vp8Frame
	seq    uint16
}

func (e *encoder) encode(key bool) *vp8Frame {
	i := len(e.frames)
	f := vp8Frame{id: uint16(32700+i) & 0x7fff, key: key, packets: 1 + i%3, seq: e.seq, ts: uint32(3000 * i)}
	if i > 0 {
		f.tl0 = e.frames[i-1].tl0
		f.since = e.frames[i-1].since + 1
	}
	if key {
		f.since = 0
	}
	f.tid, f.sync = patternOf(f.since)
	if f.tid == 0 {
		f.tl0++
	}
	e.frames = append(e.frames, f)
	e.seq += uint16(f.packets)
	return &e.frames[i]
}

// publish publishes one packet of a frame.
func (e *encoder) publish(f *vp8Frame, at int) {
	start, p, flags := byte(0x80), byte(1), f.tid<<6
	if at == 0 {
		start |= 0x10
	}
	if f.key {
		p = 0
	}
	if f.sync {
		flags |= 0x20
	}
	payload := []byte{start, 0xe0, 0x80 | byte(f.id>>8), byte(f.id), f.tl0, flags, p, 0, 0, 0x9d, 0x01, 0x2a, byte(f.id), byte(f.id >> 8), byte(at)}
	e.layer.Input.Write(time.Now(), &rtp.Packet{
		Header: rtp.Header{
			Version: 2, Marker: at == f.packets-1, SequenceNumber: f.seq + uint16(at),
			Timestamp: f.ts,
		},
		Payload: payload,
	}, nil)
}

// A decoder puts together what a viewer was sent, as libwebrtc does with VP8 (its
// RtpVp8RefFinder): a frame of the base layer refers to the one ahead of it by TL0PICIDX, and
// another one to all layers up to its own, unless it says that it refers to the base layer
// alone. A frame of which a picture ID may be missing is held back.
type decoder struct {
	seen   map[int64]bool // pictures
	layers map[int64][3]int64
	ids    int64 // unwrapped, the last
	begun  bool
}

// decode returns an error if the frame of a payload is held back.
func (d *decoder) decode(payload []byte) error {
	pictures := codec.PicturesFor("video/VP8")
	ids, ok := pictures.Read(payload)
	if !ok {
		return fmt.Errorf("no picture ID in %x", payload)
	}
	at := codec.TemporalFor("video/VP8")(payload)
	id, tl0 := int64(ids.ID), int64(ids.TL0)
	if !d.begun {
		d.begun, d.seen, d.layers, d.ids = true, map[int64]bool{}, map[int64][3]int64{}, id
	}
	id = d.ids + int64(int16((id-d.ids)<<1)>>1)
	d.ids = max(d.ids, id)
	d.seen[id] = true
	if codec.For("video/VP8")(payload).Keyframe {
		d.layers[tl0] = [3]int64{id, -1, -1}
		return nil
	}
	group := tl0
	if at.Layer == 0 {
		group = (tl0 + 255) % 256
	}
	last, ok := d.layers[group]
	if !ok {
		return fmt.Errorf("picture %d of layer %d: no base layer %d", id, at.Layer, group)
	}
	upTo := int(at.Layer)
	if at.Layer == 0 || at.Sync {
		upTo = 0
	}
	for l := 0; l <= upTo && at.Layer > 0 && !at.Sync; l++ {
		if last[l] < 0 {
			return fmt.Errorf("picture %d of layer %d: nothing of layer %d", id, at.Layer, l)
		}
		for between := last[l] + 1; between < id; between++ {
			if !d.seen[between] {
				return fmt.Errorf("picture %d of layer %d: %d may be missing", id, at.Layer, between)
			}
		}
	}
	last[at.Layer] = id
	d.layers[tl0] = last
	return nil
}

// requireDecodable: the packets, whatever the order in which they were sent, are numbered
// without gaps, and make whole frames that a decoder takes.
func (e *encoder) requireDecodable() (frames int) {
	e.Helper()
	all := slices.Clone(e.Packets)
	slices.SortStableFunc(all, func(a, b sendtest.Packet) int {
		return cmp.Compare(int16(a.SequenceNumber-e.Packets[0].SequenceNumber), int16(b.SequenceNumber-e.Packets[0].SequenceNumber))
	})
	var d decoder
	for i, p := range all {
		if i > 0 {
			require.Equal(e, all[i-1].SequenceNumber+1, p.SequenceNumber, "packet %d: no gap, and no number twice", i)
		}
		if len(p.Payload) == 0 || p.Payload[0]&0x10 == 0 {
			continue
		}
		for j := i; !all[j].Marker; j++ {
			require.Less(e, j+1, len(all), "the last frame is whole")
			require.Equal(e, p.Timestamp, all[j+1].Timestamp, "a frame is whole")
		}
		require.NoError(e, d.decode(p.Payload), "packet %d", i)
		frames++
	}
	return frames
}

func onEncoder(t *testing.T, f func(e *encoder)) {
	withViewer(t, sendtest.Config{Track: sendtest.VP8()}, func(v *viewer) {
		e := &encoder{viewer: v, seq: 65500}
		v.add(Config{})
		v.set.Start()
		f(e)
	})
}

func (e *encoder) thin(to thin.Level) {
	e.change(func(s *Sender) { s.thin(to) })
}

// A viewer that gets fewer temporal layers sees a stream without gaps, in which no frame waits
// for another.
func TestAThinnedViewerMissesNothing(t *testing.T) {
	for to, share := range map[thin.Level]int{thin.Keyframes: 1, 0: 25, 1: 50, 2: 99, thin.All: 99} {
		onEncoder(t, func(e *encoder) {
			e.thin(to)
			const frames = 1000
			for i := range frames {
				f := e.encode(i%200 == 0)
				for at := range f.packets {
					e.publish(f, at)
				}
				time.Sleep(33 * ms)
				e.serve()
			}
			got := e.requireDecodable()
			require.GreaterOrEqual(t, got, frames*share/200, "level %d", to)
			require.InDelta(t, frames*share/100, got, frames/50, "level %d", to)
			require.InDelta(t, got, e.requireWithoutHoles(), 1, "timestamps are the publisher's")
		})
	}
}

// The same while packets come out of order and the level changes. What was sent can be sent
// again, once all is wanted.
func TestThinningInAnyOrder(t *testing.T) {
	for seed := range uint64(40) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		onEncoder(t, func(e *encoder) {
			type packet struct{ frame, at int }
			var late []packet
			give := func(p packet) { e.publish(&e.frames[p.frame], p.at) }
			for i := range 400 {
				f := e.encode(i%100 == 0)
				if i%25 == 20 {
					e.thin(thin.Level(rnd.IntN(4)))
				}
				for at := range f.packets {
					if rnd.IntN(12) == 0 && !f.key {
						late = append(late, packet{i, at})
					} else {
						give(packet{i, at})
					}
				}
				time.Sleep(33 * ms)
				e.serve()
				for len(late) > 0 && (rnd.IntN(3) == 0 || i%100 > 95) {
					give(late[0])
					late = late[1:]
					e.serve()
				}
			}
			got := e.requireWithoutHoles()
			require.Greater(t, got, 100, "seed %d", seed)
			e.thin(thin.All)
			e.requireSameAgain(len(e.Packets) - 60)
		})
	}
}

// After a step down, packets of the layers that are left out are not sent again: the path has
// no room for them. A receiver of H.264 needs them, for it decodes what has no gap.
func TestRepairsOfWhatIsLeftOut(t *testing.T) {
	onEncoder(t, func(e *encoder) {
		for i := range 40 {
			f := e.encode(i == 0)
			for at := range f.packets {
				e.publish(f, at)
			}
			time.Sleep(33 * ms)
			e.serve()
		}
		e.thin(0)
		e.requireAgain(func(payload []byte) bool { return codec.TemporalFor("video/VP8")(payload).Layer == 0 })
	})
	onEncoder(t, func(e *encoder) {
		e.stills()
		e.requireAgain(func(payload []byte) bool { return payload[6]&1 == 0 }) // of a keyframe
	})
	withViewer(t, sendtest.Config{}, func(v *viewer) {
		v.layer.RequestKeyframe()
		v.layer.Obeys = true
		v.join(Config{})
		v.Play(time.Second)
		for i := range 40 {
			v.layer.Packet(true, []byte{0x41, 0x01}[i%2], 0x80)
			v.layer.Next++
			time.Sleep(33 * ms)
			v.serve()
		}
		v.change(func(s *Sender) { s.thin(0) })
		v.requireAgain(func([]byte) bool { return true })
	})
}

// stills publishes frames of which all are sent, and then some with two keyframes of three
// packets, which alone are.
func (e *encoder) stills() {
	for i := range 60 {
		if i == 40 {
			e.thin(thin.Keyframes)
		}
		f := e.encode(i == 0 || i == 44 || i == 53)
		for at := range f.packets {
			e.publish(f, at)
		}
		time.Sleep(33 * ms)
		e.serve()
	}
}

// requireAgain: of the newest packets those are sent again that the function returns true for.
func (v *viewer) requireAgain(want func(payload []byte) bool) {
	v.Helper()
	sent, again := slices.Clone(v.Packets), 0
	for _, p := range sent[len(sent)-30:] {
		v.Packets = nil
		time.Sleep(60 * ms)
		v.says(nack(p.SequenceNumber, 0))
		require.Equal(v, want(p.Payload), len(v.Packets) > 0, "%x", p.Payload[:8])
		again += len(v.Packets)
	}
	require.NotZero(v, again)
}

// requireWithoutHoles: numbers have no gaps, and each frame that was sent is whole.
func (e *encoder) requireWithoutHoles() (frames int) {
	e.Helper()
	all := slices.Clone(e.Packets)
	first := all[0].SequenceNumber
	slices.SortStableFunc(all, func(a, b sendtest.Packet) int {
		return cmp.Compare(int16(a.SequenceNumber-first), int16(b.SequenceNumber-first))
	})
	packets := map[uint32]int{}
	for i, p := range all {
		if i > 0 {
			require.Equal(e, all[i-1].SequenceNumber+1, p.SequenceNumber, "packet %d", i)
		}
		if len(p.Payload) > 0 {
			packets[p.Timestamp]++
		}
	}
	base := e.Packets[0].Timestamp
	for i, f := range e.frames {
		at := base + f.ts
		if i >= len(e.frames)-1 {
			continue
		}
		n := packets[at]
		require.True(e, n == 0 || n == f.packets, "frame %d has %d of %d packets", i, n, f.packets)
		if n > 0 {
			frames++
		}
	}
	return frames
}

// requireSameAgain: what is asked for again, from a packet on, comes as it was.
func (e *encoder) requireSameAgain(from int) {
	e.Helper()
	all := e.Packets
	for i, was := range all[from:] {
		e.Packets = nil
		time.Sleep(60 * ms)
		e.says(nack(was.SequenceNumber, 0))
		require.NotEmpty(e, e.Packets, "packet %d, number %d", from+i, was.SequenceNumber)
		require.Equal(e, was.Timestamp, e.Packets[0].Timestamp)
		require.Equal(e, was.Marker, e.Packets[0].Marker)
		require.Equal(e, string(was.Payload), string(e.Packets[0].Payload[2:]), "packet %d", from+i)
	}
	e.Packets = all
}

// A viewer with only keyframes of H.264 gets the parameter sets that go ahead of them.
func TestKeyframesOnlyWithParameterSets(t *testing.T) {
	withViewer(t, sendtest.Config{}, func(v *viewer) {
		v.layer.KeyEvery = 30
		v.join(Config{})
		v.Play(2 * time.Second)
		v.change(func(s *Sender) { s.thin(thin.Keyframes) })
		v.Play(100 * ms)
		from := len(v.Packets)
		v.Play(4 * time.Second)
		got := v.Packets[from:]
		require.Len(t, got, 4*3)
		for i := 0; i < len(got); i += 3 {
			require.Equal(t, []byte{0x67, 0x65, 0x41}, []byte{got[i].Payload[0], got[i+1].Payload[0], got[i+2].Payload[0]})
			require.Equal(t, got[i].Timestamp, got[i+2].Timestamp)
			require.InDelta(t, 0, v.late(got[i]).Seconds(), 0.001)
		}
		v.change(func(s *Sender) { s.thin(thin.All) })
		from = len(v.Packets)
		v.Play(2 * time.Second)
		require.Greater(t, len(v.Packets)-from, 60, "all from the next keyframe on")
		v.requireNoGap()
		v.requireRepairs(len(v.Packets)-20, len(v.Packets))
		v.Play(30 * time.Second)
		require.Nil(t, v.sender.filter, "it is not needed any more")
	})
}

// Thinning holds over a switch of layers and a pause.
func TestThinningHoldsOverSwitches(t *testing.T) {
	withViewer(t, sendtest.Config{Track: sendtest.VP8("l", "h")}, func(v *viewer) {
		low, high := v.Layers[0], v.Layers[1]
		v.add(Config{Layer: "l"})
		v.set.Start()
		v.change(func(s *Sender) { s.next.check = time.Now().Add(time.Hour) })
		e := [2]*encoder{{viewer: v}, {viewer: v, seq: 7000}}
		play := func(frames int) {
			for range frames {
				for i, l := range []*sendtest.Layer{low, high} {
					v.layer = l
					f := e[i].encode(len(e[i].frames)%50 == 0)
					for at := range f.packets {
						e[i].publish(f, at)
					}
				}
				v.layer = low
				time.Sleep(33 * ms)
				v.serve()
			}
		}
		play(60)
		v.change(func(s *Sender) { s.thin(1) })
		play(60)
		v.change(func(s *Sender) { s.switchTo(high.Layer) })
		play(70)
		require.Equal(t, high.Layer, v.sender.feed.layer)
		require.Equal(t, thin.Level(1), v.sender.thinnedTo())
		v.pause()
		play(70)
		require.Equal(t, live, v.sender.mode)
		e[0].requireDecodable()
	})
}

// A viewer in a steady state stays in it while it is thinned, and nothing is allocated for
// a packet.
func TestThinningIsSteady(t *testing.T) {
	onEncoder(t, func(e *encoder) {
		e.thin(1)
		next := func() {
			f := e.encode(len(e.frames) == 0)
			for at := range f.packets {
				e.publish(f, at)
			}
			time.Sleep(33 * ms)
		}
		for range 50 {
			next()
			e.serve()
		}
		require.True(t, e.set.steady)
		e.frames = slices.Grow(e.frames, 1000)
		to := nowhere{}
		steady := 0
		for range 100 {
			next()
			if e.set.steady && time.Now().Before(e.set.nextCheck) {
				steady++
				c := e.sender.feed.cursor
				require.Zero(t, testing.AllocsPerRun(10, func() { // of ten, since others of the process may allocate
					e.sender.feed.cursor = c
					e.set.Consume(time.Now(), to)
				}))
			}
			e.set.Consume(time.Now(), to)
		}
		require.Greater(t, steady, 30)
	})
}

type nowhere struct{}

func (nowhere) WriteRTP(header, payload []byte) (int, error) { return len(header) + len(payload), nil }

// Of a track without temporal layers everything is of the base layer.
func TestThinningWithoutTemporalLayers(t *testing.T) {
	withViewer(t, sendtest.Config{Track: sendtest.Opus()}, func(v *viewer) {
		v.join(Config{})
		v.change(func(s *Sender) { s.thin(0) })
		require.Equal(t, thin.All, v.sender.thinnedTo(), "sound is not thinned")
	})
	withViewer(t, sendtest.Config{}, func(v *viewer) {
		v.layer.KeyEvery = 30
		v.join(Config{})
		v.change(func(s *Sender) { s.thin(0) })
		v.Play(2 * time.Second)
		require.GreaterOrEqual(t, len(v.Packets), 120)
		v.requireNoGap()
	})
}
