package relay

import (
	"context"
	"errors"
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

	known []cdn.Entry // run's own: what the directory said last

	// guarded by relay.mu
	wants    int
	upstream upstream
	linger   *time.Timer // runs while nobody wants it
	over     bool
}

func (f *fetch) wantLocked() {
	f.wants++
	f.stopTimerLocked()
}

// comesThroughLocked reports whether the stream comes through one of nodes, or
// one of them is being asked for it: to give it to them would be a loop.
func (f *fetch) comesThroughLocked(nodes []cdn.NodeID) bool {
	in, _ := f.stream.Input()
	for _, id := range append(slices.Clone(in.Path), f.upstream.from.Node) {
		if id != "" && slices.Contains(nodes, id) {
			return true
		}
	}
	return false
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
	lost := time.Now() // since when it does not come from anywhere
	for {
		err := f.supply(ctx)
		ready := f.stream.Tracks() != nil
		switch {
		case ctx.Err() != nil:
			return cdn.ErrClosed
		case errors.Is(err, cdn.ErrEnded), !ready:
			return err
		case errors.Is(err, cdn.ErrNoCommonCodec):
			return err // the stream has other codecs now: viewers must negotiate anew
		}
		if at := f.lively(); at.After(lost) {
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

// lively returns when the stream was last known to come from somewhere: something
// came, or its sender was there.
func (f *fetch) lively() time.Time {
	at := newest(f.stream)
	if _, present := f.stream.Sender(); present.After(at) {
		return present
	}
	return at
}

// worse reports whether err says more than last: a node that could not be
// asked, more than one that does not have the stream; and one that had it and
// knows that it has ended, most.
func worse(err, last error) bool {
	if errors.Is(err, cdn.ErrEnded) || errors.Is(last, cdn.ErrEnded) {
		return errors.Is(err, cdn.ErrEnded)
	}
	return !errors.Is(err, cdn.ErrNotFound) || errors.Is(last, cdn.ErrNotFound)
}
