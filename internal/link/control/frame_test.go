package control

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// state is all that a datagram may change.
func (c *Conn) state() string {
	return fmt.Sprintf("%+v %+v %+v %+v %v %v %v %+v", c.in, c.out, c.probe, c.serves, c.now, c.closed, c.held, c.events)
}

// A datagram that is cut off or spoilt changes nothing, whatever is good in it.
func TestMalformedChangesNothing(t *testing.T) {
	s := pair(t)
	s.end[0].Subscribe(s.now, Subscribe{Stream: "live"})
	s.end[0].probe.pending, s.end[0].in.ack = true, true
	good := all(s.end[0])[0]
	b := s.end[1]
	before := b.state()
	now := s.now.Add(time.Millisecond)
	whole := map[int]bool{1: true} // where a frame ends
	for n, rest := 1, good[1:]; len(rest) > 0; {
		_, _, after, err := cutFrame(rest)
		require.NoError(t, err)
		n += len(rest) - len(after)
		whole[n], rest = true, after
	}
	for n := range good {
		if !whole[n] {
			require.ErrorIs(t, b.Receive(now, good[:n]), errFrame, n)
		}
	}
	for name, bad := range map[string][]byte{
		"other framing":    append([]byte{format + 1}, good[1:]...),
		"no part":          appendFrame(good, framePart, []byte{1, 0}),
		"part of none":     appendFrame(good, framePart, part{seq: 9}.marshal()),
		"part behind last": appendFrame(good, framePart, part{seq: 9, index: 2, count: 2}.marshal()),
		"part of too many": appendFrame(good, framePart, part{seq: 9, count: maxParts + 1}.marshal()),
		"part before none": appendFrame(good, framePart, part{seq: 0, index: 1, count: 2}.marshal()),
		"part too long":    appendFrame(good, framePart, part{seq: 9, count: 1, data: make([]byte, 2*maxDatagram)}.marshal()),
		"no set":           appendFrame(good, frameAck, nil),
		"odd set":          appendFrame(good, frameAck, []byte{1, 2, 3}),
		"long set":         appendFrame(good, frameAck, make([]byte, 1+window/8+8)),
		"no ping":          appendFrame(good, framePing, nil),
		"no load":          appendFrame(good, framePing, []byte{1, 0x80}),
		"no pong":          appendFrame(good, framePong, []byte{0xff}),
	} {
		require.ErrorIs(t, b.Receive(now, bad), errFrame, name)
	}
	require.Equal(t, before, b.state())
	require.NoError(t, b.Receive(now, good))
	require.NotEqual(t, before, b.state())
}

// A message that cannot be read does not take the others of its datagram along.
func TestUnreadableIsPassedOver(t *testing.T) {
	s := pair(t)
	d := []byte{format}
	for i, m := range []string{"", "\x02", "\x02\x00\x00{", "\x03\x00\x00[", "\x01\x00\x00[", "\x05\x00\x00[", "\x06\x00\x00["} {
		d = appendFrame(d, framePart, part{seq: uint64(i) + 1, count: 1, data: []byte(m)}.marshal())
	}
	d = appendFrame(d, framePart, part{seq: 8, count: 1, data: []byte("\x02\x01\x00{}")}.marshal())
	require.ErrorIs(t, s.end[1].Receive(s.now, d), errMessage)
	require.Equal(t, []Event{Asked{ID: 1}}, events(s.end[1]))
	require.Equal(t, set{next: 9}, s.end[1].in.seen)
}

// A set is as a map is, within the window.
func TestSet(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	var s set
	seen := map[uint64]bool{}
	for range 200000 {
		n := s.next + rng.Uint64N(window+100)
		if rng.IntN(3) == 0 && n >= 50 {
			n -= 50
		}
		if rng.IntN(4) == 0 {
			n = s.next
		}
		fresh := !seen[n] && n < s.next+window
		if s.add(n) != fresh {
			require.Fail(t, "added", "%d: fresh: %v", n, fresh)
		}
		if fresh {
			seen[n] = true
		}
		if s.has(s.next) || s.next != 0 && !s.has(s.next-1) || s.has(s.next+window+n) {
			require.Fail(t, "wrong bounds", "next %d, after %d", s.next, n)
		}
	}
	for n := range s.next + window {
		if s.has(n) != seen[n] {
			require.Equal(t, seen[n], s.has(n), n)
		}
	}
	same, err := parseSet(s.marshal())
	require.NoError(t, err)
	require.Equal(t, s, same)
}
