package uplink

import "time"

const (
	// The quickest packet of the last minute or half has met no queue: clocks run apart
	// by some milliseconds in that time.
	baseFor = 30 * time.Second
	// A jump of the sender's timestamps against arrivals is a new clock.
	newClock = 5 * time.Second
	// The quickest of fewer packets than leastPackets says nothing.
	leastPackets = 5
)

// A Delay measures how long the packets of one SSRC are on their way, as far as that
// varies: the time from what their RTP timestamps say until they arrive. The zero value
// is ready to use. It is not safe for concurrent use.
type Delay struct {
	begun     time.Time
	timestamp uint32        // of the last packet
	clock     time.Duration // that of the sender, by its timestamps, since begun
	base      [2]time.Duration
	turned    time.Duration // when the base of the last span became that of the one before
	least     time.Duration // since the last look
	packets   int           // since the last look
}

// Packet takes a packet. rate is that of the RTP clock, in ticks a second.
func (d *Delay) Packet(arrived time.Time, timestamp, rate uint32) {
	if rate == 0 {
		return
	}
	if d.begun.IsZero() {
		d.begin(arrived, timestamp)
	}
	d.clock += time.Duration(int32(timestamp-d.timestamp)) * time.Second / time.Duration(rate)
	d.timestamp = timestamp
	at := arrived.Sub(d.begun)
	delay := at - d.clock
	if (delay - d.base[0]).Abs() > newClock {
		d.begin(arrived, timestamp)
		delay, at = 0, 0
	}
	if at-d.turned >= baseFor {
		d.base[1], d.base[0], d.turned = d.base[0], delay, at
	}
	d.base[0] = min(d.base[0], delay)
	if d.packets == 0 || delay < d.least {
		d.least = delay
	}
	d.packets++
}

func (d *Delay) begin(arrived time.Time, timestamp uint32) {
	*d = Delay{begun: arrived, timestamp: timestamp}
}

// Queue returns how much longer the quickest packet since the last call took than the
// quickest of the last half minute or minute; negative: too few came.
func (d *Delay) Queue() time.Duration {
	least, n := d.least, d.packets
	d.packets = 0
	if n < leastPackets {
		return -1
	}
	return least - min(d.base[0], d.base[1])
}
