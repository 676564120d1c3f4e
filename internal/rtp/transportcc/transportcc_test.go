package transportcc

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/stretchr/testify/require"
)

const ms = time.Millisecond

// read returns the arrivals that messages tell of, by number, and which numbers were lost,
// as pion reads them.
func read(t testing.TB, raw []byte) (arrived map[uint16]time.Duration, lost []uint16, messages []*rtcp.TransportLayerCC) {
	arrived = make(map[uint16]time.Duration)
	if len(raw) == 0 {
		return arrived, nil, nil
	}
	packets, err := rtcp.Unmarshal(raw)
	require.NoError(t, err)
	for _, p := range packets {
		m, ok := p.(*rtcp.TransportLayerCC)
		require.True(t, ok)
		messages = append(messages, m)
		var statuses []uint16
		for _, c := range m.PacketChunks {
			switch c := c.(type) {
			case *rtcp.RunLengthChunk:
				statuses = append(statuses, slices.Repeat([]uint16{c.PacketStatusSymbol}, int(c.RunLength))...)
			case *rtcp.StatusVectorChunk:
				statuses = append(statuses, c.SymbolList...)
			}
		}
		require.GreaterOrEqual(t, len(statuses), int(m.PacketStatusCount))
		at, deltas := time.Duration(m.ReferenceTime)*64*ms, m.RecvDeltas
		for i, s := range statuses[:m.PacketStatusCount] {
			n := m.BaseSequenceNumber + uint16(i)
			if s == rtcp.TypeTCCPacketNotReceived {
				lost = append(lost, n)
				continue
			}
			at += time.Duration(deltas[0].Delta) * time.Microsecond
			deltas = deltas[1:]
			arrived[n] = at
		}
		require.Empty(t, deltas)
	}
	return arrived, lost, messages
}

func TestFeedback(t *testing.T) {
	r := New(1)
	for i := range 20 {
		if i != 7 && i != 13 {
			r.Record(2, 65530+uint16(i), time.Second+time.Duration(i*i)*ms)
		}
	}
	require.True(t, r.Pending())
	arrived, lost, messages := read(t, r.Append(nil))
	require.False(t, r.Pending())
	require.Len(t, messages, 1)
	require.EqualValues(t, 1, messages[0].SenderSSRC)
	require.EqualValues(t, 2, messages[0].MediaSSRC)
	require.EqualValues(t, 0, messages[0].FbPktCount)
	require.Equal(t, []uint16{1, 7}, lost)
	require.Len(t, arrived, 18)
	for i := range 20 {
		if at, ok := arrived[65530+uint16(i)]; ok {
			require.Equal(t, time.Second+time.Duration(i*i)*ms, at)
		}
	}
	require.Empty(t, r.Append(nil))

	// The two that were late, and what followed them, are told of again.
	r.Record(2, 1, 2*time.Second)
	r.Record(2, 14, 2*time.Second+ms/2)
	arrived, lost, messages = read(t, r.Append([]byte(nil)))
	require.EqualValues(t, 1, messages[0].BaseSequenceNumber)
	require.EqualValues(t, 1, messages[0].FbPktCount)
	require.Equal(t, []uint16{7}, lost)
	require.Equal(t, 2*time.Second, arrived[1])
	require.Equal(t, time.Second+19*19*ms, arrived[13])
	require.Equal(t, 2*time.Second+ms/2, arrived[14])
}

// Whatever comes, each packet that arrived is told of once at least, at its time, and what
// did not is not.
func TestAllIsTold(t *testing.T) {
	for seed := range uint64(10) {
		rng := rand.New(rand.NewPCG(seed, 1))
		r := New(1)
		at, seq := time.Duration(rng.Int64N(int64(100*time.Hour))), uint16(rng.Uint32())
		want := map[uint16]time.Duration{}
		got := map[uint16]time.Duration{}
		take := func(raw []byte) {
			arrived, lost, messages := read(t, raw)
			for _, n := range lost {
				_, came := want[n]
				require.False(t, came, n)
			}
			reference := time.Duration(0)
			for n, when := range arrived {
				if reference == 0 { // of which 24 bits travel
					reference = (want[n] - when).Round(64 * ms * 1 << 24)
				}
				got[n] = when + reference
			}
			for _, m := range messages {
				require.Less(t, m.MarshalSize(), 1200)
			}
		}
		record := func(n uint16) {
			want[n] = at.Round(tick)
			if r.Record(2, n, at) {
				take(r.Append(nil))
			}
		}
		for range 300 {
			switch rng.IntN(10) {
			case 0:
				seq += uint16(rng.IntN(kept - full)) // lost
			case 1:
				at += time.Duration(rng.Int64N(int64(20 * time.Second)))
			case 2:
				take(r.Append(nil))
			}
			n := seq
			seq++
			if rng.IntN(8) == 0 {
				seq++
				n = seq - 2 // of a pair the second comes first
				at += ms
				record(seq - 1)
			}
			at += time.Duration(rng.Int64N(int64(3 * ms)))
			record(n)
		}
		take(r.Append(nil))
		for n, when := range want {
			require.InDelta(t, when, got[n], float64(tick), "seed %d, number %d", seed, n)
		}
	}
}

// A jump of the numbers is not told of number by number.
func TestJumps(t *testing.T) {
	r := New(1)
	r.Record(2, 10, time.Second)
	require.True(t, r.Record(2, 30_000, time.Second+ms))
	arrived, lost, _ := read(t, r.Append(nil))
	require.Less(t, len(lost), kept)
	require.Equal(t, time.Second+ms, arrived[30_000])
	require.False(t, r.Record(2, 20_000, time.Second+2*ms), "too late")
	require.False(t, r.Pending())
	r.Record(2, 30_001, time.Second-ms)
	arrived, _, _ = read(t, r.Append(nil))
	require.Equal(t, map[uint16]time.Duration{30_001: time.Second - ms}, arrived)
}

// A sender that is reset numbers anew, and is told of that after a moment: without feedback
// it would send next to nothing.
func TestReset(t *testing.T) {
	for _, from := range []uint16{20_000, 35_000, 49_000} {
		r := New(1)
		for i := range uint16(2000) {
			r.Record(2, 48_000+i, time.Second)
		}
		r.Append(nil)
		for i := range uint16(2) { // of before, late
			r.Record(2, 30_000+i, time.Second)
			r.Record(2, 50_000+i, time.Second)
		}
		r.Append(nil)
		for i := range uint16(100) {
			r.Record(2, from+i, 2*time.Second+time.Duration(i)*ms)
		}
		arrived, lost, _ := read(t, r.Append(nil))
		if from == 49_000 { // these are known
			require.Empty(t, arrived)
			continue
		}
		require.Empty(t, lost)
		require.Greater(t, len(arrived), 80)
		require.Equal(t, 2*time.Second+99*ms, arrived[from+99])
	}
}

func TestNothingIsAllocated(t *testing.T) {
	r := New(1)
	n, buf := uint16(0), make([]byte, 0, 4096)
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		for range 50 {
			r.Record(2, n, time.Duration(n)*ms)
			n++
		}
		buf = r.Append(buf[:0])
	}))
}

func FuzzRecord(f *testing.F) {
	f.Add([]byte{0, 1, 0, 5, 0, 3, 0, 9, 255, 1, 7, 7})
	f.Fuzz(func(t *testing.T, steps []byte) {
		r := New(1)
		seq, at := uint16(0), time.Duration(0)
		for ; len(steps) >= 2; steps = steps[2:] {
			seq += uint16(int8(steps[0])) * uint16(steps[0]&3+1)
			at += time.Duration(int8(steps[1])) * 50 * ms
			if r.Record(2, seq, max(at, 0)) || steps[1]&7 == 0 {
				read(t, r.Append(nil))
			}
		}
		read(t, r.Append(nil))
	})
}
