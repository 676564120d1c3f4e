package control

import "time"

// Datagram returns the next datagram to be sent now, nil if there is none. It is
// good until the next call.
func (c *Conn) Datagram() []byte {
	b := append(c.buf[:0], format)
	switch {
	case c.closed && c.byes > 0:
		c.byes--
		b = appendFrame(b, frameClose, c.bye)
	case !c.closed:
		c.sayCalls()
		b = c.parts(c.probes(c.acks(b)))
	}
	c.buf = b
	if len(b) == 1 {
		return nil
	}
	return b
}

// acks are at the head of the next datagram, whatever else there is to say.
func (c *Conn) acks(b []byte) []byte {
	if c.in.ack {
		b = appendFrame(b, frameAck, c.in.seen.marshal())
		c.in.ack = false
	}
	return b
}

func (c *Conn) probes(b []byte) []byte {
	for _, id := range c.probe.pongs {
		b = appendFrame(b, framePong, ping{id: id}.marshal())
	}
	c.probe.pongs = c.probe.pongs[:0]
	if c.probe.pending {
		b = appendFrame(b, framePing, c.probe.ask(c.now).marshal())
	}
	return b
}

// parts fills a datagram with what is due.
func (c *Conn) parts(b []byte) []byte {
	sent, hello := false, false
	for o := c.out.take(c.now, maxDatagram-len(b)); o != nil; o = c.out.take(c.now, maxDatagram-len(b)) {
		b = appendFrame(b, framePart, o.marshal())
		sent, hello = true, hello || o.seq == 0
	}
	if sent && !hello {
		if o := c.out.opening(maxDatagram - len(b)); o != nil {
			b = appendFrame(b, framePart, o.marshal())
		}
	}
	return b
}

// Stats is a snapshot.
type Stats struct {
	RTT    time.Duration // 0 before it is known
	Loss   float64       // share of probes that were not answered, of late
	Load   float64       // the other side's, as it said last, 0 to 1
	Sent   uint64        // parts of messages
	Resent uint64        // how often one of them was sent again
}

// Stats returns a snapshot.
func (c *Conn) Stats() Stats {
	s := Stats{Loss: c.probe.loss, Load: c.probe.theirs, Sent: c.out.next, Resent: c.out.resent}
	if c.out.rtt.known {
		s.RTT = c.out.rtt.smooth
	}
	return s
}

// RTT returns the smoothed round trip, and before one was measured what
// [Config].RTT says.
func (c *Conn) RTT() time.Duration { return c.out.rtt.smooth }
