package main

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"
)

func packet(kind byte, seq uint16, ts uint32) []byte {
	b := make([]byte, 12)
	b[0], b[1] = 0x80, kind
	binary.BigEndian.PutUint16(b[2:], seq)
	binary.BigEndian.PutUint32(b[4:], ts)
	return b
}

// What is left out, sent twice or out of order is counted as that, wherever the numbers
// wrap around.
func TestFlow(t *testing.T) {
	t.Parallel()
	const frames = 300
	type sent struct {
		seq uint16
		ts  uint32
	}
	stream := func(first uint16) (all []sent) {
		for i := range frames * perFrame {
			all = append(all, sent{first + uint16(i), uint32(i/perFrame) * videoStep})
		}
		return all
	}
	for _, c := range []struct {
		name   string
		change func(all []sent) []sent
		want   flowCount
	}{
		{"whole", func(all []sent) []sent { return all }, flowCount{}},
		{"one missing", func(all []sent) []sent { return append(all[:1000:1000], all[1001:]...) }, flowCount{missing: 1}},
		{"200 missing", func(all []sent) []sent { return append(all[:1003:1003], all[1203:]...) }, flowCount{missing: 200, jumps: 1}},
		{"one twice", func(all []sent) []sent { return append(all[:1000:1000], all[990:]...) }, flowCount{duplicates: 10}},
		{"late by 20", func(all []sent) []sent {
			p := all[1000]
			copy(all[1000:], all[1001:1021])
			all[1020] = p
			return all
		}, flowCount{}},
		{"late by 100", func(all []sent) []sent {
			p := all[1000]
			copy(all[1000:], all[1001:1101])
			all[1100] = p
			return all
		}, flowCount{}},
		{"a frame left out, and the gap closed", func(all []sent) []sent {
			for i := 900; i < len(all); i++ {
				all[i].ts += videoStep
			}
			return all
		}, flowCount{jumps: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for range 20 {
				var f flow
				all := c.change(stream(uint16(rand.Uint32())))
				for _, p := range all {
					f.note(packet(videoType|0x80, p.seq, p.ts))
				}
				c.want.packets = uint64(len(all))
				if got := f.count(time.Now()); got != c.want {
					t.Fatalf("counted %+v, want %+v (from %d)", got, c.want, all[0].seq)
				}
			}
		})
	}
}

// What a viewer begins with, faster than the stream, is no error, and neither are
// repairs under a number line of their own.
func TestFlowBegins(t *testing.T) {
	t.Parallel()
	var f flow
	ts := uint32(0)
	for i := range 100 {
		ts += 700
		f.note(packet(videoType, uint16(i), ts))
		f.note(packet(97, 5, 0))
	}
	for i := range 100 {
		ts += videoStep
		f.note(packet(videoType, uint16(100+i), ts))
	}
	if got := f.count(time.Now()); got != (flowCount{packets: 200}) {
		t.Fatalf("counted %+v", got)
	}
	if got := f.count(time.Now().Add(2 * silence)); got != (flowCount{packets: 200, jumps: 1}) {
		t.Fatalf("silent, and counted %+v", got)
	}
}
