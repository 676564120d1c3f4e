package main

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// A witness is a thread on the servers' core that wants to run each millisecond. It is
// served ahead of others just as the edge is, and has no share that could be used up: when
// it cannot run, something else has the machine.
type witness struct {
	stop    chan struct{}
	longest chan time.Duration
}

func newWitness() *witness {
	w := &witness{make(chan struct{}), make(chan time.Duration, 1)}
	go func() {
		runtime.LockOSThread() // the thread ends with the goroutine
		var first unix.CPUSet
		first.Set(0)
		_ = unix.SchedSetaffinity(0, &first) // on a machine of one core it is there anyway
		w.longest <- w.run()
	}()
	return w
}

func (w *witness) run() (longest time.Duration) {
	const pause = time.Millisecond
	for {
		select {
		case <-w.stop:
			return longest
		default:
		}
		at := time.Now()
		_ = unix.Nanosleep(&unix.Timespec{Nsec: pause.Nanoseconds()}, nil) // a signal only ends it early
		longest = max(longest, time.Since(at)-pause)
	}
}

// close returns for how long the witness could not run, at most.
func (w *witness) close() time.Duration {
	close(w.stop)
	return <-w.longest
}
