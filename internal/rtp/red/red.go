// Package red reads RTP payloads with redundant audio (RFC 2198).
package red

import "errors"

// A Block is the payload of one packet, which travels in another one.
type Block struct {
	PayloadType uint8
	Offset      uint32 // by how many ticks of the RTP clock it is older than the packet
	Data        []byte // of the payload that was read
}

// ErrMalformed says that a payload is not as RFC 2198 wants it.
var ErrMalformed = errors.New("red: malformed payload")

// maxBlocks bounds the blocks of a payload. Browsers send one or two beside the primary.
const maxBlocks = 16

// Split appends the blocks of a payload to dst, the oldest first. The last one is the
// primary encoding, whose Offset is 0: the packet's own. It does not copy.
func Split(dst []Block, payload []byte) ([]Block, error) {
	const last, long = 1, 4 // bytes of a block's header
	first := len(dst)
	var sizes [maxBlocks]int
	rest := payload
	for n := 0; ; n++ {
		switch {
		case len(rest) >= last && rest[0]&0x80 == 0:
			dst = append(dst, Block{PayloadType: rest[0]})
			return cut(dst, first, sizes[:n], rest[last:])
		case len(rest) < long || n == maxBlocks:
			return dst[:first], ErrMalformed
		}
		dst = append(dst, Block{PayloadType: rest[0] & 0x7f, Offset: uint32(rest[1])<<6 | uint32(rest[2])>>2})
		sizes[n] = int(rest[2]&3)<<8 | int(rest[3])
		rest = rest[long:]
	}
}

// cut gives each block its data. The primary's size is what is left.
func cut(dst []Block, first int, sizes []int, data []byte) ([]Block, error) {
	for i, size := range sizes {
		if size > len(data) {
			return dst[:first], ErrMalformed
		}
		dst[first+i].Data, data = data[:size:size], data[size:]
	}
	dst[len(dst)-1].Data = data
	return dst, nil
}
