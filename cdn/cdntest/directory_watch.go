package cdntest

import (
	"context"
	"errors"
	"time"

	"github.com/deltacdn/delta/cdn"
)

func watchTellsChanges(d *dirTest) {
	w := d.watch()
	defer w.stop()
	w.wait()
	e := d.entry("a")
	d.put(e)
	w.wait("a")
	d.put(d.entry("b"))
	w.wait("a", "b")
	e.Epoch++
	d.put(e)
	w.wait("a")
	d.remove(e)
	w.wait()

	late := d.watch()
	defer late.stop()
	late.wait()
}

func watchTellsExpiry(d *dirTest) {
	w := d.watch()
	defer w.stop()
	d.putFor(d.entry("a"), 2*time.Second)
	w.wait("a")
	w.wait()
}

func watchEnds(d *dirTest) {
	d.put(d.entry("a"))
	w := d.watch()
	w.wait("a")
	w.stop() // waits for the end of the sequence

	for entries, err := range d.watcher().Watch(d.t.Context(), d.stream) {
		if err != nil || !named(entries, []cdn.NodeID{"a"}) {
			d.t.Fatalf("Watch yields %+v, %v, want the one entry", entries, err)
		}
		break
	}
}

func (d *dirTest) watcher() cdn.Watcher {
	w, ok := d.dir.(cdn.Watcher)
	if !ok {
		d.t.Skip("not a cdn.Watcher")
	}
	return w
}

// watching is a goroutine in a loop over Watch.
type watching struct {
	d      *dirTest
	seen   chan []cdn.Entry
	cancel context.CancelFunc
	done   chan struct{}
}

func (d *dirTest) watch() *watching {
	watcher := d.watcher()
	ctx, cancel := context.WithCancel(d.t.Context())
	w := &watching{d: d, seen: make(chan []cdn.Entry), cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(w.done)
		w.run(ctx, watcher)
	}()
	return w
}

func (w *watching) run(ctx context.Context, watcher cdn.Watcher) {
	for entries, err := range watcher.Watch(ctx, w.d.stream) {
		if err != nil {
			if !errors.Is(err, ctx.Err()) {
				w.d.t.Errorf("Watch yields the error %v", err)
			}
			return
		}
		select {
		case w.seen <- entries:
		case <-ctx.Done():
		}
	}
	if ctx.Err() == nil {
		w.d.t.Error("Watch ended by itself")
	}
}

// wait waits until Watch yields the entries of just these nodes. What it
// yields before that may be a state in between.
func (w *watching) wait(want ...cdn.NodeID) {
	w.d.t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	var last []cdn.Entry
	for {
		select {
		case last = <-w.seen:
			if named(last, want) {
				return
			}
		case <-w.done:
			w.d.t.Fatalf("Watch ended, want the entries of %q", want)
		case <-timeout.C:
			w.d.t.Fatalf("Watch last yielded %+v, want the entries of %q", last, want)
		}
	}
}

// stop ends the watch and waits for it.
func (w *watching) stop() {
	w.cancel()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case <-w.done:
	case <-timeout.C:
		w.d.t.Error("Watch goes on after the end of its context")
	}
}
