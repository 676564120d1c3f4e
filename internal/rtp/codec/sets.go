package codec

import (
	"encoding/binary"
	"strings"
)

// ParameterSets returns a payload with nothing in it but the parameter sets of
// one that [Info.Parameters] says has some: the payload itself if there is
// nothing else. It is nil if they are not whole.
func ParameterSets(mime string, payload []byte, info Info) []byte {
	switch {
	case info.Parameters == 0:
		return nil
	case !info.Mixed:
		return payload
	}
	switch strings.ToLower(mime) {
	case "video/h264":
		if payload[0]&0x1f == h264STAPA {
			return onlySets(payload, 1, h264Unit)
		}
	case "video/h265":
		if payload[0]>>1&0x3f == h265AP {
			return onlySets(payload, 2, h265Unit)
		}
	case "video/av1":
		return sequenceHeader(payload)
	}
	return nil
}

// onlySets copies the header of an aggregation packet and its parameter sets.
func onlySets(p []byte, header int, look func(nal []byte) Info) []byte {
	out := append([]byte(nil), p[:header]...)
	for p = p[header:]; len(p) > 2; {
		n := 2 + int(binary.BigEndian.Uint16(p))
		if n > len(p) {
			return nil
		}
		if look(p[2:n]).Parameters != 0 {
			out = append(out, p[:n]...)
		}
		p = p[n:]
	}
	return out
}

// sequenceHeader makes a packet of a whole sequence header OBU.
func sequenceHeader(p []byte) []byte {
	elements := obuElements{rest: p[1:], count: int(p[0] >> 4 & 3)}
	for {
		obu, ok := elements.next()
		if !ok {
			return nil
		}
		last := len(elements.rest) == 0 || elements.read == elements.count
		if kind, _ := readOBU(obu); kind == obuSequenceHeader && (!last || p[0]&0x40 == 0) {
			return append([]byte{0x10}, obu...) // W=1
		}
	}
}
