package relay

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/deltacdn/delta/cdn"
)

// A fetch keeps one stream coming from wherever it can be had.
type fetch struct {
	// static
	relay  *Relay
	stream *cdn.Stream
	path   []cdn.NodeID // of the first who asked, with this node at its end
	cancel context.CancelFunc

	// guarded by relay.mu
	wants  int
	asking cdn.NodeID  // that it comes from, or should; "": not known
	linger *time.Timer // runs while nobody wants it
	over   bool
}

func (f *fetch) wantLocked() {
	f.wants++
	f.stopTimerLocked()
}

// comesThroughLocked reports whether the stream comes through one of nodes, or
// one of them is being asked for it: to give it to them would be a loop.
func (f *fetch) comesThroughLocked(nodes []cdn.NodeID) bool {
	in, _ := f.stream.Input()
	for _, id := range append(slices.Clone(in.Path), f.asking) {
		if id != "" && slices.Contains(nodes, id) {
			return true
		}
	}
	return false
}

func (f *fetch) ask(node cdn.NodeID) {
	f.relay.mu.Lock()
	defer f.relay.mu.Unlock()
	f.asking = node
}

func (f *fetch) stopLocked() {
	f.over = true
	f.stopTimerLocked()
	f.cancel()
}

func (f *fetch) stopTimerLocked() {
	if f.linger != nil && f.linger.Stop() {
		f.relay.work.Done()
	}
	f.linger = nil
}

// The pauses between attempts double from the first to the last, and each is
// shortened by up to half, so that nodes that lost the same upstream do not
// come back at one moment.
const (
	firstPause = 200 * time.Millisecond
	lastPause  = 3 * time.Second
)

// run fetches until the stream ends, nobody wants it, or it cannot be had any
// more, and returns why.
func (f *fetch) run(ctx context.Context) error {
	pause := firstPause
	lost := time.Now() // since when nothing comes
	for {
		err := f.once(ctx)
		ready := f.stream.Tracks() != nil
		switch {
		case ctx.Err() != nil:
			return cdn.ErrClosed
		case errors.Is(err, cdn.ErrEnded), !ready:
			return err
		case errors.Is(err, cdn.ErrNoCommonCodec):
			return err // the stream has other codecs now: viewers must negotiate anew
		}
		if at := newest(f.stream); at.After(lost) {
			lost, pause = at, firstPause
		}
		if time.Since(lost) > f.relay.config.GiveUp {
			return err
		}
		f.relay.node.Logger().Info("a fetch broke off", "stream", string(f.stream.ID()), "err", err, "again in", pause)
		select {
		case <-ctx.Done():
		case <-time.After(pause - rand.N(pause/2)):
		}
		pause = min(2*pause, lastPause)
	}
}

// once asks the directory and fetches from the first node that gives the
// stream, until that ends.
func (f *fetch) once(ctx context.Context) error {
	id := f.stream.ID()
	find, cancel := context.WithTimeout(ctx, f.relay.config.FindTimeout)
	defer cancel()
	entries, err := f.relay.config.Directory.Find(find, id)
	if err != nil {
		if find.Err() != nil {
			err = fmt.Errorf("%w: %w", cdn.ErrTimeout, err)
		}
		return &cdn.Error{Op: "find", Stream: id, Err: err}
	}
	defer f.ask("")
	var last error = &cdn.Error{Op: "fetch", Stream: id, Err: cdn.ErrNotFound}
	for _, e := range entries {
		if slices.Contains(f.path, e.Node) && e.Node != "" {
			continue
		}
		f.ask(e.Node)
		err := f.relay.config.Fetcher.Fetch(ctx, e, cdn.Request{Stream: id, Path: f.path}, f.stream)
		if ctx.Err() != nil || errors.Is(err, cdn.ErrEnded) || errors.Is(err, cdn.ErrNoCommonCodec) {
			return err
		}
		if worse(err, last) {
			last = err
		}
	}
	return last
}

// worse reports whether err says more than last: a node that could not be
// asked, more than one that does not have the stream.
func worse(err, last error) bool {
	return !errors.Is(err, cdn.ErrNotFound) || errors.Is(last, cdn.ErrNotFound)
}
