package cdntest

import "time"

// A Path says what becomes of packets on their way. The zero value is perfect:
// they arrive at the instant they were sent.
//
// A packet may be lost (Loss), then waits for those ahead of it and is put on the
// wire (Rate, Queue, QueueBytes, TCP), and then travels (Delay, Jitter, Reorder).
type Path struct {
	// Delay is how long each packet travels, one way.
	Delay time.Duration
	// Jitter is the most that is added to Delay, at random and evenly.
	Jitter time.Duration
	// JitterPeriod says how the jitter of neighboring packets is related. If
	// zero, it is not: each packet draws its own, and with more Jitter than the
	// time between two packets they overtake one another. Otherwise a value is
	// drawn every JitterPeriod, the jitter moves from one value to the next in a
	// straight line, and packets keep their order.
	JitterPeriod time.Duration
	// Loss is the probability with which a packet is lost, 0 to 1.
	Loss float64
	// Reorder is the probability with which a packet travels for ReorderBy
	// longer than the others, which overtake it, 0 to 1.
	Reorder float64
	// ReorderBy is how much longer that is. If zero, 20 ms.
	ReorderBy time.Duration
	// Rate is what the path carries, in bits a second with IP and UDP headers.
	// If zero, there is no limit.
	Rate int
	// Queue is the longest that a packet waits for those ahead of it where Rate
	// limits; one that would wait longer is dropped. If zero, 200 ms.
	Queue time.Duration
	// QueueBytes is the most that waits there, in bytes with IP and UDP headers;
	// a packet that finds no room is dropped. If zero, only Queue limits.
	QueueBytes int
	// TCP is the number of TCP-like flows that share Rate and the queue with the
	// packets of this direction. They behave as Reno does, their segments have
	// 1,500 bytes, and they have a round trip of twice Delay and what they wait.
	// Without a Rate there are none.
	TCP int
	// TCPBytes is what each flow transfers until it pauses. If zero, its
	// transfer does not end.
	TCPBytes int
	// TCPPause is how long a flow pauses between two transfers, on average.
	TCPPause time.Duration
}
