package ring

import (
	"encoding/binary"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var epoch = time.Unix(1000, 0)

func packet(seq uint64, at time.Duration) Packet {
	return Packet{Seq: seq, Timestamp: seq * 3000, Arrival: epoch.Add(at), Payload: binary.BigEndian.AppendUint64(nil, seq)}
}

func TestCursorsReadInOrderOfArrival(t *testing.T) {
	r := New(Config{})
	c := r.Cursor(0)
	require.Nil(t, c.Next())
	for _, seq := range []uint64{5, 7, 6} {
		r.Append(packet(seq, 0))
	}
	require.Equal(t, uint64(3), c.Behind())
	for _, want := range []uint64{5, 7, 6} {
		require.Equal(t, want, c.Next().Seq)
	}
	require.Nil(t, c.Next())
	require.Zero(t, c.Lost())
}

func TestAppendCopies(t *testing.T) {
	r := New(Config{})
	p := packet(1, 0)
	p.Extensions = []byte{1, 1, 9}
	stored := r.Append(p)
	p.Payload[7], p.Extensions[2] = 0xff, 0xff
	require.Equal(t, byte(1), stored.Payload[7])
	require.Equal(t, byte(9), stored.Extensions[2])
	require.Equal(t, len(stored.Payload), cap(stored.Payload), "no room to grow into the next packet")
}

func TestLookupBySequenceNumber(t *testing.T) {
	r := New(Config{Packets: 4})
	for seq := uint64(10); seq < 16; seq++ {
		r.Append(packet(seq, 0))
	}
	require.Nil(t, r.Lookup(11), "pushed out")
	require.Equal(t, uint64(12), r.Lookup(12).Seq)
	require.Equal(t, uint64(15), r.Lookup(15).Seq)
	require.Nil(t, r.Lookup(16), "not here yet")
	require.Equal(t, uint64(15), r.Newest().Seq)
}

func TestBounds(t *testing.T) {
	t.Run("packets", func(t *testing.T) {
		r := New(Config{Packets: 8})
		c := r.Cursor(0)
		for seq := range uint64(20) {
			r.Append(packet(seq, 0))
		}
		require.Equal(t, uint64(12), c.Next().Seq)
		require.Equal(t, uint64(12), c.Lost())
	})
	t.Run("bytes", func(t *testing.T) {
		r := New(Config{Bytes: 80})
		c := r.Cursor(0)
		for seq := range uint64(20) {
			r.Append(packet(seq, 0))
		}
		require.Equal(t, uint64(10), c.Next().Seq, "10 packets of 8 bytes")
	})
	t.Run("age", func(t *testing.T) {
		r := New(Config{Age: time.Second})
		c := r.Cursor(0)
		for seq := range uint64(20) {
			r.Append(packet(seq, time.Duration(seq)*100*time.Millisecond))
		}
		require.Equal(t, uint64(9), c.Next().Seq)
	})
}

func TestKeyframe(t *testing.T) {
	r := New(Config{Packets: 4})
	require.Nil(t, r.Keyframe())
	k := packet(1, 0)
	k.Keyframe = true
	r.Append(k)
	r.Append(packet(2, 0))
	require.Equal(t, uint64(1), r.Keyframe().Seq)
	for seq := uint64(3); seq < 6; seq++ {
		r.Append(packet(seq, 0))
	}
	require.Nil(t, r.Keyframe(), "pushed out")
}

// Readers that run beside the appender, lapped or not, see packets whole, in
// order and as they were written.
func TestConcurrentReaders(t *testing.T) {
	r := New(Config{Packets: 64})
	const last = 50000
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			c := r.Cursor(0)
			var read, prev uint64
			for prev < last {
				p := c.Next()
				if p == nil {
					continue
				}
				read++
				if p.Seq <= prev || binary.BigEndian.Uint64(p.Payload) != p.Seq {
					t.Errorf("after %d came %d with payload %x", prev, p.Seq, p.Payload)
					return
				}
				prev = p.Seq
			}
			if read+c.Lost() != last {
				t.Errorf("read %d and lost %d of %d", read, c.Lost(), last)
			}
		})
	}
	for seq := uint64(1); seq <= last; seq++ {
		r.Append(packet(seq, 0))
		_ = r.Lookup(seq - 3)
	}
	wg.Wait()
}

func TestReadingDoesNotAllocate(t *testing.T) {
	r := New(Config{})
	for seq := range uint64(1000) {
		r.Append(packet(seq, 0))
	}
	require.Zero(t, testing.AllocsPerRun(100, func() {
		c := r.Cursor(0)
		for p := c.Next(); p != nil; p = c.Next() {
			_ = r.Lookup(p.Seq)
		}
	}))
}

func BenchmarkAppend(b *testing.B) {
	r := New(Config{})
	p := packet(0, 0)
	p.Payload = make([]byte, 1200)
	b.ReportAllocs()
	b.SetBytes(1200)
	for b.Loop() {
		p.Seq++
		r.Append(p)
	}
}

func BenchmarkNext(b *testing.B) {
	r := New(Config{})
	for seq := range uint64(4096) {
		r.Append(packet(seq, 0))
	}
	c := r.Cursor(0)
	b.ReportAllocs()
	for b.Loop() {
		if c.Next() == nil {
			c = r.Cursor(0)
		}
	}
}
