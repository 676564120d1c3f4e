package ring

// A Cursor is one reader's place in a [Ring]. It is a small value, owned by
// one goroutine at a time. The zero Cursor reads nothing.
type Cursor struct {
	ring *Ring
	next uint64
	lost uint64
}

// Next returns the next packet in order of arrival, or nil if there is none
// now. It neither blocks nor allocates. A cursor that the log has lapped goes
// on from the oldest packet there is; [Cursor.Lost] counts what it missed.
func (c *Cursor) Next() *Packet {
	if c.ring == nil {
		return nil
	}
	for c.next < c.ring.head.Load() {
		if p := c.ring.log[c.next&c.ring.mask].Load(); p != nil && p.Index == c.next {
			c.next++
			return p
		}
		if tail := c.ring.tail.Load(); tail > c.next {
			c.lost += tail - c.next
			c.next = tail
		}
	}
	return nil
}

// Behind returns how many packets lie before the cursor.
func (c *Cursor) Behind() uint64 {
	if c.ring == nil {
		return 0
	}
	return c.ring.head.Load() - c.next
}

// Lost returns how many packets were gone before the cursor came to them.
func (c *Cursor) Lost() uint64 { return c.lost }
