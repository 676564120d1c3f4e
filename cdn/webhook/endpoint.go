package webhook

import (
	"bytes"
	"container/heap"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/internal/outbound"
)

// An endpoint has the messages of one receiver. Each stream has a lane, which makes
// one request at a time: so its messages stay in order, and a stream whose message is
// refused does not hold up the others.
type endpoint struct {
	// static
	url         *url.URL
	name        string
	keys        []Key
	types       []Type
	client      *outbound.Client
	log         *slog.Logger
	limit       int
	concurrency int
	timeout     time.Duration
	giveUp      time.Duration

	wake  chan struct{} // holds one: something changed for run
	empty chan struct{} // made by close; closed when nothing waits any more

	mu      sync.Mutex
	lanes   map[cdn.StreamID]*lane
	due     schedule
	count   EndpointStats
	busy    int       // requests that go on
	paused  time.Time // no request before
	untold  int       // dropped messages that no message has told of
	closing bool
	health  health
}

// A lane has the messages of one stream, the oldest first.
type lane struct {
	stream cdn.StreamID
	queue  []*message
	due    time.Time // when the first is to be sent
}

// A message waits to be sent.
type message struct {
	Message
	id    string
	body  []byte // fixed at the first try, so that it stays the same message
	tries int
}

// schedule is a heap of the lanes that have something to send and make no request,
// by when they are due.
type schedule []*lane

func (s schedule) Len() int           { return len(s) }
func (s schedule) Less(i, j int) bool { return s[i].due.Before(s[j].due) }
func (s schedule) Swap(i, j int)      { s[i], s[j] = s[j], s[i] }
func (s *schedule) Push(x any)        { *s = append(*s, x.(*lane)) }
func (s *schedule) Pop() any {
	last := len(*s) - 1
	l := (*s)[last]
	(*s)[last] = nil
	*s = (*s)[:last]
	return l
}

// add takes a message, or drops it.
func (e *endpoint) add(m Message) {
	if len(e.types) > 0 && !slices.Contains(e.types, m.Type) {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.closing:
		return
	case e.count.Disabled || e.count.Waiting >= e.limit:
		e.dropLocked(1)
		return
	}
	l := e.lanes[m.Data.Stream]
	if l == nil {
		l = &lane{stream: m.Data.Stream}
		e.lanes[l.stream] = l
	}
	l.queue = append(l.queue, &message{Message: m, id: "msg_" + rand.Text()})
	e.count.Waiting++
	if len(l.queue) == 1 {
		l.due = m.Timestamp
		heap.Push(&e.due, l)
		e.signal()
	}
}

// dropLocked counts messages that nobody will get.
func (e *endpoint) dropLocked(n int) {
	e.count.Dropped += uint64(n)
	e.untold += n
	if !e.count.Disabled {
		e.health.dropped(e.log, e.name, time.Now(), e.count.Dropped)
	}
}

func (e *endpoint) signal() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// run sends messages until ctx is done.
func (e *endpoint) run(ctx context.Context) {
	var requests sync.WaitGroup
	defer requests.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		l, wait := e.next(time.Now())
		if l != nil {
			requests.Go(func() { e.deliver(ctx, l) })
			continue
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-e.wake:
		case <-ctx.Done():
			return
		}
	}
}

// next returns the lane that is to make a request now, or how long to wait for one.
func (e *endpoint) next(now time.Time) (*lane, time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.due) == 0 || e.busy >= e.concurrency {
		return nil, time.Hour // or until something changes
	}
	at := e.due[0].due
	if e.paused.After(at) {
		at = e.paused
	}
	if wait := at.Sub(now); wait > 0 {
		return nil, wait
	}
	e.busy++
	return heap.Pop(&e.due).(*lane), 0
}

// deliver makes a request with the first message of a lane.
func (e *endpoint) deliver(ctx context.Context, l *lane) {
	e.mu.Lock()
	if len(l.queue) == 0 { // the endpoint has been disabled
		e.busy--
		e.mu.Unlock()
		return
	}
	m := l.queue[0]
	if m.body == nil {
		m.Dropped, e.untold = e.untold, 0
		m.body, _ = json.Marshal(m.Message) // texts, numbers and a time always can be
	}
	e.mu.Unlock()

	a := e.post(ctx, m)

	e.mu.Lock()
	defer e.mu.Unlock()
	defer e.signal()
	e.busy--
	m.tries++
	now := time.Now()
	if ctx.Err() != nil && !a.taken() {
		return
	}
	e.health.result(e.log, e.name, now, a.err)
	switch {
	case e.count.Disabled:
		return
	case a.status == http.StatusGone:
		e.disableLocked()
		return
	case a.taken():
		e.count.Delivered++
	default:
		e.count.Failed++
		if a.after > 0 {
			e.paused = now.Add(a.after)
		}
		if !a.hopeless(m.tries) && now.Sub(m.Timestamp) < e.giveUp {
			l.due = now.Add(max(backoff(m.tries), a.after))
			heap.Push(&e.due, l)
			return
		}
		e.untold += m.Dropped
		e.dropLocked(1)
	}
	e.shiftLocked(l, now)
}

// shiftLocked takes the first message from a lane, which is done with.
func (e *endpoint) shiftLocked(l *lane, now time.Time) {
	l.queue[0] = nil
	l.queue = l.queue[1:]
	e.count.Waiting--
	if len(l.queue) > 0 {
		l.due = now
		heap.Push(&e.due, l)
	} else {
		delete(e.lanes, l.stream)
	}
	e.tellEmptyLocked()
}

// disableLocked forgets all messages, and takes no more.
func (e *endpoint) disableLocked() {
	e.count.Disabled = true
	e.abandonLocked()
	e.log.Warn("a webhook's endpoint is gone (410): it gets nothing more until a restart", "endpoint", e.name)
}

// abandon drops what waits, and returns how many messages that were. Further calls
// return 0.
func (e *endpoint) abandon() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.abandonLocked()
}

func (e *endpoint) abandonLocked() int {
	n := e.count.Waiting
	if n > 0 {
		e.dropLocked(n)
	}
	for _, l := range e.lanes {
		l.queue = nil
	}
	clear(e.lanes)
	e.due, e.count.Waiting = nil, 0
	e.tellEmptyLocked()
	return n
}

func (e *endpoint) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closing {
		return
	}
	e.closing, e.empty = true, make(chan struct{})
	e.tellEmptyLocked()
}

func (e *endpoint) tellEmptyLocked() {
	if e.closing && e.count.Waiting == 0 {
		select {
		case <-e.empty:
		default:
			close(e.empty)
		}
	}
}

func (e *endpoint) stats() EndpointStats {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.count
	s.Endpoint = e.name
	return s
}

// post makes a request with a message.
func (e *endpoint) post(ctx context.Context, m *message) answer {
	ctx, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url.String(), bytes.NewReader(m.body))
	if err != nil {
		return answer{err: err}
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "delta-webhook")
	SetHeaders(r.Header, m.id, time.Now(), m.body, e.keys...)
	resp, err := e.client.Do(r)
	if err != nil {
		return answer{err: err}
	}
	defer outbound.Discard(resp.Body)
	a := answer{status: resp.StatusCode, after: retryAfter(resp.Header, time.Now())}
	if !a.taken() {
		a.err = fmt.Errorf("the answer is %d", a.status)
	}
	return a
}
