package cdn

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

// Totals count what has happened at a node since it was made, on all its sessions,
// links and streams, whether they last or are over. No counter ever falls, and what is
// over is counted once.
type Totals struct {
	// The RTP packets of publishers' and of viewers' sessions, of links with other
	// nodes, and of sessions with nodes that there is no link with.
	Publishers, Viewers, Links, Nodes Traffic
	// Control is what the link protocol's datagrams came to: their count, and their bytes
	// ahead of encryption.
	Control Traffic
	// Layers sums up the layers of all streams.
	Layers LayerTotals
	// Shed counts the times that viewers lost video or sound because the node was behind.
	Shed uint64

	// Sessions by what they do: publish, play, or fetch for another node.
	Publish, Play, Fetch SessionTotals
	// StreamsStarted and StreamsEnded count as the events of these names do.
	StreamsStarted, StreamsEnded uint64
	LinksUp                      uint64            // links that came up
	LinksDown                    map[string]uint64 // links that were up and are over, by the [ErrorCode] of why
	Upstreams                    uint64            // times that a fetched stream was given a node to come from
	Inputs                       uint64            // times that another input fed a stream
	Slow                         uint64            // measures against viewers that could not take what they were sent
	Unplayable                   uint64            // tracks that viewers wanted and offered no codec for

	// AnswerTimes are how long viewers waited for the answer to their offer.
	AnswerTimes Durations
	// FirstFrameTimes are how long viewers waited from their offer until the last packet
	// of the first frame was sent: of video if they get some, and else of sound.
	FirstFrameTimes Durations
}

// Traffic counts packets in both directions.
type Traffic struct{ Sent, Received Flow }

// A Flow counts packets in one direction.
type Flow struct {
	Packets uint64 // repairs included
	Bytes   uint64 // in them: header, payload, and what SRTP adds, but not for a PeerConnection's received ones
	Repairs uint64 // of these packets, those that were sent again
	Dropped uint64 // packets that came and were not taken: malformed, forged, twice, or of no track. Not in Packets
}

// Add adds what another one has counted.
func (f *Flow) Add(o Flow) {
	f.Packets += o.Packets
	f.Bytes += o.Bytes
	f.Repairs += o.Repairs
	f.Dropped += o.Dropped
}

func (t *Traffic) add(o Traffic) {
	t.Sent.Add(o.Sent)
	t.Received.Add(o.Received)
}

// LayerTotals sum up [LayerStats].
type LayerTotals struct {
	Packets, Bytes, Keyframes, Duplicates, Padding, Nacked, Splices, Jumps uint64
	KeyframeRequests, KeyframeRequestsSent                                 uint64
}

func (t *LayerTotals) add(o LayerTotals) {
	t.Packets += o.Packets
	t.Bytes += o.Bytes
	t.Keyframes += o.Keyframes
	t.Duplicates += o.Duplicates
	t.Padding += o.Padding
	t.Nacked += o.Nacked
	t.Splices += o.Splices
	t.Jumps += o.Jumps
	t.KeyframeRequests += o.KeyframeRequests
	t.KeyframeRequestsSent += o.KeyframeRequestsSent
}

// add adds what is measured: see [Node.Measure].
func (t *Totals) add(o *Totals) {
	t.Publishers.add(o.Publishers)
	t.Viewers.add(o.Viewers)
	t.Links.add(o.Links)
	t.Nodes.add(o.Nodes)
	t.Control.add(o.Control)
	t.Layers.add(o.Layers)
	t.Shed += o.Shed
}

// SessionTotals count sessions. Each request comes to be one that was started or one
// that was refused.
type SessionTotals struct {
	Started uint64
	Ended   map[string]uint64 // of those that had started, by the [ErrorCode] of why; "" is without an error
	Refused map[string]uint64 // by the [ErrorCode] of why
}

func (t *SessionTotals) clone() SessionTotals {
	return SessionTotals{Started: t.Started, Ended: maps.Clone(t.Ended), Refused: maps.Clone(t.Refused)}
}

func countCode(m *map[string]uint64, err error) {
	if *m == nil {
		*m = make(map[string]uint64)
	}
	(*m)[ErrorCode(err)]++
}

// DurationBuckets are the upper bounds of the buckets of [Durations]. Above the last
// there is one more.
var DurationBuckets = [...]time.Duration{
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond,
	500 * time.Millisecond, time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second,
}

// Durations is a histogram of how long something took.
type Durations struct {
	Sum     time.Duration
	Buckets [len(DurationBuckets) + 1]uint64 // how many were within each bound and above the one before
}

// Count returns how many there were.
func (d Durations) Count() (n uint64) {
	for _, b := range d.Buckets {
		n += b
	}
	return n
}

// stopwatch counts durations.
type stopwatch struct {
	sum     atomic.Int64
	buckets [len(DurationBuckets) + 1]atomic.Uint64
}

func (s *stopwatch) add(d time.Duration) {
	i := 0
	for i < len(DurationBuckets) && d > DurationBuckets[i] {
		i++
	}
	s.sum.Add(int64(d))
	s.buckets[i].Add(1)
}

func (s *stopwatch) snapshot() (d Durations) {
	d.Sum = time.Duration(s.sum.Load())
	for i := range s.buckets {
		d.Buckets[i] = s.buckets[i].Load()
	}
	return d
}

// totals are a node's. Its lock is taken last, and nothing is called under it.
type totals struct {
	answers, firstFrames stopwatch

	mu   sync.Mutex
	past Totals // what is over, and what no meter has
	live map[*meter]struct{}
}

// A meter is what reads the counters of something that lasts.
type meter struct {
	mu    sync.Mutex // held while they are read
	read  func(*Totals)
	final *Totals // what was read last; nil: not yet
}

// take adds what the meter has.
func (m *meter) take(t *Totals) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.final != nil {
		t.add(m.final)
		return
	}
	m.read(t)
}

// Measure has what a session, link or stream counts be part of [NodeStats].Totals, for
// the services on the node. read adds what was counted so far to the traffic, the layers
// and Shed of the Totals that it is given. That must never be less than before. It must not
// block, nor call the node. stop has it read for the last time, when nothing is counted
// any more; it is idempotent.
func (n *Node) Measure(read func(*Totals)) (stop func()) {
	m := &meter{read: read}
	n.totals.mu.Lock()
	n.totals.live[m] = struct{}{}
	n.totals.mu.Unlock()
	return func() { n.totals.fold(m) }
}

// fold makes what a meter has part of the past, in one step for those who sum up.
func (t *totals) fold(m *meter) {
	m.mu.Lock()
	if m.final != nil {
		m.mu.Unlock()
		return
	}
	final := &Totals{}
	m.read(final)
	m.final, m.read = final, nil
	m.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.past.add(final)
	delete(t.live, m)
}

// note counts what an event says.
func (t *totals) note(e Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch e := e.(type) {
	case StreamStarted:
		t.past.StreamsStarted++
	case StreamEnded:
		t.past.StreamsEnded++
	case InputChanged:
		t.past.Inputs++
	case UpstreamChanged:
		t.past.Upstreams++
	case LinkUp:
		t.past.LinksUp++
	case LinkDown:
		countCode(&t.past.LinksDown, e.Err)
	case ViewerSlow:
		t.past.Slow++
	case TrackUnplayable:
		t.past.Unplayable++
	case SessionStarted:
		t.past.of(e.Action).Started++
	case SessionEnded:
		countCode(&t.past.of(e.Action).Ended, e.Err)
	case DelaysChanged:
	}
}

// refused counts a session that did not come about.
func (t *totals) refused(a Action, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	countCode(&t.past.of(a).Refused, err)
}

func (t *Totals) of(a Action) *SessionTotals {
	switch a {
	case ActionPublish:
		return &t.Publish
	case ActionFetch:
		return &t.Fetch
	case ActionPlay:
	}
	return &t.Play
}

// sum returns all that has been counted.
func (t *totals) sum() Totals {
	t.mu.Lock()
	sum := t.past
	sum.LinksDown = maps.Clone(sum.LinksDown)
	sum.Publish, sum.Play, sum.Fetch = sum.Publish.clone(), sum.Play.clone(), sum.Fetch.clone()
	live := make([]*meter, 0, len(t.live))
	for m := range t.live {
		live = append(live, m)
	}
	t.mu.Unlock()
	for _, m := range live {
		m.take(&sum)
	}
	sum.AnswerTimes, sum.FirstFrameTimes = t.answers.snapshot(), t.firstFrames.snapshot()
	return sum
}
