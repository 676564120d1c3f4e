package fec_test

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"testing"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/rtp/fec"
	"github.com/deltacdn/delta/internal/rtp/fec/fectest"
)

const ssrc = 0xdecafbad

func number(packet []byte) uint16 { return binary.BigEndian.Uint16(packet[2:]) }

// packets are n of one stream that have all that headers may have, from start on.
func packets(t testing.TB, start uint16, n int) (all [][]byte) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		p := rtp.Packet{
			Header:  rtp.Header{Version: 2, SSRC: ssrc, PayloadType: 96, SequenceNumber: start + uint16(i), Timestamp: 1<<32 - 100 + 3000*uint32(i/3), Marker: i%3 == 2},
			Payload: make([]byte, 1+r.IntN(1100)),
		}
		for j := range p.Payload {
			p.Payload[j] = byte(r.Uint32())
		}
		if i%4 == 1 {
			require.NoError(t, p.SetExtension(3, []byte{1, byte(i), 3}))
		}
		if i%5 == 2 {
			p.CSRC = []uint32{7, uint32(i)}
		}
		if i%7 == 3 {
			p.Padding, p.PaddingSize = true, 5
		}
		raw, err := p.Marshal()
		require.NoError(t, err)
		all = append(all, raw)
	}
	return all
}

func source(t testing.TB, raw []byte) fec.Source {
	var h rtp.Header
	n, err := h.Unmarshal(raw)
	require.NoError(t, err)
	return fec.Source{Header: raw[:n], PayloadType: h.PayloadType, Payload: raw[n:]}
}

func keep(t testing.TB, w *fec.Window, raw ...[]byte) {
	for _, one := range raw {
		w.Keep(source(t, one))
	}
}

func add(t testing.TB, w *fec.Window, f fec.Format, payload []byte) {
	p, err := fec.Read(f, payload)
	require.NoError(t, err)
	w.Add(p)
}

// repaired takes all that was repaired.
func repaired(w *fec.Window) (all [][]byte) {
	for raw := w.Next(ssrc); raw != nil; raw = w.Next(ssrc) {
		all = append(all, append([]byte(nil), raw...))
	}
	return all
}

// Each format repairs any one packet of those that it protects, bit by bit, whether what
// is protected comes ahead of the correction or behind it, across the end of the numbers.
func TestOneOfAnyIsRepaired(t *testing.T) {
	all := packets(t, 65500, 115)
	pick := func(of ...int) (some [][]byte) {
		for _, i := range of {
			some = append(some, all[i])
		}
		return some
	}
	for name, c := range map[string]struct {
		format  fec.Format
		payload func(some ...[]byte) []byte
		some    [][]byte
	}{
		"ulp of one":            {fec.ULP, func(some ...[]byte) []byte { return fectest.ULP(-1, some...) }, pick(4)},
		"ulp, 16 bits":          {fec.ULP, func(some ...[]byte) []byte { return fectest.ULP(-1, some...) }, pick(4, 5, 9, 19)},
		"ulp, 48 bits":          {fec.ULP, func(some ...[]byte) []byte { return fectest.ULP(-1, some...) }, pick(4, 5, 20, 36, 51)},
		"draft, 15 bits":        {fec.Flex03, func(some ...[]byte) []byte { return fectest.Flex03(ssrc, some...) }, pick(30, 31, 44)},
		"draft, 46 bits":        {fec.Flex03, func(some ...[]byte) []byte { return fectest.Flex03(ssrc, some...) }, pick(30, 44, 45, 75)},
		"draft, 109 bits":       {fec.Flex03, func(some ...[]byte) []byte { return fectest.Flex03(ssrc, some...) }, pick(2, 16, 17, 47, 48, 110)},
		"RFC 8627, 15 bits":     {fec.Flex, fectest.Flex, pick(30, 31, 44)},
		"RFC 8627, 46 bits":     {fec.Flex, fectest.Flex, pick(30, 44, 45, 75)},
		"RFC 8627, 110 bits":    {fec.Flex, fectest.Flex, pick(2, 16, 17, 47, 48, 111)},
		"RFC 8627, a row":       {fec.Flex, func(some ...[]byte) []byte { return fectest.FlexFixed(5, 0, some...) }, pick(10, 11, 12, 13, 14)},
		"RFC 8627, row of two":  {fec.Flex, func(some ...[]byte) []byte { return fectest.FlexFixed(3, 1, some...) }, pick(10, 11, 12)},
		"RFC 8627, a column":    {fec.Flex, func(some ...[]byte) []byte { return fectest.FlexFixed(4, 5, some...) }, pick(10, 14, 18, 22, 26)},
		"RFC 8627, sent again":  {fec.Flex, func(some ...[]byte) []byte { return some[0] }, pick(33)},
		"RFC 8627, end of time": {fec.Flex, fectest.Flex, pick(35, 36)},
	} {
		t.Run(name, func(t *testing.T) {
			payload := c.payload(c.some...)
			for _, lost := range c.some {
				for _, first := range []bool{false, true} {
					var w fec.Window
					keep(t, &w, all[0], all[1])
					if first {
						add(t, &w, c.format, payload)
					}
					for _, one := range c.some {
						if number(one) != number(lost) {
							keep(t, &w, one)
						}
					}
					if !first {
						require.Empty(t, repaired(&w))
						add(t, &w, c.format, payload)
					}
					require.Equal(t, [][]byte{lost}, repaired(&w))
					keep(t, &w, lost) // late
					add(t, &w, c.format, payload)
					require.Empty(t, repaired(&w), "it is known by now")
				}
			}
		})
	}
}

// The known vector of RFC 5109 section 10.1: four packets A to D, of which the parity's
// fields are printed there.
func TestVectorOfRFC5109(t *testing.T) {
	make := func(seq uint16, timestamp uint32, marker bool, pt uint8, size int) []byte {
		p := rtp.Packet{Header: rtp.Header{Version: 2, SSRC: 2, PayloadType: pt, SequenceNumber: seq, Timestamp: timestamp, Marker: marker}}
		for range size {
			p.Payload = append(p.Payload, byte(seq))
		}
		raw, err := p.Marshal()
		require.NoError(t, err)
		return raw
	}
	all := [][]byte{make(8, 3, true, 11, 200), make(9, 5, false, 18, 140), make(10, 7, true, 11, 100), make(11, 9, false, 18, 340)}
	// E = 0, L = 0, P, X and CC = 0, M = 0, PT = 0; SN base 8; TS 8; length 372; protection
	// length 340; mask 1111.
	header, err := hex.DecodeString("00" + "00" + "0008" + "00000008" + "0174" + "0154" + "f000")
	require.NoError(t, err)
	payload := fectest.ULP(-1, all...)
	require.Equal(t, header, payload[:len(header)])
	for _, lost := range all {
		var w fec.Window
		for _, one := range all {
			if number(one) != number(lost) {
				keep(t, &w, one)
			}
		}
		p, err := fec.Read(fec.ULP, payload)
		require.NoError(t, err)
		w.Add(p)
		require.Equal(t, lost, w.Next(2))
	}
}

// Two that are missing of one parity wait for another parity, or for one of them to come.
func TestParitiesHelpOneAnother(t *testing.T) {
	all := packets(t, 100, 12)
	var w fec.Window
	keep(t, &w, all[0], all[3], all[4], all[6], all[7]) // 1, 2 and 5 are lost
	add(t, &w, fec.ULP, fectest.ULP(-1, all[1], all[2], all[3]))
	add(t, &w, fec.ULP, fectest.ULP(-1, all[1], all[4], all[5]))
	require.Empty(t, repaired(&w))
	add(t, &w, fec.ULP, fectest.ULP(-1, all[5], all[6], all[7]))
	require.Equal(t, [][]byte{all[1], all[2], all[5]}, repaired(&w), "in order")

	keep(t, &w, all[8])
	add(t, &w, fec.ULP, fectest.ULP(-1, all[9], all[10], all[11]))
	keep(t, &w, all[11])
	require.Empty(t, repaired(&w))
	keep(t, &w, all[10])
	require.Equal(t, [][]byte{all[9]}, repaired(&w))
}

// What is protected of a packet in part cannot be repaired, and helps where it is enough.
func TestPartialProtection(t *testing.T) {
	short := packets(t, 5, 1)[0][:12+20]
	all := append([][]byte{short}, packets(t, 6, 3)...)
	all[0][0] &^= 0x20
	payload := fectest.ULP(40, all...)
	for lost := range all {
		var w fec.Window
		for i, one := range all {
			if i != lost {
				keep(t, &w, one)
			}
		}
		add(t, &w, fec.ULP, payload)
		got := repaired(&w)
		if len(all[lost]) > 12+40 {
			require.Empty(t, got)
			continue
		}
		require.Equal(t, [][]byte{all[lost]}, got)
	}
}

// Senders fill in some header extensions behind the protection, as libwebrtc does: these
// are repaired as zeros, and harm no other.
func TestExtensionsThatAreNotProtected(t *testing.T) {
	for _, profile := range []uint16{rtp.ExtensionProfileOneByte, rtp.ExtensionProfileTwoByte} {
		var protected, sent [][]byte
		for i := range uint16(4) {
			h := rtp.Header{Version: 2, SSRC: ssrc, PayloadType: 96, SequenceNumber: i, Extension: true, ExtensionProfile: profile}
			payload := []byte{9, byte(i)}
			require.NoError(t, h.SetExtension(1, []byte{byte(i)}))
			for _, filled := range []bool{false, true} {
				n := byte(0)
				if filled {
					n = byte(i) + 5
				}
				require.NoError(t, h.SetExtension(4, []byte{n, n}))
				require.NoError(t, h.SetExtension(6, []byte{3, byte(i), n, n}))
				raw, err := (&rtp.Packet{Header: h, Payload: payload}).Marshal()
				require.NoError(t, err)
				if filled {
					sent = append(sent, raw)
				} else {
					protected = append(protected, raw)
				}
			}
		}
		var w fec.Window
		for _, raw := range sent[:3] {
			s := source(t, raw)
			s.Unprotected = []fec.Extension{{ID: 4}, {ID: 6, From: 2}}
			was := append([]byte(nil), raw...)
			w.Keep(s)
			require.Equal(t, was, raw, "a packet is not written to")
		}
		add(t, &w, fec.Flex03, fectest.Flex03(ssrc, protected...))
		require.Equal(t, [][]byte{protected[3]}, repaired(&w))
	}
}

// The SSRC that a parity is about is in the payload, where the format has it.
func TestWhatAParityIsAbout(t *testing.T) {
	all := packets(t, 10, 3)
	p, err := fec.Read(fec.Flex03, fectest.Flex03(ssrc, all...))
	require.NoError(t, err)
	require.EqualValues(t, ssrc, p.SSRC)
	require.EqualValues(t, 12, p.Last())
	p, err = fec.Read(fec.Flex, all[0])
	require.NoError(t, err)
	require.EqualValues(t, ssrc, p.SSRC)
	p, err = fec.Read(fec.Flex, fectest.Flex(all...))
	require.NoError(t, err)
	require.Zero(t, p.SSRC)
}

func TestMalformed(t *testing.T) {
	all := packets(t, 10, 60)
	good := map[string]struct {
		format  fec.Format
		payload []byte
		header  int // bytes without which nothing can be read
	}{
		"ulp":     {fec.ULP, fectest.ULP(-1, all[:20]...), 18},
		"draft":   {fec.Flex03, fectest.Flex03(ssrc, all...), 32},
		"flex":    {fec.Flex, fectest.Flex(all...), 24},
		"fixed":   {fec.Flex, fectest.FlexFixed(3, 0, all[:3]...), 12},
		"one row": {fec.Flex, fectest.FlexFixed(1, 2, all[:2]...), 12},
	}
	for name, c := range good {
		for n := range c.header {
			_, err := fec.Read(c.format, c.payload[:n])
			require.ErrorIs(t, err, fec.ErrMalformed, "%s of %d bytes", name, n)
		}
	}
	change := func(payload []byte, at int, to byte) []byte {
		payload = append([]byte(nil), payload...)
		payload[at] = to
		return payload
	}
	for name, c := range map[string]struct {
		format  fec.Format
		payload []byte
	}{
		"ulp, extended":             {fec.ULP, change(fectest.ULP(-1, all[0]), 0, 0x80)},
		"ulp, more than there is":   {fec.ULP, change(fectest.ULP(-1, all[0]), 10, 0xff)},
		"ulp, of nothing":           {fec.ULP, change(fectest.ULP(-1, all[0]), 12, 0)},
		"draft, sent again":         {fec.Flex03, change(fectest.Flex03(ssrc, all[0]), 0, 0x80)},
		"draft, two streams":        {fec.Flex03, change(fectest.Flex03(ssrc, all[0]), 8, 2)},
		"draft, mask without end":   {fec.Flex03, change(fectest.Flex03(ssrc, all...), 24, 0)},
		"both bits":                 {fec.Flex, change(fectest.Flex(all[0]), 0, 0xc0)},
		"no columns":                {fec.Flex, change(fectest.FlexFixed(3, 0, all[:3]...), 10, 0)},
		"too many columns":          {fec.Flex, change(fectest.FlexFixed(3, 0, all[:3]...), 10, 129)},
		"too many columns and rows": {fec.Flex, fectest.FlexFixed(12, 12, all[0])},
	} {
		_, err := fec.Read(c.format, c.payload)
		require.ErrorIs(t, err, fec.ErrMalformed, name)
	}
}

// A parity moves nothing outside the window: what is too old, or far ahead of what came.
func TestNothingOutsideTheWindow(t *testing.T) {
	all := packets(t, 1000, 900)
	var w fec.Window
	add(t, &w, fec.ULP, fectest.ULP(-1, all[0]))
	require.Empty(t, repaired(&w), "nothing has come")
	keep(t, &w, all[1:300]...)
	add(t, &w, fec.ULP, fectest.ULP(-1, all[0], all[1]))
	add(t, &w, fec.Flex, all[0])
	require.Empty(t, repaired(&w), "too old")
	add(t, &w, fec.Flex, all[299+111])
	require.Empty(t, repaired(&w), "too new")
	add(t, &w, fec.Flex, all[299+110])
	require.Len(t, repaired(&w), 1)
}

// A parity that waits does not outlive what it is about, and the oldest make room.
func TestWaitingIsBounded(t *testing.T) {
	all := packets(t, 0, 700)
	var w fec.Window
	keep(t, &w, all[0])
	for i := range 40 { // each needs two more
		add(t, &w, fec.ULP, fectest.ULP(-1, all[1+2*i], all[2+2*i]))
	}
	keep(t, &w, all[1])
	require.Empty(t, repaired(&w), "the first parities had to make room")
	keep(t, &w, all[79])
	require.Equal(t, [][]byte{all[80]}, repaired(&w))
	keep(t, &w, all[400:700]...)
	keep(t, &w, all[77])
	require.Empty(t, repaired(&w))
}

// A sender that begins anew with lower numbers is followed after a few packets.
func TestNewNumbering(t *testing.T) {
	var w fec.Window
	keep(t, &w, packets(t, 40000, 50)...)
	anew := packets(t, 20000, 30)
	keep(t, &w, anew[:20]...)
	keep(t, &w, anew[21:]...)
	add(t, &w, fec.ULP, fectest.ULP(-1, anew[18:24]...))
	require.Equal(t, [][]byte{anew[20]}, repaired(&w))
}

// In steady state nothing is allocated, not even by repairs.
func TestNoAllocation(t *testing.T) {
	all := packets(t, 0, 1<<14)
	sources := make([]fec.Source, len(all))
	for i, raw := range all {
		sources[i] = source(t, raw)
	}
	parities := make([][]byte, len(all)/8)
	for i := range parities {
		parities[i] = fectest.ULP(-1, all[8*i:8*i+8]...)
	}
	var w fec.Window
	i, n := 0, 0
	frame := func() {
		for j := range 8 {
			if j != i%8 {
				w.Keep(sources[8*i+j])
			}
		}
		p, err := fec.Read(fec.ULP, parities[i])
		if err != nil {
			panic(err)
		}
		w.Add(p)
		for raw := w.Next(ssrc); raw != nil; raw = w.Next(ssrc) {
			n++
		}
		i = (i + 1) % len(parities)
	}
	for range 500 {
		frame()
	}
	require.Less(t, testing.AllocsPerRun(1000, frame), 0.5)
	require.Equal(t, 1501, n)
}

// FuzzWindow has hostile parities do their worst: nothing panics, what is repaired is no
// larger than a packet and numbered near those that came, and a packet that came is never
// another.
func FuzzWindow(f *testing.F) {
	all := packets(f, 65530, 60)
	for format, payload := range map[fec.Format][]byte{fec.ULP: fectest.ULP(-1, all[3:20]...), fec.Flex03: fectest.Flex03(ssrc, all[3:20]...), fec.Flex: fectest.Flex(all[3:60]...)} {
		f.Add(uint8(format), payload, uint64(1<<12))
	}
	f.Add(uint8(fec.Flex), fectest.FlexFixed(5, 4, all[3], all[8], all[13], all[18]), uint64(1<<13))
	f.Add(uint8(fec.Flex), all[9], uint64(1<<9))
	f.Fuzz(func(t *testing.T, format uint8, payload []byte, lost uint64) {
		var w fec.Window
		came := map[uint16]bool{}
		for i, raw := range all {
			if lost&(1<<i) == 0 {
				came[number(raw)] = true
				keep(t, &w, raw)
			}
			if p, err := fec.Read(fec.Format(format%4), payload); err == nil && i%8 == 7 {
				w.Add(p)
			}
			for raw := w.Next(ssrc); raw != nil; raw = w.Next(ssrc) {
				require.LessOrEqual(t, len(raw), 12+1600)
				require.GreaterOrEqual(t, len(raw), 12)
				require.EqualValues(t, ssrc, binary.BigEndian.Uint32(raw[8:]))
				require.False(t, came[number(raw)])
				require.Less(t, int16(number(raw)-number(all[0])), int16(60+110*8))
				require.Greater(t, int16(number(raw)-number(all[0])), int16(-256))
				came[number(raw)] = true
			}
		}
	})
}
