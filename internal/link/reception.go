package link

import (
	"sync"
	"time"

	"github.com/pion/rtcp"

	"github.com/deltacdn/delta/internal/seqnum"
)

// reception is what a receiver report says of one source (RFC 3550 section
// 6.4.1 and appendix A.3). Jitter is not measured: nobody asks for it.
type reception struct {
	mu       sync.Mutex
	seq      seqnum.Seq
	begun    bool
	first    uint64
	count    uint64
	expected uint64 // when last reported
	counted  uint64 // likewise
	stamp    uint32 // of the last sender report
	stamped  time.Time
}

func (r *reception) received(seq uint16) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.seq.Unwrap(seq)
	if !r.begun {
		r.begun, r.first = true, n
	}
	r.count++
}

func (r *reception) reported(now time.Time, stamp uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stamp, r.stamped = stamp, now
}

// block returns what is to be reported, and false if nothing has come.
func (r *reception) block(now time.Time) (b rtcp.ReceptionReport, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.begun {
		return b, false
	}
	highest := r.seq.Highest()
	expected := highest - r.first + 1
	since, got := expected-r.expected, r.count-r.counted
	r.expected, r.counted = expected, r.count
	b.LastSequenceNumber = uint32(highest)
	if lost := int64(expected) - int64(r.count); lost > 0 {
		b.TotalLost = uint32(min(lost, 1<<23-1))
	}
	if since > got {
		b.FractionLost = uint8(min((since-got)*256/since, 255))
	}
	if !r.stamped.IsZero() {
		b.LastSenderReport = r.stamp
		b.Delay = uint32(now.Sub(r.stamped) * 65536 / time.Second)
	}
	return b, true
}
