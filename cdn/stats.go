package cdn

import (
	"math"
	"time"
)

// NodeStats is a snapshot of a node.
type NodeStats struct {
	Node     NodeID
	Addr     string // of its UDP port
	Started  time.Time
	Sessions int // let in now
	Egress   EgressStats
	TCP      TCPStats
	// Unclaimed counts datagrams of DTLS and media that came to the UDP port from addresses
	// that no session has: of clients that are gone, or changed their address without
	// proving the new one, and of strangers. All that PeerConnections get is counted, too.
	Unclaimed uint64
	Totals    Totals
	Streams   []StreamStats
}

// EgressStats is a snapshot of what went out of a node's UDP port in batches,
// which is the media for viewers and, on links, for other nodes, and what they are
// answered. The counters never fall.
type EgressStats struct {
	// Mode is how it goes out: "segments" (UDP_SEGMENT and sendmmsg),
	// "messages" (sendmmsg) or "single" (a call for each datagram).
	Mode      string
	Datagrams uint64
	Messages  uint64 // kernel messages that carried them
	Calls     uint64 // system calls that it took
	Full      uint64 // datagrams for which the socket's buffer had no room
	Dropped   uint64 // datagrams that the system did not take for other reasons
}

// TCPStats is a snapshot of a node's port for clients without UDP. All of it is zero
// where there is none. The counters never fall.
type TCPStats struct {
	Addr     string // of the port
	Clients  int    // connections of sessions
	HalfOpen int    // connections whose client has not yet shown whose session it is of
	Waiting  int    // bytes that wait for clients

	Accepted uint64 // connections
	Refused  uint64 // of them, closed: no session wanted what came first, or nothing came in time, or there were too many
	Stalled  uint64 // of them, closed: the client took nothing for 10 s
	Full     uint64 // packets dropped: 256 KiB waited for the client
	Late     uint64 // packets dropped: they had waited for a second
}

// StreamStats is a snapshot of a stream.
type StreamStats struct {
	Stream      StreamID
	Started     time.Time
	Publication string
	Epoch       uint64
	Path        []NodeID // nodes that it comes through, the origin first
	// Delays are how long media takes over each hop: from each node of Path to the next,
	// and from the last to this one. Nil: not known.
	Delays []time.Duration
	Live   bool // an input feeds it, and its tracks are known
	// Uplink is what is seen of the publisher's path to this node. Nil: it is published
	// elsewhere, or nothing is known yet.
	Uplink *Uplink
	Tracks []TrackStats
}

// TrackStats is a snapshot of a track.
type TrackStats struct {
	Info   TrackInfo
	Layers []LayerStats
}

// LayerStats is a snapshot of a layer. The counters never fall.
type LayerStats struct {
	Name       string
	Bitrate    float64 // payload bits a second, over the last second or so
	Cost       LayerCost
	Packets    uint64
	Bytes      uint64 // payload
	Keyframes  uint64
	Duplicates uint64 // dropped
	Padding    uint64 // packets of nothing else, dropped
	Nacked     uint64 // asked for again
	// Age is how old the newest packet was when it came, by the publisher's clock: what
	// that and this node's disagree by is in it. 0: not known.
	Age     time.Duration
	Lost    uint64 // of the present input: have not come, or not yet
	Splices uint64 // changes of input
	Jumps   uint64 // times that the sender's numbers or timestamps jumped
	Demand  int    // receivers that want it
	// KeyframeRequests came from receivers; KeyframeRequestsSent went to the
	// sender.
	KeyframeRequests, KeyframeRequestsSent uint64
}

// layerCounters is guarded by its layer's mu.
type layerCounters struct {
	LayerTotals

	windowStart time.Time // of the bitrate
	windowBytes uint64
}

const bitrateWindow = time.Second

// add counts a packet's payload. When a window is over it returns the bitrate of
// that, and otherwise false; a pause tells nothing.
func (c *layerCounters) add(now time.Time, n int) (bitrate float64, ok bool) {
	c.Packets++
	c.Bytes += uint64(n)
	if d := now.Sub(c.windowStart); d >= bitrateWindow {
		bitrate, ok = float64(c.windowBytes)*8/d.Seconds(), d < 2*bitrateWindow
		c.windowStart, c.windowBytes = now, 0
	}
	c.windowBytes += uint64(n)
	return bitrate, ok
}

// Stats returns a snapshot of the node and its streams.
func (n *Node) Stats() NodeStats {
	n.mu.Lock()
	st := NodeStats{Node: n.config.ID, Addr: n.Addr().String(), Started: n.started, Sessions: n.admissions.size(), Egress: n.transport.egressStats(), TCP: n.transport.tcpStats(), Unclaimed: n.transport.port.Unclaimed()}
	streams := make([]*Stream, 0, len(n.streams))
	for s := range n.streams {
		streams = append(streams, s)
	}
	n.mu.Unlock()
	st.Totals = n.totals.sum()
	for _, s := range streams {
		st.Streams = append(st.Streams, s.Stats())
	}
	return st
}

// Stats returns a snapshot of the stream.
func (s *Stream) Stats() StreamStats {
	st := StreamStats{Stream: s.id, Started: s.started}
	if c, ok := s.Input(); ok && s.Tracks() != nil {
		st.Live, st.Publication, st.Epoch, st.Path, st.Delays = true, c.Publication, c.Epoch, c.Path, c.Delays
	}
	if in := s.activeInput(); in != nil {
		st.Uplink = in.uplink.Load()
	}
	for _, t := range s.Tracks() {
		ts := TrackStats{Info: t.info}
		for _, l := range t.Layers() {
			ts.Layers = append(ts.Layers, l.Stats())
		}
		st.Tracks = append(st.Tracks, ts)
	}
	return st
}

// measure adds what the stream's layers have counted.
func (s *Stream) measure(t *Totals) {
	for _, track := range s.Tracks() {
		for _, l := range track.Layers() {
			l.mu.Lock()
			t.Layers.add(l.stats.LayerTotals)
			l.mu.Unlock()
		}
	}
}

// Stats returns a snapshot of the layer.
func (l *Layer) Stats() LayerStats {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := &l.stats
	st := LayerStats{
		Name: l.name, Bitrate: l.measured(), Cost: l.Cost(), Packets: c.Packets, Bytes: c.Bytes, Keyframes: c.Keyframes,
		Duplicates: c.Duplicates, Padding: c.Padding, Nacked: c.Nacked, Splices: c.Splices, Jumps: c.Jumps,
		Demand: int(l.demand.Load()), KeyframeRequests: c.KeyframeRequests, KeyframeRequestsSent: c.KeyframeRequestsSent,
	}
	if p, c := l.Newest(), l.clock.Load(); p != nil && c != nil {
		st.Age = p.Arrival.Sub(c.now().Time(p.Timestamp))
	}
	if li := l.active; li != nil {
		if expected := li.numbers.line.Expected(li.numbers.first); li.numbers.received > 0 && expected > li.numbers.received {
			st.Lost = expected - li.numbers.received
		}
	}
	return st
}

// measured is the bitrate of what comes. Every viewer asks for it, so it takes no
// lock that whoever writes the layer needs.
func (l *Layer) measured() float64 {
	if p := l.Newest(); p == nil || time.Since(p.Arrival) > 2*bitrateWindow {
		return 0
	}
	return math.Float64frombits(l.bitrate.Load())
}

// Bitrate returns the layer's payload bits a second, over the last second or
// so; of a layer that could come ([Layer.AdvertisedBitrate]), those that it would have; 0
// if nothing comes.
func (l *Layer) Bitrate() float64 { return max(l.measured(), l.AdvertisedBitrate()) }
