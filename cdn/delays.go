package cdn

import "time"

// Latency returns the time that media takes from the origin to this node, and false if
// that is not known. It is 0 at the origin.
func (c InputConfig) Latency() (sum time.Duration, ok bool) {
	for _, d := range c.Delays {
		sum += d
	}
	return sum, len(c.Delays) == len(c.Path)
}
