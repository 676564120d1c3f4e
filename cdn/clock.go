package cdn

import "time"

// A Clock is a point on the line that maps a layer's RTP timestamps to the
// publisher's wall clock, as its sender reports give it (RFC 3550 section
// 6.4.1). It travels through the CDN unchanged, so that audio and video stay
// in sync however many nodes they pass.
type Clock struct {
	NTP time.Time // publisher's wall clock
	RTP uint64    // the layer's extended timestamp at that instant
	// Received is when this node learned of it, by its own clock.
	Received time.Time
	Rate     uint32 // RTP timestamp units a second
	// Estimated: no sender report has come yet, NTP is this node's clock.
	Estimated bool
}

// At returns the point of the line that a sender report sent at now should
// carry. It moves by whole timestamp units, so nothing is lost to rounding
// from node to node.
func (c Clock) At(now time.Time) (ntp time.Time, rtp uint64) {
	ticks := int64(float64(now.Sub(c.Received)) * float64(c.Rate) / float64(time.Second))
	return c.NTP.Add(c.duration(ticks)), c.RTP + uint64(ticks)
}

// Time returns the publisher's wall clock at extended timestamp rtp.
func (c Clock) Time(rtp uint64) time.Time {
	return c.NTP.Add(c.duration(int64(rtp - c.RTP)))
}

func (c Clock) duration(ticks int64) time.Duration {
	rate := int64(c.Rate)
	return time.Duration(ticks/rate)*time.Second + time.Duration(ticks%rate*int64(time.Second)/rate)
}
