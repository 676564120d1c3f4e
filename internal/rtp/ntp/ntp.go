// Package ntp converts the 64-bit timestamps of sender reports (RFC 3550
// section 4), exactly to the nanosecond.
package ntp

import "time"

// epoch is the NTP epoch, 1 January 1900, in Unix seconds.
const epoch = -2208988800

// Time returns the instant of an NTP timestamp.
func Time(ntp uint64) time.Time {
	fraction := (ntp&0xffff_ffff*1e9 + 1<<31) >> 32
	return time.Unix(int64(ntp>>32)+epoch, int64(fraction))
}

// Stamp returns the NTP timestamp of an instant.
func Stamp(t time.Time) uint64 {
	fraction := (uint64(t.Nanosecond())<<32 + 5e8) / 1e9
	return uint64(t.Unix()-epoch)<<32 + fraction
}

// Middle returns the middle 32 bits, which receiver reports carry back.
func Middle(ntp uint64) uint32 { return uint32(ntp >> 16) }
