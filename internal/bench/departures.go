package main

import (
	"slices"
	"sync"
	"time"
)

// A departure is a packet of sound that has left the server for a viewer.
type departure struct {
	ts uint32 // of RTP
	at int64  // when it left: when the system took it, over loopback; in Unix nanoseconds
}

// departed are the times at which a publisher sent packets of sound, in Unix nanoseconds; 0:
// it did not, since it was paused.
type departed struct {
	mu sync.Mutex
	at []int64
}

func (d *departed) note(n int, at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(d.at) < n {
		d.at = append(d.at, 0)
	}
	d.at = append(d.at, at.UnixNano())
}

// delays returns how long after the publisher had sent them packets left for one viewer. The
// timestamps are the server's, which differ from the publisher's by a number that is unknown
// here. It is the least by which no packet left before it was sent. Nil: none fits.
func (d *departed) delays(all []departure) []time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(all) == 0 {
		return nil
	}
	last := len(d.at) - 1
	for last >= 0 && d.at[last] > all[0].at {
		last--
	}
	delays := make([]time.Duration, len(all))
	for first := last; first > last-mostUnsent && first >= 0; first-- {
		if d.from(first, all, delays) {
			return delays
		}
	}
	return nil
}

// mostUnsent bounds how many packets of sound a server may be behind, which is 10 s.
const mostUnsent = 500

// from sets delays to those of all if the first of these was the publisher's packet n. It
// returns false if it was not.
func (d *departed) from(n int, all []departure, delays []time.Duration) bool {
	for k, one := range all {
		i := n + int(int32(one.ts-all[0].ts))/soundStep
		if i < 0 || i >= len(d.at) || d.at[i] == 0 || one.at < d.at[i] {
			return false
		}
		delays[k] = time.Duration(one.at - d.at[i])
	}
	return true
}

// forgetSound has jitter be about what comes from now on.
func (all viewers) forgetSound() {
	for _, v := range all {
		v.reception.left()
	}
}

// jitter returns by how much later than usual packets of sound left: of all packets that
// came since forgetSound, the 99th percentile of what their delay from the
// publisher exceeds the median delay to the same viewer by.
func (all viewers) jitter(pubs publishers) time.Duration {
	var late []time.Duration
	for i, v := range all {
		delays := pubs[i%len(pubs)].sounds.delays(v.reception.left())
		if len(delays) == 0 {
			continue
		}
		usual := quantile(slices.Sorted(slices.Values(delays)), 50)
		for _, delay := range delays {
			late = append(late, delay-usual)
		}
	}
	if len(late) == 0 {
		return 0
	}
	slices.Sort(late)
	return quantile(late, 99)
}
