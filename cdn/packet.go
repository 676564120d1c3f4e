package cdn

import "github.com/deltacdn/delta/internal/ring"

// A Packet is one RTP packet of a layer as a node stores it, once for all its
// readers: nobody may write to it, and a reader must not keep it beyond the
// loop body that got it. Sequence numbers and timestamps are 64 bits long and
// run on without gaps through every change of input; SSRC, payload type and
// extension ids are each receiver's own, so they are not here. Extensions is
// a run of (id, length, data…), with ids as in [TrackInfo].Extensions.
type Packet = ring.Packet

// A Cursor is one reader's place in a [Layer], owned by one goroutine at a
// time. Next returns the next packet in order of arrival or nil, and neither
// blocks nor allocates; a reader that falls behind the ring goes on at its
// oldest packet, and Lost counts what it missed.
type Cursor = ring.Cursor
