package ring

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// frame appends a frame of n packets.
func frame(r *Ring, seq uint64, at time.Duration, n int, key bool) {
	for i := range n {
		p := packet(seq+uint64(i), at)
		p.Timestamp, p.Keyframe, p.Marker = seq*3000, key && i == 0, i == n-1
		r.Append(p)
	}
}

func seqs(all []*Packet) (out []uint64) {
	for _, p := range all {
		out = append(out, p.Seq)
	}
	return out
}

// What followed the newest keyframe stays beyond the age of the rest, up to a
// bound; the keyframe alone stays until the next.
func TestTheNewestGOPStays(t *testing.T) {
	r := New(Config{Age: time.Second, GOP: 5 * time.Second})
	frame(r, 1, 0, 1, false)
	frame(r, 10, 0, 3, true)
	for i := range uint64(49) {
		frame(r, 13+i, time.Duration(i+1)*100*time.Millisecond, 1, false)
	}
	require.NotNil(t, r.Keyframe())
	require.Nil(t, r.Lookup(1), "from before it")
	c := r.Cursor(r.Keyframe().Index)
	for want := uint64(10); want < 62; want++ {
		require.Equal(t, want, c.Next().Seq)
	}
	require.Equal(t, 52*8, r.GOPBytes())
	require.Equal(t, []uint64{10, 11, 12}, seqs(r.Snapshot()))

	frame(r, 62, 5100*time.Millisecond, 1, false)
	require.Nil(t, r.Keyframe(), "too old")
	require.Nil(t, r.Lookup(30), "and so is what followed")
	require.NotNil(t, r.Lookup(55))
	for at := range 100 {
		frame(r, 63+uint64(at), time.Duration(at+6)*time.Second, 1, false)
	}
	require.Equal(t, []uint64{10, 11, 12}, seqs(r.Snapshot()), "the keyframe itself stays")
	require.Equal(t, uint64(11), r.Lookup(11).Seq, "and is repaired")

	frame(r, 200, 200*time.Second, 2, true)
	require.Equal(t, []uint64{200, 201}, seqs(r.Snapshot()))
}

// A GOP that outgrows the bounds is none any more, but its keyframe stays.
func TestTheNewestGOPIsBounded(t *testing.T) {
	r := New(Config{Packets: 16})
	frame(r, 100, 0, 3, true)
	for i := range uint64(40) {
		frame(r, 103+i, time.Millisecond, 1, false)
	}
	require.Nil(t, r.Keyframe())
	require.Equal(t, []uint64{100, 101, 102}, seqs(r.Snapshot()))
}

// Only a whole frame is one, in whichever order its packets came; what lies
// before its first recognised packet belongs to it.
func TestASnapshotIsWhole(t *testing.T) {
	r := New(Config{})
	add := func(seq uint64, key, marker bool) {
		p := packet(seq, 0)
		p.Timestamp, p.Keyframe, p.Marker = 9000, key, marker
		r.Append(p)
	}
	add(5, false, false) // say a PPS before the SPS
	add(6, true, false)
	require.Nil(t, r.Snapshot())
	add(8, false, true)
	require.Nil(t, r.Snapshot())
	add(7, false, false)
	require.Equal(t, []uint64{5, 6, 7, 8}, seqs(r.Snapshot()))

	r = New(Config{Bytes: 2 * snapshotBytes})
	for seq := range uint64(20) {
		p := packet(seq, 0)
		p.Timestamp, p.Keyframe, p.Marker = 1, seq == 0, seq == 19
		p.Payload = make([]byte, snapshotBytes/16)
		r.Append(p)
	}
	require.Len(t, r.Snapshot(), 20)
	for seq := uint64(20); seq < 50; seq++ {
		p := packet(seq, 0)
		p.Payload = make([]byte, snapshotBytes/16)
		r.Append(p)
	}
	require.Nil(t, r.Snapshot(), "too large to be kept")
}
