package cdn

import "time"

// An Uplink is what a node sees of the path from a publisher to it, over the last second.
type Uplink struct {
	// Narrow: the path does not carry what the publisher has to send. Many packets are
	// lost, a queue stands in it, or the publisher leaves out layers.
	Narrow bool
	// Since is when it became narrow, or had recovered. It is zero if it never was narrow.
	Since time.Time
	// Bitrate is what comes, in bits of RTP payload a second, all tracks together, and
	// Before what came ahead of the trouble; 0: that is not known, or there is none.
	Bitrate, Before float64
	// Loss is the part of the publisher's packets that is lost on the way, 0 to 1.
	// Repairs do not count.
	Loss float64
	// Queue is how long packets wait on the way, as long as the quickest of the last
	// second have waited.
	Queue time.Duration
	// Layers names the layers that come, and Missing those that have come and do not any
	// more, though lower ones of their track do and the publisher has not said that it has
	// ended them. After a pause of the whole track a layer has to come anew to be missed.
	// Tracks without simulcast are in neither.
	Layers, Missing []string
}

// SetUplink sets what is seen of the publisher's path, for [StreamStats].
func (in *Input) SetUplink(u Uplink) { in.uplink.Store(&u) }
