package replica

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/deltacdn/delta/cdn"
)

const (
	defaultLimit = 1 << 17
	defaultBytes = 256 << 20
	defaultHold  = time.Hour
	// remember is how long a number is remembered after the announcement has ended, or
	// has been met again: so long an old value stays dead.
	remember = 10 * time.Minute
)

// Config is what a [Set] is made with. The zero value is good.
type Config struct {
	// Limit is how many announcements the set holds, and how many numbers of ended
	// ones it remembers besides. If zero, 131072.
	Limit int
	// Bytes bounds the memory that they take, which is estimated. If zero, 256 MiB.
	Bytes int
	// Hold is how long an announcement is kept after its lease if nobody can say that
	// it has not been renewed, since the engine is away. If zero, an hour.
	Hold time.Duration
	// Now is the clock that numbers are taken from ([Set.Next]); leases are judged by
	// [time.Now]. If nil, that, too.
	Now func() time.Time
}

// An Outcome is what a [Set] made of a value.
type Outcome int

const (
	// Took: it is the newest announcement of its key.
	Took Outcome = iota
	// Known: it was here already. Nothing is renewed.
	Known
	// Old: a newer one of its key is known.
	Old
	// Stale: another entry of its publication has a higher epoch.
	Stale
)

// A Set is what one node knows of the announcements in a directory. It has no
// goroutine and needs no closing. Its methods may be called concurrently, never wait,
// and neither keep nor hand out memory that is shared with the caller.
//
// A value counts from when it is first taken, for its lease, by this node's clock. It
// is not dropped at the end of its lease, but when the set's owner calls [Set.Lapse]:
// after it has made sure that everything that was announced until then has come. So
// neither a frozen engine nor a slow one makes an announcement disappear that is being
// renewed. After a gap, [Set.Excuse] gives every announcement time to be renewed.
type Set struct {
	config Config // static

	mu      sync.Mutex // taken last; nothing is called with it held
	streams map[cdn.StreamID]*stream
	count   int // of records
	bytes   int
	graves  map[Key]grave
	last    uint64    // the highest number that Next has given, or that it was told
	due     time.Time // no lease ends earlier; meaningless without records
	purged  time.Time // when graves were last looked through
	closed  chan struct{}
}

// A stream is what is known of one stream, or, under "", of the nodes themselves. It
// stays while it has records or watchers.
type stream struct {
	records  map[cdn.NodeID]*record
	version  uint64        // rises when what Find answers changes
	changed  chan struct{} // closed, and replaced, when version rises
	watchers int
}

// A record is the announcement that counts of a key.
type record struct {
	seq   uint64 // the highest seen of the key; the announcement's own may be lower
	entry cdn.Entry
	node  cdn.NodeEntry
	lease time.Duration
	size  int
	ends  time.Time // of the lease
	last  time.Time // when it is dropped whatever happens
	own   []byte    // as it is sent, if it was announced here; else nil
}

// A grave is what is remembered of a key without a record.
type grave struct {
	seq   uint64
	until time.Time
}

// NewSet returns an empty Set.
func NewSet(c Config) *Set {
	c.Limit = cmp.Or(c.Limit, defaultLimit)
	c.Bytes = cmp.Or(c.Bytes, defaultBytes)
	c.Hold = cmp.Or(c.Hold, defaultHold)
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Set{
		config:  c,
		streams: make(map[cdn.StreamID]*stream),
		graves:  make(map[Key]grave),
		closed:  make(chan struct{}),
	}
}

// Next returns the number for this node's next announcement of k: the time in
// nanoseconds, or one more than the highest that Next has given or that is known of k,
// if that is more.
func (s *Set) Next(k Key) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = max(uint64(max(s.config.Now().UnixNano(), 1)), s.last+1, s.seqLocked(k)+1)
	return s.last
}

// Raise says that this node has used numbers up to seq, which [Set.Next] is to exceed.
// It reports whether they are news.
func (s *Set) Raise(seq uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	news := seq > s.last && seq < MaxSeq
	if news {
		s.last = seq
	}
	return news
}

// Seq returns the highest number that is known of k, 0 if none is.
func (s *Set) Seq(k Key) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seqLocked(k)
}

func (s *Set) seqLocked(k Key) uint64 {
	if st := s.streams[k.Stream]; st != nil {
		if r := st.records[k.Node]; r != nil {
			return r.seq
		}
	}
	return s.graves[k].seq
}

// Check returns an error wrapping [cdn.ErrStale] if an entry of the same publication
// with a higher epoch than e's is known.
func (s *Set) Check(e cdn.Entry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.streams[e.Stream]; st != nil {
		return st.stale(e)
	}
	return nil
}

func (st *stream) stale(e cdn.Entry) error {
	for node, r := range st.records {
		if r.entry.Publication == e.Publication && r.entry.Epoch > e.Epoch {
			return fmt.Errorf("%w: %d, but %s has %d", cdn.ErrStale, e.Epoch, node, r.entry.Epoch)
		}
	}
	return nil
}

// Take takes what another node has announced, or this one as it comes back. It fails
// with an error wrapping [cdn.ErrOverLimit] for what there is no room for; such a value
// is taken when it is announced again and there is. An objection changes nothing.
func (s *Set) Take(v Value) (Outcome, error) { return s.take(v, nil) }

// Keep takes what this node announces. Raw is its JSON, which [Set.Own] returns for as
// long as the announcement counts.
func (s *Set) Keep(v Value, raw []byte) (Outcome, error) { return s.take(v, slices.Clone(raw)) }

func (s *Set) take(v Value, own []byte) (Outcome, error) {
	if v.Seen != "" {
		return Known, nil
	}
	k, now := v.Key(), time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch seq := s.seqLocked(k); {
	case v.Seq == seq:
		if g, dead := s.graves[k]; dead && g.until.Before(now.Add(remember)) {
			s.graves[k] = grave{seq, now.Add(remember)} // it is still about
		}
		if own != nil {
			s.ownLocked(k, own)
		}
		return Known, nil
	case v.Seq < seq:
		return Old, nil
	}
	st := s.openLocked(k.Stream)
	defer s.closeLocked(k.Stream, st)
	if v.Gone != nil {
		s.withdrawLocked(st, v, now)
		return Took, nil
	}
	if v.Entry != nil && st.stale(*v.Entry) != nil {
		s.noteLocked(st, k, v.Seq, now.Add(remember+v.Lease))
		return Stale, nil
	}
	r := newRecord(v, own, now, s.config.Hold)
	old := st.records[k.Node]
	if err := s.roomLocked(old, r); err != nil {
		return Old, err
	}
	s.putLocked(st, k, r)
	return Took, nil
}

// ownLocked notes that what counts of k was announced here: it came back before Keep.
func (s *Set) ownLocked(k Key, own []byte) {
	if st := s.streams[k.Stream]; st != nil {
		if r := st.records[k.Node]; r != nil && r.own == nil {
			r.own = own
			r.size += len(own)
			s.bytes += len(own)
		}
	}
}

func newRecord(v Value, own []byte, now time.Time, hold time.Duration) *record {
	lease := min(v.Lease, MaxLease)
	r := &record{seq: v.Seq, lease: lease, ends: now.Add(lease), last: now.Add(lease + hold), own: own}
	if v.Entry != nil {
		r.entry = cloneEntry(*v.Entry)
		r.size = sizeOf(r.entry)
	} else {
		r.node = cloneNode(*v.Node)
		r.size = 256 + 64*(len(r.node.Addrs)+len(r.node.Origins)) + len(r.node.URL) + len(r.node.Group)
	}
	r.size += len(own)
	return r
}

// sizeOf returns about how much memory an entry takes.
func sizeOf(e cdn.Entry) int {
	n := 512 + len(e.Stream) + len(e.Node) + len(e.URL) + len(e.Publication)
	for _, id := range e.Path {
		n += 16 + len(id)
	}
	for _, t := range e.Tracks {
		n += 160 + len(t.ID) + len(t.Codec.MimeType) + len(t.Codec.Fmtp)
		for _, text := range [][]string{t.Layers, t.Extensions} {
			for _, s := range text {
				n += 16 + len(s)
			}
		}
	}
	return n
}

// roomLocked returns an error if r does not fit in place of old.
func (s *Set) roomLocked(old, r *record) error {
	count, bytes := s.count+1, s.bytes+r.size
	if old != nil {
		count, bytes = count-1, bytes-old.size
	}
	if count > s.config.Limit && old == nil {
		return fmt.Errorf("%w: %d announcements", cdn.ErrOverLimit, s.config.Limit)
	}
	if bytes > s.config.Bytes {
		return fmt.Errorf("%w: announcements of %d bytes", cdn.ErrOverLimit, s.config.Bytes)
	}
	return nil
}

// putLocked has r count for k, and removes lower epochs of its publication.
func (s *Set) putLocked(st *stream, k Key, r *record) {
	old := st.records[k.Node]
	changed := old == nil || st.watchers > 0 && !old.says(r)
	if old != nil {
		s.count--
		s.bytes -= old.size
	}
	if s.count == 0 || r.ends.Before(s.due) {
		s.due = r.ends
	}
	delete(s.graves, k)
	st.records[k.Node] = r
	s.count++
	s.bytes += r.size
	if k.Stream != "" {
		for node, o := range st.records {
			if o.entry.Publication == r.entry.Publication && o.entry.Epoch < r.entry.Epoch {
				s.dropLocked(st, Key{k.Stream, node}, time.Now())
				changed = true
			}
		}
	}
	if changed {
		st.tell()
	}
}

// says reports whether r and o say the same.
func (r *record) says(o *record) bool {
	return reflect.DeepEqual(r.entry, o.entry) && reflect.DeepEqual(r.node, o.node)
}

// withdrawLocked removes what v withdraws, and remembers its number.
func (s *Set) withdrawLocked(st *stream, v Value, now time.Time) {
	k := v.Key()
	r := st.records[k.Node]
	s.noteLocked(st, k, v.Seq, now.Add(remember+v.Lease))
	if r != nil && (k.Stream == "" || r.entry.Epoch == v.Gone.Epoch) {
		s.dropLocked(st, k, now)
		st.tell()
	}
}

// noteLocked remembers a number of k, and leaves what counts of it.
func (s *Set) noteLocked(st *stream, k Key, seq uint64, until time.Time) {
	if r := st.records[k.Node]; r != nil {
		r.seq = seq
		return
	}
	s.buryLocked(k, seq, until)
}

// dropLocked removes the record of k, and remembers its number.
func (s *Set) dropLocked(st *stream, k Key, now time.Time) {
	r := st.records[k.Node]
	delete(st.records, k.Node)
	s.count--
	s.bytes -= r.size
	s.buryLocked(k, r.seq, now.Add(remember+r.lease))
}

func (s *Set) buryLocked(k Key, seq uint64, until time.Time) {
	if _, again := s.graves[k]; !again && len(s.graves) >= s.config.Limit {
		s.crowdedLocked()
	}
	s.graves[k] = grave{seq, until}
}

// crowdedLocked forgets the quarter of the graves that would be forgotten first.
func (s *Set) crowdedLocked() {
	type dated struct {
		key   Key
		until time.Time
	}
	all := make([]dated, 0, len(s.graves))
	for k, g := range s.graves {
		all = append(all, dated{k, g.until})
	}
	slices.SortFunc(all, func(a, b dated) int { return a.until.Compare(b.until) })
	for _, d := range all[:len(all)/4+1] {
		delete(s.graves, d.key)
	}
}

// openLocked returns the state of a stream, which closeLocked may drop again.
func (s *Set) openLocked(id cdn.StreamID) *stream {
	st := s.streams[id]
	if st == nil {
		st = &stream{records: make(map[cdn.NodeID]*record), changed: make(chan struct{})}
		s.streams[id] = st
	}
	return st
}

func (s *Set) closeLocked(id cdn.StreamID, st *stream) {
	if len(st.records) == 0 && st.watchers == 0 {
		delete(s.streams, id)
	}
}

// tell wakes the watchers of st.
func (st *stream) tell() {
	st.version++
	close(st.changed)
	st.changed = make(chan struct{})
}
