package cdn

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

// Totals count what has happened at a node since it was made, on all sessions, links and
// streams, those that are over included. No counter ever falls, and nothing is counted
// twice.
type Totals struct {
	// RTP packets of publishers' and of viewers' sessions, of links with other nodes, and
	// of sessions with nodes without a link.
	Publishers, Viewers, Links, Nodes Traffic
	// Control counts the datagrams of the link protocol, and their bytes before encryption.
	Control Traffic
	// Layers sums up the layers of all streams.
	Layers LayerTotals
	// Shed counts the times that viewers lost video or sound because the node was behind.
	Shed uint64

	// Sessions by what they do: publish, play, or fetch for another node.
	Publish, Play, Fetch SessionTotals
	// StreamsStarted and StreamsEnded count the events of these names.
	StreamsStarted, StreamsEnded uint64
	LinksUp                      uint64            // links that came up
	LinksDown                    map[string]uint64 // links that were up and have ended, by the [ErrorCode] of the reason
	Upstreams                    uint64            // times that another node was chosen to fetch a stream from
	Inputs                       uint64            // times that another input fed a stream
	Slow                         uint64            // times that a viewer whose path was too narrow got less
	Unplayable                   uint64            // tracks that viewers wanted but offered no codec for
	NarrowUplinks                uint64            // times that a publisher's path became too narrow

	// AnswerTimes is how long viewers waited for the answer to their offer.
	AnswerTimes Durations
	// FirstFrameTimes is the time from a viewer's offer until the last packet of its first
	// frame was sent: of video if the viewer gets video, and of sound otherwise.
	FirstFrameTimes Durations
}

// Traffic counts packets in both directions.
type Traffic struct{ Sent, Received Flow }

// A Flow counts packets in one direction.
type Flow struct {
	Packets uint64 // repairs included
	Bytes   uint64 // of these packets: header, payload and what SRTP adds, which is not counted for packets that a PeerConnection receives
	Repairs uint64 // of these packets, those that were retransmissions
	Dropped uint64 // packets received but not used: malformed, forged, duplicate, or of no track. They are not in Packets
}

// Add adds the counts of o.
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

// add adds the counts that meters have: see [Node.Measure].
func (t *Totals) add(o *Totals) {
	t.Publishers.add(o.Publishers)
	t.Viewers.add(o.Viewers)
	t.Links.add(o.Links)
	t.Nodes.add(o.Nodes)
	t.Control.add(o.Control)
	t.Layers.add(o.Layers)
	t.Shed += o.Shed
}

// SessionTotals count sessions. Each request ends up in Started or in Refused.
type SessionTotals struct {
	Started uint64
	Ended   map[string]uint64 // of Started, by the [ErrorCode] of the reason; "": without an error
	Refused map[string]uint64 // by the [ErrorCode] of the reason
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

// DurationBuckets are the upper bounds of the buckets of [Durations]. One more bucket
// has no bound.
var DurationBuckets = [...]time.Duration{
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond,
	500 * time.Millisecond, time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second,
}

// Durations is a histogram of how long something took.
type Durations struct {
	Sum     time.Duration
	Buckets [len(DurationBuckets) + 1]uint64 // how many took at most each bound, and more than the bound before
}

// Count returns the number of durations.
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

// totals are the counters of a node. Its lock is taken last, and nothing is called under
// it.
type totals struct {
	answers, firstFrames stopwatch

	mu   sync.Mutex
	past Totals // of what is over, and what no meter counts
	live map[*meter]struct{}
}

// A meter reads the counters of a session, link or stream.
type meter struct {
	mu    sync.Mutex // held while read runs
	read  func(*Totals)
	final *Totals // the last counts; nil: it is not over
}

// take adds the meter's counts to t.
func (m *meter) take(t *Totals) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.final != nil {
		t.add(m.final)
		return
	}
	m.read(t)
}

// Measure adds the counters of a session, link or stream to [NodeStats].Totals. Services
// on the node call it. read adds the counts so far to the traffic, the layers and Shed of
// its argument; they must never fall. It must not block, nor call the node. The caller
// calls stop when it counts nothing any more: stop calls read for the last time. It is
// idempotent.
func (n *Node) Measure(read func(*Totals)) (stop func()) {
	m := &meter{read: read}
	n.totals.mu.Lock()
	n.totals.live[m] = struct{}{}
	n.totals.mu.Unlock()
	return func() { n.totals.fold(m) }
}

// fold moves the counts of a meter to past. A sum sees them in one place or the other,
// never in both.
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

// note counts an event.
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
	case UplinkNarrow:
		t.past.NarrowUplinks++
	case TrackUnplayable:
		t.past.Unplayable++
	case SessionStarted:
		t.past.of(e.Action).Started++
	case SessionEnded:
		countCode(&t.past.of(e.Action).Ended, e.Err)
	case DelaysChanged, UplinkRecovered, LinkAdapted:
	}
}

// refused counts a request for a session that was refused.
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

// sum returns all counts.
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
