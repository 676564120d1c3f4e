package cdntest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSeqSet(t *testing.T) {
	var s seqSet
	require.Zero(t, s.missing())
	const first = 1<<16 + 100
	for _, seq := range []uint64{first, first + 1, first + 5, first - 2} {
		require.True(t, s.add(seq))
		require.False(t, s.add(seq))
	}
	require.Equal(t, 4, s.missing())
	require.True(t, s.add(first+3))
	require.Equal(t, 3, s.missing())
	require.False(t, s.add(first-40_000), "older than anything that the first can have overtaken")
}

func frames(latencies ...time.Duration) TrackReport {
	var r TrackReport
	start := time.Unix(0, 0)
	for i, l := range latencies {
		sent := start.Add(time.Duration(i) * 20 * time.Millisecond)
		r.Frames = append(r.Frames, Frame{Number: uint32(i), Sent: sent, Done: sent.Add(l)})
	}
	return r
}

func TestLatency(t *testing.T) {
	r := frames(4, 1, 3, 2)
	for q, want := range map[float64]time.Duration{0: 1, 0.25: 1, 0.5: 2, 0.51: 3, 0.99: 4, 1: 4} {
		require.Equal(t, want, r.Latency(q), "%v", q)
	}
	require.Zero(t, TrackReport{}.Latency(0.5))
}

func TestWholeWithin(t *testing.T) {
	r := frames(4, 1, 3, 2)
	require.Equal(t, 0.5, r.WholeWithin(2))
	r.Partial, r.Absent = 3, 1
	require.Equal(t, 0.25, r.WholeWithin(2))
	require.Zero(t, TrackReport{}.WholeWithin(time.Hour))
	both := Report{Tracks: []TrackReport{r, frames(2, 2)}}
	require.Equal(t, 0.4, both.WholeWithin(2))
}

func TestGap(t *testing.T) {
	require.Equal(t, 40*time.Millisecond, frames(0, 20*time.Millisecond, 0).Gap())
	require.Zero(t, TrackReport{}.Gap())
}

func TestMarkDecodable(t *testing.T) {
	tests := []struct {
		name   string
		frames []Frame
		want   []bool
	}{
		{"KeyframeFirst", []Frame{{Number: 1, Key: true}, {Number: 2}, {Number: 3}}, []bool{true, true, true}},
		{"DeltaFirst", []Frame{{Number: 1}, {Number: 2, Key: true}}, []bool{false, true}},
		{
			"Hole",
			[]Frame{{Number: 1, Key: true}, {Number: 3}, {Number: 4}, {Number: 5, Key: true}},
			[]bool{true, false, false, true},
		},
		{
			"LayerSwitch",
			[]Frame{{Number: 1, Key: true}, {Number: 2, Layer: 1}, {Number: 3, Layer: 1, Key: true}},
			[]bool{true, false, true},
		},
		{"Takeover", []Frame{{Number: 1, Key: true}, {Number: 2, Seed: 1}}, []bool{true, false}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var order []*Frame
			for i := range test.frames {
				order = append(order, &test.frames[i])
			}
			markDecodable(order)
			for i, f := range test.frames {
				require.Equal(t, test.want[i], f.Decodable, "frame %d", i)
			}
		})
	}
}

func TestTimestampJumps(t *testing.T) {
	at := func(timestamp uint64, sent time.Duration) *Frame {
		return &Frame{Timestamp: timestamp, Sent: time.Unix(0, 0).Add(sent)}
	}
	tests := []struct {
		name string
		next *Frame
		want int
	}{
		{"Exact", at(90_000, time.Second), 0},
		{"WithinSlack", at(90_000+8_000, time.Second), 0},
		{"Ahead", at(90_000+10_000, time.Second), 1},
		{"Behind", at(90_000-10_000, time.Second), 1},
		{"Same", at(0, 0), 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			require.Equal(t, test.want, timestampJumps([]*Frame{at(0, 0), test.next}, 90_000))
		})
	}
}

func TestIncomplete(t *testing.T) {
	whole := &partialFrame{Frame: Frame{Done: time.Unix(1, 0)}}
	some := &partialFrame{}
	track := receivedTrack{partial: map[frameID]*partialFrame{
		{1, 0, 10, 0}: whole,
		{1, 0, 12, 0}: some,
		{1, 0, 13, 0}: some,
		{1, 1, 13, 0}: whole, // the other layer has it
		{1, 0, 15, 0}: whole,
		{1, 0, 16, 0}: some,  // newer than all whole ones
		{2, 0, 3, 0}:  whole, // another publisher's
	}}
	partial, absent := track.incomplete()
	require.Equal(t, 1, partial)
	require.Equal(t, 2, absent)
}
