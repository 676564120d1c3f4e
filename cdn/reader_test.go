package cdn_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/rtp/payload"
)

// A writer writes the frames of a track that lasts for 33 ms each.
type writer struct {
	t     *testing.T
	to    *cdn.LayerInput
	split *payload.Packetizer
	seq   uint16
	ts    uint32
	frame int
}

func newWriter(t *testing.T, to *cdn.LayerInput, mime string) *writer {
	split, ok := payload.NewPacketizer(mime)
	require.True(t, ok)
	return &writer{t: t, to: to, split: split, seq: 65530, ts: 1 << 31}
}

// firstSeq is the number of a writer's first packet, as a node extends it.
const firstSeq = 1<<16 + 65530

// data is what frame n of VP8 has.
func data(n int, key bool) []byte {
	tag := byte(0x11)
	if key {
		tag = 0x10
	}
	frame := append([]byte{tag, 0, 0, 0x9d, 0x01, 0x2a}, fmt.Sprintf("frame %d ", n)...)
	return append(frame, bytes.Repeat([]byte{byte(n)}, 3000)...)
}

// packets returns the next frame's.
func (w *writer) packets(key bool) (all []*rtp.Packet) {
	payloads, err := w.split.Split(data(w.frame, key), 1188)
	require.NoError(w.t, err)
	for i, p := range payloads {
		all = append(all, &rtp.Packet{
			Header:  rtp.Header{Version: 2, SequenceNumber: w.seq, Timestamp: w.ts, Marker: i == len(payloads)-1},
			Payload: p,
		})
		w.seq++
	}
	w.ts += 3000
	w.frame++
	return all
}

// write writes frames and lets their time pass. Packets of the indexes given, over all
// frames, are lost.
func (w *writer) write(keys string, lost ...int) {
	n := 0
	for _, c := range keys {
		for _, p := range w.packets(c == 'K') {
			if !contains(lost, n) {
				w.to.Write(time.Now(), p, nil)
			}
			n++
		}
		time.Sleep(time.Second / 30)
	}
}

func contains(all []int, n int) bool {
	for _, x := range all {
		if x == n {
			return true
		}
	}
	return false
}

// reading runs f with a stream of VP8 and what writes it.
func reading(t *testing.T, f func(t *testing.T, s *cdn.Stream, w *writer, b *back)) {
	inBubble(t, func(t *testing.T, n *cdn.Node) {
		s := newStream(t, n)
		in := newInput(t, s, cdn.InputConfig{}, vp8)
		li, b := newLayer(t, in, 0)
		f(t, s, newWriter(t, li, "video/VP8"), b)
	})
}

func newReader(t *testing.T, s *cdn.Stream, c cdn.ReaderConfig) *cdn.TrackReader {
	r, err := s.Tracks()[0].Reader(c)
	require.NoError(t, err)
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// within is how long a test waits for what does not come.
func within(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), d)
}

// readFrames returns the numbers of frames that can be read without waiting for long.
func readFrames(t *testing.T, r *cdn.TrackReader) (numbers []int, lost uint64) {
	for {
		ctx, cancel := within(2 * time.Second)
		f, err := r.ReadFrame(ctx)
		cancel()
		if err != nil {
			require.ErrorIs(t, err, context.DeadlineExceeded)
			return numbers, lost
		}
		var n int
		_, err = fmt.Sscanf(string(f.Data[6:]), "frame %d ", &n)
		require.NoError(t, err)
		require.Equal(t, data(n, f.Keyframe), f.Data)
		numbers, lost = append(numbers, n), lost+f.Lost
	}
}

func TestReadingFromTheNewestKeyframe(t *testing.T) {
	reading(t, func(t *testing.T, s *cdn.Stream, w *writer, b *back) {
		w.write("KDDKDD")
		r := newReader(t, s, cdn.ReaderConfig{Keyframe: true})
		w.write("DD")
		numbers, lost := readFrames(t, r)
		require.Equal(t, []int{3, 4, 5, 6, 7}, numbers)
		require.Zero(t, lost)
		require.Zero(t, r.Lost())
		require.Equal(t, 1, s.Tracks()[0].Layers()[0].Stats().Demand)
		require.NoError(t, r.Close())
		require.Zero(t, s.Tracks()[0].Layers()[0].Stats().Demand)
	})
}

func TestReadingFromNowOn(t *testing.T) {
	reading(t, func(t *testing.T, s *cdn.Stream, w *writer, b *back) {
		w.write("KD")
		asked, _ := b.counts()
		r := newReader(t, s, cdn.ReaderConfig{})
		synctest.Wait()
		again, _ := b.counts()
		require.Equal(t, asked, again, "nobody who reads packets needs one")
		packets := newReader(t, s, cdn.ReaderConfig{})
		done := make(chan []int)
		go func() {
			numbers, _ := readFrames(t, r)
			done <- numbers
		}()
		synctest.Wait()
		again, _ = b.counts()
		require.Equal(t, asked+1, again, "it cannot begin without")
		w.write("DDKDD")
		require.Equal(t, []int{4, 5, 6}, <-done)

		ctx, cancel := within(time.Second)
		defer cancel()
		for i := range 15 {
			p, err := packets.ReadPacket(ctx)
			require.NoError(t, err)
			require.Equal(t, uint64(firstSeq+6+i), p.Seq)
		}
		_, err := packets.ReadPacket(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

// Without a keyframe to begin with, one is asked for.
func TestReadingWaitsForAKeyframe(t *testing.T) {
	reading(t, func(t *testing.T, s *cdn.Stream, w *writer, b *back) {
		r := newReader(t, s, cdn.ReaderConfig{Keyframe: true})
		w.write("DD")
		asked, _ := b.counts()
		require.Positive(t, asked)
		w.write("DKD")
		ctx, cancel := within(time.Second)
		defer cancel()
		p, err := r.ReadPacket(ctx)
		require.NoError(t, err)
		require.True(t, p.Keyframe)
		require.Equal(t, uint64(firstSeq+9), p.Seq)
	})
}

// Packets that come late, twice or out of order are read once and in order.
func TestPacketsAreReadInOrder(t *testing.T) {
	reading(t, func(t *testing.T, s *cdn.Stream, w *writer, _ *back) {
		r := newReader(t, s, cdn.ReaderConfig{Keyframe: true})
		first, second := w.packets(true), w.packets(false)
		w.to.Write(time.Now(), first[0], nil)
		for _, i := range []int{1, 0, 1, 2} {
			w.to.Write(time.Now(), second[i], nil)
		}
		time.Sleep(200 * time.Millisecond)
		w.to.Write(time.Now(), first[2], nil)
		w.to.Write(time.Now(), first[1], nil)
		numbers, lost := readFrames(t, r)
		require.Equal(t, []int{0, 1}, numbers)
		require.Zero(t, lost)
	})
}

// What does not come is waited for, counted, and then passed by. Video goes on with a
// keyframe, which is asked for.
func TestLossesAreReported(t *testing.T) {
	reading(t, func(t *testing.T, s *cdn.Stream, w *writer, b *back) {
		r := newReader(t, s, cdn.ReaderConfig{Keyframe: true})
		packets := newReader(t, s, cdn.ReaderConfig{Keyframe: true, Wait: -1})
		w.write("KDDDDKD", 7, 10)
		before, _ := b.counts()
		numbers, lost := readFrames(t, r)
		require.Equal(t, []int{0, 1, 5, 6}, numbers)
		require.Equal(t, uint64(2), lost)
		require.Equal(t, uint64(2), r.Lost())
		after, _ := b.counts()
		require.GreaterOrEqual(t, after, before)

		ctx, cancel := within(time.Second)
		defer cancel()
		for seq := uint64(firstSeq); seq < firstSeq+21; seq++ {
			if seq == firstSeq+7 || seq == firstSeq+10 {
				continue
			}
			p, err := packets.ReadPacket(ctx)
			require.NoError(t, err)
			require.Equal(t, seq, p.Seq)
		}
		require.Equal(t, uint64(2), packets.Lost())
	})
}

func TestAMissingPacketIsWaitedFor(t *testing.T) {
	for name, late := range map[string]bool{"in time": false, "too late": true} {
		t.Run(name, func(t *testing.T) {
			reading(t, func(t *testing.T, s *cdn.Stream, w *writer, _ *back) {
				r := newReader(t, s, cdn.ReaderConfig{Keyframe: true, Wait: 300 * time.Millisecond})
				all := w.packets(true)
				w.to.Write(time.Now(), all[0], nil)
				w.to.Write(time.Now(), all[2], nil)
				comes := 299 * time.Millisecond
				if late {
					comes += 2 * time.Millisecond
				}
				time.AfterFunc(comes, func() { w.to.Write(time.Now(), all[1], nil) })
				begun := time.Now()
				var seqs []uint64
				for range 2 {
					p, err := r.ReadPacket(t.Context())
					require.NoError(t, err)
					seqs = append(seqs, p.Seq)
				}
				if late {
					require.Equal(t, []uint64{firstSeq, firstSeq + 2}, seqs)
					require.Equal(t, 300*time.Millisecond, time.Since(begun))
					require.Equal(t, uint64(1), r.Lost())
				} else {
					require.Equal(t, []uint64{firstSeq, firstSeq + 1}, seqs)
					require.Equal(t, 299*time.Millisecond, time.Since(begun))
				}
				time.Sleep(time.Second)
			})
		})
	}
}

// Packets that overtake one another after a pause, when the node keeps nothing from ahead
// of it any more, are read in order: none is lost.
func TestReorderingAfterAPause(t *testing.T) {
	reading(t, func(t *testing.T, s *cdn.Stream, w *writer, _ *back) {
		r := newReader(t, s, cdn.ReaderConfig{Keyframe: true})
		w.write("K")
		first := w.packets(false) // in the middle of a frame
		w.to.Write(time.Now(), first[0], nil)
		for range 4 {
			_, err := r.ReadPacket(t.Context())
			require.NoError(t, err)
		}
		ctx, cancel := within(time.Minute)
		defer cancel()
		time.AfterFunc(30*time.Second, func() { w.to.Write(time.Now(), first[2], nil) })
		time.AfterFunc(30*time.Second+20*time.Millisecond, func() { w.to.Write(time.Now(), first[1], nil) })
		for seq := uint64(firstSeq + 4); seq < firstSeq+6; seq++ {
			p, err := r.ReadPacket(ctx)
			require.NoError(t, err)
			require.Equal(t, seq, p.Seq)
		}
		require.Zero(t, r.Lost())
	})
}

// A reader that does not keep up loses what the node does not keep, and goes on at once.
func TestASlowReaderIsLapped(t *testing.T) {
	reading(t, func(t *testing.T, s *cdn.Stream, w *writer, _ *back) {
		w.write("K")
		r := newReader(t, s, cdn.ReaderConfig{Keyframe: true})
		for range 20 {
			w.write("DDDDDDDDDDDDDDDDDDDDDDDDDDDDDK")
		}
		begun := time.Now()
		p, err := r.ReadPacket(t.Context())
		require.NoError(t, err)
		require.Zero(t, time.Since(begun), "what is gone is not waited for")
		require.Equal(t, p.Seq-firstSeq, r.Lost())
		require.Greater(t, r.Lost(), uint64(1000))
		numbers, _ := readFrames(t, r)
		require.Equal(t, 600, numbers[len(numbers)-1])
		for i := 1; i < len(numbers); i++ {
			require.Equal(t, numbers[i-1]+1, numbers[i])
		}
	})
}

func TestReadingEnds(t *testing.T) {
	t.Run("with the stream", func(t *testing.T) {
		reading(t, func(t *testing.T, s *cdn.Stream, w *writer, _ *back) {
			r := newReader(t, s, cdn.ReaderConfig{Keyframe: true})
			w.write("KDD", 4)
			s.End(fmt.Errorf("%w: good night", cdn.ErrEnded))
			begun := time.Now()
			for range 8 { // what there is, first
				_, err := r.ReadPacket(t.Context())
				require.NoError(t, err)
			}
			_, err := r.ReadPacket(t.Context())
			require.ErrorContains(t, err, "good night")
			_, err = r.ReadPacket(t.Context())
			require.ErrorIs(t, err, cdn.ErrEnded)
			require.Zero(t, time.Since(begun), "nothing comes any more")
		})
	})
	t.Run("by Close", func(t *testing.T) {
		reading(t, func(t *testing.T, s *cdn.Stream, w *writer, _ *back) {
			r := newReader(t, s, cdn.ReaderConfig{})
			time.AfterFunc(time.Second, func() { _ = r.Close() })
			_, err := r.ReadPacket(t.Context())
			require.ErrorIs(t, err, cdn.ErrClosed)
			w.write("K")
			_, err = r.ReadFrame(t.Context())
			require.ErrorIs(t, err, cdn.ErrClosed)
			require.NoError(t, r.Close())
		})
	})
	t.Run("by its context", func(t *testing.T) {
		reading(t, func(t *testing.T, s *cdn.Stream, w *writer, _ *back) {
			r := newReader(t, s, cdn.ReaderConfig{})
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			_, err := r.ReadPacket(ctx)
			require.ErrorIs(t, err, context.Canceled)
			w.write("K")
			_, err = r.ReadPacket(t.Context())
			require.NoError(t, err, "it can be read on")
		})
	})
}

func TestWhatCannotBeRead(t *testing.T) {
	inBubble(t, func(t *testing.T, n *cdn.Node) {
		s := newStream(t, n)
		other := vp8
		other.Codec.MimeType = "video/theora"
		in := newInput(t, s, cdn.InputConfig{}, other)
		newLayer(t, in, 0)
		_, err := s.Tracks()[0].Reader(cdn.ReaderConfig{Layer: "h"})
		require.ErrorIs(t, err, cdn.ErrNotFound)
		r := newReader(t, s, cdn.ReaderConfig{})
		_, err = r.ReadFrame(t.Context())
		require.ErrorIs(t, err, cdn.ErrUnsupported)
	})
}

// A frame that never ends does not grow without bound, and one that is malformed is
// left out.
func TestUselessFramesAreLeftOut(t *testing.T) {
	reading(t, func(t *testing.T, s *cdn.Stream, w *writer, _ *back) {
		r := newReader(t, s, cdn.ReaderConfig{Keyframe: true})
		w.write("K")
		broken := w.packets(false)
		broken[1].Payload = broken[1].Payload[:1] // X without what it announces
		for _, p := range broken {
			w.to.Write(time.Now(), p, nil)
		}
		w.write("DKD")
		numbers, lost := readFrames(t, r)
		require.Equal(t, []int{0, 3, 4}, numbers)
		require.Equal(t, uint64(3), lost)

		endless := w.packets(true)[0]
		for range 8<<20/len(endless.Payload) + 200 {
			w.to.Write(time.Now(), endless, nil)
			endless.SequenceNumber++
			endless.Payload = append([]byte{0x80, 0x80, 0x80, 0}, endless.Payload[4:]...)
			if endless.SequenceNumber%100 == 0 {
				time.Sleep(time.Millisecond)
				ctx, cancel := within(time.Microsecond)
				_, err := r.ReadFrame(ctx)
				cancel()
				require.ErrorIs(t, err, context.DeadlineExceeded)
			}
		}
		require.Greater(t, r.Lost(), uint64(7000))
		w.seq = endless.SequenceNumber
		w.write("DKD")
		numbers, _ = readFrames(t, r)
		require.Equal(t, []int{7, 8}, numbers)
	})
}

// A frame without a marker ends where the next one begins.
func TestFramesWithoutMarkers(t *testing.T) {
	reading(t, func(t *testing.T, s *cdn.Stream, w *writer, _ *back) {
		r := newReader(t, s, cdn.ReaderConfig{Keyframe: true})
		for range 3 {
			for _, p := range w.packets(w.frame == 0) {
				p.Marker = false
				w.to.Write(time.Now(), p, nil)
			}
			time.Sleep(33 * time.Millisecond)
		}
		numbers, lost := readFrames(t, r)
		require.Equal(t, []int{0, 1}, numbers)
		require.Zero(t, lost)
	})
}

// Another publisher takes the stream over, and the reader reads on: nothing is lost.
func TestReadingGoesOnThroughATakeover(t *testing.T) {
	reading(t, func(t *testing.T, s *cdn.Stream, w *writer, _ *back) {
		r := newReader(t, s, cdn.ReaderConfig{Keyframe: true})
		w.write("KDD")
		next := newInput(t, s, cdn.InputConfig{}, vp8)
		li, _ := newLayer(t, next, 0)
		w2 := newWriter(t, li, "video/VP8")
		w2.frame, w2.seq, w2.ts = 100, 5, 5
		w2.write("KDD")
		numbers, lost := readFrames(t, r)
		require.Equal(t, []int{0, 1, 2, 100, 101, 102}, numbers)
		require.Zero(t, lost)
	})
}

// What a publisher has sent of a frame when it is lost is no frame.
func TestHalfAFrameIsLeftOut(t *testing.T) {
	reading(t, func(t *testing.T, s *cdn.Stream, w *writer, _ *back) {
		r := newReader(t, s, cdn.ReaderConfig{Keyframe: true})
		w.write("KD")
		w.to.Write(time.Now(), w.packets(false)[0], nil)
		time.Sleep(time.Second / 30)
		next := newInput(t, s, cdn.InputConfig{}, vp8)
		li, _ := newLayer(t, next, 0)
		w2 := newWriter(t, li, "video/VP8")
		w2.frame = 100
		w2.write("KD")
		numbers, lost := readFrames(t, r)
		require.Equal(t, []int{0, 1, 100, 101}, numbers)
		require.Equal(t, uint64(1), lost)
	})
}

func TestReadingSound(t *testing.T) {
	inBubble(t, func(t *testing.T, n *cdn.Node) {
		s := newStream(t, n)
		li, _ := newLayer(t, newInput(t, s, cdn.InputConfig{}, opus), 0)
		r := newReader(t, s, cdn.ReaderConfig{Keyframe: true})
		for i := range uint16(50) {
			if i != 20 {
				li.Write(time.Now(), &rtp.Packet{Header: rtp.Header{SequenceNumber: i, Timestamp: 960 * uint32(i)}, Payload: []byte{byte(i)}}, nil)
			}
			time.Sleep(20 * time.Millisecond)
		}
		var times []time.Time
		for i := range 49 {
			f, err := r.ReadFrame(t.Context())
			require.NoError(t, err)
			require.True(t, f.Keyframe)
			want := uint64(0)
			if i >= 20 {
				i++
			}
			if i == 21 {
				want = 1
			}
			require.Equal(t, []byte{byte(i)}, f.Data)
			require.Equal(t, want, f.Lost)
			times = append(times, f.Time)
		}
		require.InDelta(t, 0.98, times[48].Sub(times[0]).Seconds(), 0.001)
	})
}
