package cdn

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// removeTimeout bounds how long the end of an announcement may take. What a
// directory does not take back in that time, its lease does.
const removeTimeout = 2 * time.Second

var (
	errWithdrawn = errors.New("announcement withdrawn")
	errReplaced  = errors.New("announcement replaced")
)

// announcer keeps a node's entries in a [Directory] by renewing their leases.
// A directory that fails or stalls costs nothing but announcements: each entry
// has a goroutine of its own, which tries until it succeeds. Its methods may
// be called concurrently and never wait for the directory, close excepted.
type announcer struct {
	// static after newAnnouncer

	dir    Directory
	log    *slog.Logger
	ttl    time.Duration
	random func(StreamID) func() float64 // what each announcement draws from, in [0, 1)
	load   func() float64                // of the node; nil: what entries say

	wg sync.WaitGroup // the announcements' goroutines

	mu     sync.Mutex
	closed bool
	held   bool
	live   map[StreamID]*announcement // the newest of each stream
}

// newAnnouncer returns an announcer that gives each entry a lease of ttl in
// dir. Its owner closes it.
func newAnnouncer(dir Directory, log *slog.Logger, ttl time.Duration, random func(StreamID) func() float64) *announcer {
	return &announcer{
		dir:    dir,
		log:    log,
		ttl:    ttl,
		random: random,
		live:   make(map[StreamID]*announcement),
	}
}

// announce puts e into the directory and keeps it there until the announcement
// is stopped, or replaced by a newer one of the same stream. All entries are of
// one node. After close, nothing is announced any more.
//
// onStale is called when the directory has refused the entry because a higher
// epoch of its publication is there; it is announced no more. The call comes
// from the entry's own goroutine, without locks; it may block, but not for
// close.
func (an *announcer) announce(e Entry, onStale func()) *announcement {
	ctx, cancel := context.WithCancelCause(context.Background())
	a := &announcement{
		announcer: an,
		ctx:       ctx,
		cancel:    cancel,
		changed:   make(chan struct{}, 1), // that something changed is all there is to know
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
			<-prev.done // or its Remove could take our entry away
			a.taken = prev.taken
		}
		a.run()
	})
	return a
}

// hold takes back what is announced of streams that the node fetches, or announces it
// again: a node that leaves has them no longer for others. What is published at it
// stays, as full.
func (an *announcer) hold(yes bool) {
	an.mu.Lock()
	defer an.mu.Unlock()
	an.held = yes
	for _, a := range an.live {
		a.change()
	}
}

// holds reports whether e is not announced for now.
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

// close withdraws everything and waits for it: no longer than removeTimeout
// and a bit, if the directory heeds its contexts. It is idempotent.
func (an *announcer) close() {
	an.mu.Lock()
	an.closed = true
	for _, a := range an.live {
		a.stop()
	}
	an.mu.Unlock()
	an.wg.Wait()
}
