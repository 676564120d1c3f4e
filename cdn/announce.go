package cdn

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// removeTimeout bounds the removal of an announcement. An entry that the directory does
// not remove in that time stays until its lease expires.
const removeTimeout = 2 * time.Second

var (
	errWithdrawn = errors.New("announcement withdrawn")
	errReplaced  = errors.New("announcement replaced")
)

// announcer keeps a node's entries in a [Directory] by renewing their leases.
// A directory that fails or stalls delays announcements and nothing else: each entry has
// a goroutine of its own, which tries until it succeeds. The methods may be called
// concurrently, and only close waits for the directory.
type announcer struct {
	// static after newAnnouncer

	dir    Directory
	log    *slog.Logger
	ttl    time.Duration
	random func(StreamID) func() float64 // returns the random numbers, in [0, 1), of an announcement
	load   func() float64                // of the node; nil: the entries' own

	wg sync.WaitGroup // the announcements' goroutines

	mu     sync.Mutex
	closed bool
	held   bool
	live   map[StreamID]*announcement // the newest of each stream
}

// newAnnouncer returns an announcer that gives each entry a lease of ttl in
// dir. The caller must close it.
func newAnnouncer(dir Directory, log *slog.Logger, ttl time.Duration, random func(StreamID) func() float64) *announcer {
	return &announcer{
		dir:    dir,
		log:    log,
		ttl:    ttl,
		random: random,
		live:   make(map[StreamID]*announcement),
	}
}

// announce puts e into the directory and keeps it there until the announcement is
// stopped, or replaced by a newer one for the same stream. All entries must be of one
// node. After close it does nothing.
//
// If the directory refuses the entry because it has a higher epoch of the publication,
// the announcement ends and onStale is called, by the entry's own goroutine and without
// locks. onStale may block, but it must not wait for close.
func (an *announcer) announce(e Entry, onStale func()) *announcement {
	ctx, cancel := context.WithCancelCause(context.Background())
	a := &announcement{
		announcer: an,
		ctx:       ctx,
		cancel:    cancel,
		changed:   make(chan struct{}, 1),
		done:      make(chan struct{}),
		onStale:   onStale,
		entry:     e.clone(),
	}
	an.mu.Lock()
	defer an.mu.Unlock()
	if an.closed {
		cancel(errWithdrawn)
		close(a.done)
		return a
	}
	prev := an.live[e.Stream]
	if prev != nil {
		prev.cancel(errReplaced)
	}
	an.live[e.Stream] = a
	an.wg.Go(func() {
		defer an.forget(a)
		defer close(a.done)
		if prev != nil {
			<-prev.done // its Remove could remove our entry
			a.taken = prev.taken
		}
		a.run()
	})
	return a
}

// hold withdraws the entries of streams that the node fetches, or announces them again:
// a node that is leaving does not serve them to others any more. The entries of streams
// that are published at the node stay.
func (an *announcer) hold(yes bool) {
	an.mu.Lock()
	defer an.mu.Unlock()
	an.held = yes
	for _, a := range an.live {
		a.change()
	}
}

// holds reports whether e is withdrawn by hold.
func (an *announcer) holds(e Entry) bool {
	an.mu.Lock()
	defer an.mu.Unlock()
	return an.held && e.Hops > 0
}

func (an *announcer) forget(a *announcement) {
	an.mu.Lock()
	defer an.mu.Unlock()
	if stream := a.current().Stream; an.live[stream] == a {
		delete(an.live, stream)
	}
}

// close withdraws all entries and waits until that is done: little longer than
// removeTimeout if the directory respects its contexts. It is idempotent.
func (an *announcer) close() {
	an.mu.Lock()
	an.closed = true
	for _, a := range an.live {
		a.stop()
	}
	an.mu.Unlock()
	an.wg.Wait()
}
