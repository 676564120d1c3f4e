// Package fectest makes packets of forward error correction for tests. It follows the words of
// the RFCs bit by bit, and shares nothing with package fec, which it tests. Packets are RTP
// packets as they are protected, in the order of their numbers.
package fectest

import (
	"encoding/binary"
	"slices"
)

// protect returns the recovery fields of packets: the flags and the payload type with the
// marker, the size of what follows the 12 bytes, the timestamp, and all that follows.
func protect(packets [][]byte) (first [2]byte, size [2]byte, timestamp [4]byte, body []byte) {
	var length uint16
	for _, p := range packets {
		first[0] ^= p[0] & 0x3f
		first[1] ^= p[1]
		length ^= uint16(len(p) - 12)
		for i := range 4 {
			timestamp[i] ^= p[4+i]
		}
		for i, b := range p[12:] {
			if i == len(body) {
				body = append(body, 0)
			}
			body[i] ^= b
		}
	}
	binary.BigEndian.PutUint16(size[:], length)
	return first, size, timestamp, body
}

func number(packet []byte) uint16 { return binary.BigEndian.Uint16(packet[2:]) }

// bitmask has the bits of the packets' distances from base in the first n bits, the most
// significant one first.
func bitmask(packets [][]byte, base uint16, n int) []byte {
	m := make([]byte, (n+7)/8)
	for _, p := range packets {
		d := int(number(p) - base)
		m[d/8] |= 1 << (7 - d%8)
	}
	return m
}

// ULP is a payload of RFC 5109 with level 0 alone, which protects so many bytes of what
// follows the header, or all if that is negative.
func ULP(protected int, packets ...[]byte) []byte {
	base := number(packets[0])
	first, size, timestamp, body := protect(packets)
	if protected >= 0 {
		body = body[:protected]
	}
	bits := 16
	if number(packets[len(packets)-1])-base >= 16 {
		first[0] |= 0x40
		bits = 48
	}
	out := append(slices.Clone(first[:]), byte(base>>8), byte(base))
	out = append(append(out, timestamp[:]...), size[:]...)
	out = binary.BigEndian.AppendUint16(out, uint16(len(body)))
	return append(append(out, bitmask(packets, base, bits)...), body...)
}

// flexMask is a mask in which each part begins with a bit: last in the last part, and its
// opposite in those ahead of it. The third part of RFC 8627 has none.
func flexMask(packets [][]byte, base uint16, last byte, thirdHas bool) []byte {
	all := make([]byte, 0, 110)
	for _, b := range bitmask(packets, base, 112) {
		for i := range 8 {
			all = append(all, b>>(7-i)&1)
		}
	}
	d := int(number(packets[len(packets)-1]) - base)
	parts := [][]byte{all[:15], all[15:46], all[46:110]}
	flags := []bool{true, true, thirdHas}
	if thirdHas {
		parts[2] = all[46:109]
	}
	n := 1
	if d >= 15 {
		n = 2
	}
	if d >= 46 {
		n = 3
	}
	var stream []byte
	for i := range n {
		if flags[i] {
			if i == n-1 {
				stream = append(stream, last)
			} else {
				stream = append(stream, 1-last)
			}
		}
		stream = append(stream, parts[i]...)
	}
	var out []byte
	for eight := range slices.Chunk(stream, 8) {
		b := byte(0)
		for i, bit := range eight {
			b |= bit << (7 - i)
		}
		out = append(out, b)
	}
	return out
}

// Flex is a payload of RFC 8627 with a flexible mask.
func Flex(packets ...[]byte) []byte {
	base := number(packets[0])
	first, size, timestamp, body := protect(packets)
	out := append(append(append(slices.Clone(first[:]), size[:]...), timestamp[:]...), byte(base>>8), byte(base))
	return append(append(out, flexMask(packets, base, 0, false)...), body...)
}

// FlexFixed is one with a fixed mask of columns and rows.
func FlexFixed(columns, rows byte, packets ...[]byte) []byte {
	base := number(packets[0])
	first, size, timestamp, body := protect(packets)
	first[0] |= 0x40
	out := append(append(append(slices.Clone(first[:]), size[:]...), timestamp[:]...), byte(base>>8), byte(base))
	return append(append(out, columns, rows), body...)
}

// Flex03 is a payload of the draft with a flexible mask.
func Flex03(ssrc uint32, packets ...[]byte) []byte {
	base := number(packets[0])
	first, size, timestamp, body := protect(packets)
	out := append(append(append(slices.Clone(first[:]), size[:]...), timestamp[:]...), 1, 0, 0, 0)
	out = append(binary.BigEndian.AppendUint32(out, ssrc), byte(base>>8), byte(base))
	return append(append(out, flexMask(packets, base, 1, true)...), body...)
}
