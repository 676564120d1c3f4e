package main

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtcp"
)

// Estimators of viewers doze or are awake as they should, for a few viewers. It is not parallel:
// what stalls the machine wakes them.
func TestAdapting(t *testing.T) {
	b, out := tiny(t)
	b.adapting, b.counts, b.load.gro, b.load.window = 1, []int{5}, true, time.Second
	if err := b.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Log(out)
	table, summary, _ := strings.Cut(out.String(), "\n\n")
	got := rows(t, table)
	for i, v := range variants {
		if i >= len(got) || got[i][1] != "5 "+v.name {
			t.Fatalf("row %d is not that of %s: %q", i, v.name, got)
		}
		if !strings.Contains(summary, "| "+v.name+" | ") {
			t.Errorf("no %s in\n%s", v.name, summary)
		}
	}
	// A report a second; or an estimate each 200 ms; or feedback each 50 ms. Less where the
	// machine is busy with other tests.
	header, _, _ := strings.Cut(table, "\n")
	column := slices.IndexFunc(strings.Split(header, "|"), func(s string) bool { return strings.Contains(s, "RTCP messages") }) - 1
	if column < 0 {
		t.Fatal("no column of RTCP messages in", header)
	}
	for i, most := range []float64{2, 7, 25} {
		if got := figureOf(t, got[i][column]); got < most/4 || got > most {
			t.Errorf("%s: %.1f messages of RTCP a second of a viewer, want %.1f to %.1f", variants[i].name, got, most/4, most)
		}
	}
}

func TestPacedJoins(t *testing.T) {
	t.Parallel()
	b, out := tiny(t)
	b.joins, b.adapting = 10, 1
	if err := b.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Log(out)
	if got := out.String(); !strings.Contains(got, "| delta-paced | 3 | 0 |") || !strings.Contains(got, "Paced against unpaced") {
		t.Error("not all joined")
	}
}

// What misses a bar is marked.
func TestAdaptingSummary(t *testing.T) {
	t.Parallel()
	of := func(cpu, kib float64, goroutines int, jitter time.Duration) adapted {
		return adapted{result{cpu: cpu, jitter: jitter}, kib, goroutines}
	}
	c := costs{viewers: 500}
	for range 3 {
		c.rounds = append(c.rounds, []adapted{of(2, 30, 1, time.Millisecond), of(2.1, 30.4, 1, 2*time.Millisecond), of(2.2, 36, 501, 5*time.Millisecond)})
	}
	for _, want := range []string{
		"| off | 1.000 (1.000 to 1.000) | +0.00 | +0 | 1.00 | +0.00 |",
		"| dozing | **1.050 (1.050 to 1.050)** | +0.40 | +0 | 2.00 | +1.00 |",
		"| adapting | 1.100 (1.100 to 1.100) | **+6.00** | **+500** | 5.00 | **+4.00** |",
	} {
		if !strings.Contains(c.summary(), want) {
			t.Errorf("no %q in\n%s", want, c.summary())
		}
	}
}

// A message says of each packet whether it came, and when.
func TestFeedback(t *testing.T) {
	t.Parallel()
	begin := time.Unix(1_800_000_000, 123_456_789)
	type packet struct {
		number uint16
		after  time.Duration
	}
	steady := func(first uint16, n int) (all []packet) {
		for i := range n {
			all = append(all, packet{first + uint16(i), time.Duration(i) * 3 * time.Millisecond})
		}
		return all
	}
	for name, all := range map[string][]packet{
		"steady":       steady(7, 18),
		"numbers wrap": steady(0xfffa, 20),
		"some missing": {{1, 0}, {2, time.Millisecond}, {5, 8 * time.Millisecond}, {30, 30 * time.Millisecond}},
		"a pause":      {{1, 0}, {2, 300 * time.Millisecond}, {3, 301 * time.Millisecond}},
		"clock back":   {{1, 0}, {2, -5 * time.Millisecond}, {3, time.Millisecond}},
	} {
		t.Run(name, func(t *testing.T) {
			a := arrivals{every: 50 * time.Millisecond}
			for _, p := range all {
				a.note(p.number, begin.Add(p.after))
				if a.take(begin.Add(49*time.Millisecond), 5) != nil {
					t.Fatal("a message before it is due")
				}
			}
			raw, ok := a.take(begin.Add(time.Second), 5).(*rtcp.RawPacket)
			if !ok {
				t.Fatal("no message")
			}
			var m rtcp.TransportLayerCC
			if err := m.Unmarshal(*raw); err != nil {
				t.Fatal(err)
			}
			came := arrivedBy(&m)
			if m.MediaSSRC != 5 || m.BaseSequenceNumber != all[0].number || int(m.PacketStatusCount) != int(all[len(all)-1].number-all[0].number)+1 || len(came) != len(all) {
				t.Fatalf("a message of %d packets, of which %d came: %+v", m.PacketStatusCount, len(came), m)
			}
			for _, p := range all {
				apart := came[p.number] - came[all[0].number] - p.after
				if apart < -time.Millisecond || apart > time.Millisecond {
					t.Errorf("packet %d came %v after the first, not %v", p.number, came[p.number]-came[all[0].number], p.after)
				}
			}
			if a.take(begin.Add(2*time.Second), 5) != nil {
				t.Error("a message of nothing")
			}
		})
	}
}

// arrivedBy returns when packets came, by their numbers.
func arrivedBy(m *rtcp.TransportLayerCC) map[uint16]time.Duration {
	came := make(map[uint16]time.Duration)
	number, at, deltas := m.BaseSequenceNumber, time.Duration(m.ReferenceTime)*64*time.Millisecond, m.RecvDeltas
	one := func(symbol uint16) {
		if symbol != rtcp.TypeTCCPacketNotReceived && len(deltas) > 0 {
			at += time.Duration(deltas[0].Delta) * time.Microsecond
			deltas = deltas[1:]
			came[number] = at
		}
		number++
	}
	for _, c := range m.PacketChunks {
		switch c := c.(type) {
		case *rtcp.RunLengthChunk:
			for range c.RunLength {
				one(c.PacketStatusSymbol)
			}
		case *rtcp.StatusVectorChunk:
			for _, symbol := range c.SymbolList {
				one(symbol)
			}
		}
	}
	return came
}

// The transport-wide number is found among other extensions.
func TestNumber(t *testing.T) {
	t.Parallel()
	header := func(block ...byte) []byte {
		for len(block)%4 != 0 {
			block = append(block, 0)
		}
		return append([]byte{0x90, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0xbe, 0xde, 0, byte(len(block) / 4)}, block...)
	}
	for name, c := range map[string]struct {
		packet []byte
		want   uint16
		ok     bool
	}{
		"alone":         {header(3<<4|1, 0x12, 0x34), 0x1234, true},
		"behind others": {header(1<<4, 'm', 0, 2<<4|2, 1, 2, 3, 3<<4|1, 0x12, 0x34), 0x1234, true},
		"another":       {header(2<<4|1, 0x12, 0x34), 0, false},
		"no extensions": {[]byte{0x80, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3}, 0, false},
		"cut off":       {header(3<<4|1, 0x12, 0x34)[:18], 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			if n, ok := number(c.packet, 3); ok != c.ok || ok && n != c.want {
				t.Errorf("%#x, %t", n, ok)
			}
		})
	}
	if id := extensionID("a=extmap:4/recvonly urn:x\r\na=extmap:5 urn:y\r\n", "urn:y"); id != 5 {
		t.Errorf("id %d", id)
	}
}

// The delays of sound are found whatever the server adds to timestamps.
func TestDelays(t *testing.T) {
	t.Parallel()
	var d departed
	begin := time.Unix(1_800_000_000, 0)
	var all []departure
	for n := 100; n < 200; n++ {
		sent := begin.Add(time.Duration(n)*soundEvery + time.Duration(n%3)*time.Millisecond)
		d.note(n, sent)
		delay := 2 * time.Millisecond
		if n%10 == 0 {
			delay = 50 * time.Millisecond
		}
		if n >= 110 && n < 190 {
			all = append(all, departure{4_294_900_000 + uint32(n)*soundStep, sent.Add(delay).UnixNano()})
		}
	}
	for i, got := range d.delays(all) {
		if want := (110 + i) % 10; (got == 50*time.Millisecond) != (want == 0) || got != 2*time.Millisecond && want != 0 {
			t.Fatalf("packet %d: %v", 110+i, got)
		}
	}
	if len(d.delays(all)) != len(all) || d.delays(nil) != nil {
		t.Error("not the delay of each packet")
	}
}

func figureOf(t *testing.T, cell string) float64 {
	t.Helper()
	x, err := strconv.ParseFloat(cell, 64)
	if err != nil {
		t.Fatal(err)
	}
	return x
}
