package bwe

import (
	"math"
	"time"
)

// Viewers ask for a packet again within a round trip of its loss, while reports come once a
// second.
const (
	askSpan   = 300 * time.Millisecond
	leastAsks = 10      // in a span
	mostAsked = 1 << 15 // are counted
	leastPart = 0.3     // of a span that tells of the loss
	// lastingSpans are enough: until the next one has passed, it is as congested as they.
	lastingSpans = 2
	// askedLoss is the loss, above what the path always seems to have by its requests, that is
	// congestion if it lasts.
	askedLoss      = 0.25
	askedLossFirst = 0.4  // until a report has taught what the path has
	mostTold       = 0.92 // as nobody asks for a packet more than ten times, more is no loss
	leastUsual     = 0.001
	usualFalls     = 0.1 // from one report to the next
)

// asks follows how many packets are asked for again. Its numbers wrap, but for pace and asked.
type asks struct {
	begun uint32  // when the present span began, in milliseconds
	usual float32 // the loss that requests of a span tell of at most while nothing is congested; 0: unknown
	loss  float32 // that they told of in the last span
	sent  uint16  // packets, until the present span
	asked uint16  // packets, in it
	pace  uint16  // packets sent in a span, by the last round of reports; 0: unknown
	high  uint8   // spans in a row, the last one too, in which the loss was too high
	most  uint8   // the highest loss since the last report, of 255
}

// add counts packets that were asked for, at a time until which sent were sent. It reports
// whether too much is sent.
func (a *asks) add(at time.Duration, packets int, sent uint16) bool {
	if past := a.past(at); past >= askSpan {
		if past < 2*askSpan && a.exceeds(sent) {
			a.high = min(a.high+1, lastingSpans)
		} else {
			a.high = 0
		}
		a.loss = a.told(sent)
		a.most = max(a.most, uint8(255*a.loss))
		a.begun, a.sent, a.asked = uint32(at/time.Millisecond), sent, 0
	}
	a.asked = uint16(min(int(a.asked)+packets, mostAsked))
	return a.congested(at, sent)
}

// past returns how long the present span has lasted.
func (a *asks) past(at time.Duration) time.Duration {
	return time.Duration(uint32(at/time.Millisecond)-a.begun) * time.Millisecond
}

// congested reports whether so much has been asked for, for so long, that too much is sent.
func (a *asks) congested(at time.Duration, sent uint16) bool {
	past := a.past(at)
	return a.high == lastingSpans && past < askSpan || a.high > 0 && past < 2*askSpan && a.exceeds(sent)
}

// exceeds reports whether the present span tells of more loss than the path has.
func (a *asks) exceeds(sent uint16) bool {
	most := float32(askedLossFirst)
	if a.usual > 0 {
		most = a.usual + askedLoss
	}
	loss := a.told(sent)
	return a.asked >= leastAsks && loss > most && loss < mostTold
}

// told returns the loss at which as many packets are asked for as in the present span:
// repairs get lost as well, and are asked for again.
func (a *asks) told(sent uint16) float32 {
	return part(float32(a.asked), float32(max(a.pace, sent-a.sent)))
}

// part returns which part asked are of all that was sent, if others arrived.
func part(asked, others float32) float32 {
	if others <= 0 {
		return 0
	}
	return asked / (asked + others)
}

// lost returns the loss that the requests of late tell of, beyond what they always do.
func (a *asks) lost(at time.Duration) float64 {
	loss := a.loss
	if past := float32(a.past(at)) / float32(askSpan); past >= leastPart {
		loss = max(loss, part(float32(a.asked), float32(a.pace)*min(past, 1)))
	}
	return float64(max(0, loss-a.usual))
}

// learn takes how many packets were sent in the time between two reports. normal says that the
// reports told of no congestion. Requests come in bursts, so what there was at most counts.
func (a *asks) learn(past time.Duration, sent uint32, normal bool) {
	most := max(float32(a.most)/255, leastUsual)
	a.most = 0
	if past < askSpan || past > longestReport {
		return
	}
	a.pace = uint16(min(float64(sent)*float64(askSpan)/float64(past), math.MaxUint16))
	if normal && sent >= leastPackets {
		a.usual = max(most, a.usual-usualFalls*(a.usual-most))
	}
}
