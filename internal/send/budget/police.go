package budget

import "time"

const (
	// policedShare is how much more than its bound a sender may send for ever: what an
	// encoder strays by.
	policedShare = 1.25
	// policedFor is how long it may send more than that.
	policedFor = 10 * time.Second
)

// Police finds senders that keep sending more than they may. It is a leaky bucket: what
// exceeds 1.25 times the bound fills it, and it drains while the sender sends less. A
// sender whose bucket has not been empty for 10 s is to be stopped. So a large keyframe is
// no offence, and pauses between bursts do not hide them. The zero value is ready to use.
type Police struct {
	excess float64   // in bits
	at     time.Time // when that was so
	since  time.Time // when the excess was zero last
}

// Sent notes that the sender has sent bits, and reports whether it is to be stopped. bound
// is what it may send, in bits a second; 0: any.
func (p *Police) Sent(now time.Time, bits, bound int) (stop bool) {
	if bound <= 0 {
		*p = Police{}
		return false
	}
	if !p.at.IsZero() {
		p.excess -= policedShare * float64(bound) * now.Sub(p.at).Seconds()
	}
	if p.at.IsZero() || p.excess <= 0 {
		p.excess, p.since = 0, now
	}
	p.excess += float64(bits)
	p.at = now
	return now.Sub(p.since) >= policedFor
}
