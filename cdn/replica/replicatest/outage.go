// Package replicatest tests directories on engines against what engines do: be killed,
// freeze, and restart with nothing in them, while streams are announced all the time.
// It is for tests.
package replicatest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/replica"
)

// patience bounds the waits for what has to be so ahead of a test. A slow machine only
// waits.
const patience = time.Minute

// An Engine is a real server, in a process of its own, that runs at first. Its methods
// fail the test if they cannot do it.
type Engine interface {
	// Start starts it again, with nothing in it, and waits until it answers.
	Start()
	// Kill ends it without a word.
	Kill()
	// Freeze stops its process, which keeps its connections, until thaw is called.
	Freeze() (thaw func())
	// Open returns a Directory on it with a connection of its own, which is closed at
	// the end of t. It does not wait for the engine.
	Open(t *testing.T) Directory
}

// A Directory is what is tested.
type Directory struct {
	cdn.Directory
	cdn.NodeDirectory // the same
	// Sent returns how many messages, or commands that change something, it has sent.
	Sent func() uint64
	// Away reports whether it takes the engine to be away.
	Away func() bool
}

// Config says how much is tested.
type Config struct {
	// Lease of the announcements. If zero, 3 s.
	Lease time.Duration
	// Streams are announced, in turn by one of Directories. If zero, 200 by 5.
	Streams, Directories int
	// Dead and Frozen are how long the engine is so. If zero, two leases.
	Dead, Frozen time.Duration
	// Look is how often each Directory is asked for each stream. If zero, 100 ms.
	Look time.Duration
}

func (c Config) withDefaults() Config {
	for _, d := range []struct {
		value *time.Duration
		unset time.Duration
	}{{&c.Lease, 3 * time.Second}, {&c.Look, 100 * time.Millisecond}} {
		if *d.value == 0 {
			*d.value = d.unset
		}
	}
	if c.Streams == 0 {
		c.Streams, c.Directories = 200, 5
	}
	if c.Dead == 0 {
		c.Dead = 2 * c.Lease
	}
	if c.Frozen == 0 {
		c.Frozen = 2 * c.Lease
	}
	return c
}

// TestOutages runs a subtest for each kind of outage, all at once, with an engine for
// each. While the engine is away, and after, each Directory is asked for all streams all
// the time, and must always find them, without an error. One that is new when the
// engine is back must find them within a third of a lease and 3 s. Meanwhile no more
// than twice as many messages as always are sent.
func TestOutages(t *testing.T, start func(t *testing.T) Engine, c Config) {
	c = c.withDefaults()
	for name, outage := range map[string]func(Engine){
		"Killed": func(e Engine) {
			e.Kill()
			time.Sleep(c.Dead)
			e.Start()
		},
		"RestartedAtOnce": func(e Engine) {
			e.Kill()
			e.Start()
		},
		"Frozen": func(e Engine) {
			thaw := e.Freeze()
			time.Sleep(c.Frozen)
			thaw()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNetwork(t, start(t), c)
			n.testOutage(outage)
		})
	}
}

// TestWithdrawals withdraws streams while the engine is away, and wants them gone from
// all Directories soon after it is back; and a node that ends without withdrawing
// anything gone a lease later.
func TestWithdrawals(t *testing.T, start func(t *testing.T) Engine, c Config) {
	c = c.withDefaults()
	c.Streams, c.Directories = 10, 3
	n := newNetwork(t, start(t), c)
	n.waitFound(patience, n.dirs...)
	n.engine.Kill()
	n.wait(patience, "the engine to be missed", func() bool { return n.dirs[0].Away() })
	withdrawn, dead := n.stop(0), n.stop(1)
	if err := n.dirs[0].Remove(t.Context(), n.entry(withdrawn)); !errors.Is(err, replica.ErrAway) {
		t.Errorf("Remove while the engine is away: %v, want an error wrapping ErrAway", err)
	}
	time.Sleep(2 * c.Lease)
	for _, d := range n.dirs[1:] {
		if found := n.find(d, withdrawn); !found {
			t.Error("what is known is forgotten while the engine is away")
		}
	}
	n.engine.Start()
	n.wait(c.Lease/3+3*time.Second, "the withdrawal to arrive", func() bool {
		return !n.find(n.dirs[0], withdrawn) && !n.find(n.dirs[1], withdrawn) && !n.find(n.dirs[2], withdrawn)
	})
	n.wait(c.Lease+5*time.Second, "the lease of what nobody renews to end", func() bool {
		return !n.find(n.dirs[0], dead) && !n.find(n.dirs[1], dead) && !n.find(n.dirs[2], dead)
	})
}

// TestStart wants a Directory that is new to find everything within a second of its
// start, and a node's announcement and its withdrawal to be known to all at once.
func TestStart(t *testing.T, start func(t *testing.T) Engine, c Config) {
	c = c.withDefaults()
	n := newNetwork(t, start(t), c)
	n.waitFound(patience, n.dirs...)
	begun := time.Now()
	late := n.engine.Open(t)
	n.waitFound(time.Second-time.Since(begun), late)
	t.Logf("a new directory found %d streams %v after its start", c.Streams, time.Since(begun).Round(time.Millisecond))

	ctx := t.Context()
	e := cdn.Entry{Stream: "late", Node: "late", Publication: "p", Epoch: 1}
	if err := late.Put(ctx, e, time.Hour); err != nil {
		t.Fatal(err)
	}
	n.wait(time.Second, "an announcement to arrive", func() bool { return n.findsAll("late") })
	if err := late.Remove(ctx, e); err != nil {
		t.Fatal(err)
	}
	n.wait(time.Second, "a withdrawal to arrive", func() bool { return n.findsNone("late") })

	if err := late.PutNode(ctx, cdn.NodeEntry{Node: "late", Group: "g"}, time.Hour); err != nil {
		t.Fatal(err)
	}
	n.wait(time.Second, "a node to arrive", func() bool { return n.nodes(late) == 1 && n.nodes(n.dirs[0]) == 1 })
	if err := late.RemoveNode(ctx, "late"); err != nil {
		t.Fatal(err)
	}
	n.wait(time.Second, "a node to leave", func() bool { return n.nodes(late) == 0 && n.nodes(n.dirs[0]) == 0 })
}

// network is Directories on an engine, and what announces streams in them.
type network struct {
	t      *testing.T
	engine Engine
	config Config
	dirs   []Directory
	ctx    context.Context // until the end of the test
	work   sync.WaitGroup
	stops  []context.CancelFunc // of the streams' announcements
}

func newNetwork(t *testing.T, e Engine, c Config) *network {
	n := &network{t: t, engine: e, config: c}
	for range c.Directories {
		n.dirs = append(n.dirs, e.Open(t))
	}
	ctx, cancel := context.WithCancel(context.Background())
	n.ctx = ctx
	t.Cleanup(func() { // ahead of the directories' ends
		cancel()
		n.work.Wait()
	})
	for i := range c.Streams {
		ctx, stop := context.WithCancel(n.ctx)
		n.stops = append(n.stops, stop)
		n.work.Go(func() { n.announce(ctx, i) })
	}
	return n
}

func (n *network) entry(i int) cdn.Entry {
	return cdn.Entry{
		Stream: cdn.StreamID(fmt.Sprintf("live/%d", i)), Node: cdn.NodeID(fmt.Sprintf("n%d", i%len(n.dirs))),
		URL: "https://node.example.com", Publication: "p", Epoch: 7,
		Tracks: []cdn.TrackInfo{{
			ID: "video", Kind: cdn.Video, Codec: cdn.Codec{MimeType: "video/H264", ClockRate: 90000, Fmtp: "packetization-mode=1;profile-level-id=42e01f"},
			Layers: []string{"l", "m", "h"},
		}},
	}
}

// announce does what a node's announcer does.
func (n *network) announce(ctx context.Context, i int) {
	e, third := n.entry(i), n.config.Lease/3
	delay := time.Duration(0)
	sleep(ctx, rand.N(third)) // streams are published at different times
	for ctx.Err() == nil {
		begun := time.Now()
		put, cancel := context.WithTimeout(ctx, third)
		err := n.dirs[i%len(n.dirs)].Put(put, e, n.config.Lease)
		cancel()
		if err == nil {
			delay = 0
			sleep(ctx, time.Until(begun.Add(scale(third, 0.9, 1.1))))
			continue
		}
		if delay == 0 {
			delay = third / 16
		}
		sleep(ctx, scale(delay, 0.5, 1))
		delay = min(2*delay, third)
	}
}

// stop ends the announcement of a stream without withdrawing it.
func (n *network) stop(i int) int {
	n.stops[i]()
	return i
}

func scale(d time.Duration, low, high float64) time.Duration {
	return time.Duration(float64(d) * (low + (high-low)*rand.Float64()))
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func (n *network) find(d Directory, i int) bool {
	entries, err := d.Find(n.ctx, n.entry(i).Stream)
	return err == nil && len(entries) > 0
}

func (n *network) findsAll(id cdn.StreamID) bool {
	for _, d := range n.dirs {
		if entries, err := d.Find(n.ctx, id); err != nil || len(entries) == 0 {
			return false
		}
	}
	return true
}

func (n *network) findsNone(id cdn.StreamID) bool {
	for _, d := range n.dirs {
		if entries, err := d.Find(n.ctx, id); err != nil || len(entries) > 0 {
			return false
		}
	}
	return true
}

func (n *network) nodes(d Directory) int {
	nodes, err := d.Nodes(n.ctx)
	if err != nil {
		return -1
	}
	return len(nodes)
}

// wait waits until f is true, or fails the test.
func (n *network) wait(most time.Duration, what string, f func() bool) {
	n.t.Helper()
	for deadline := time.Now().Add(most); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			n.t.Fatalf("waited %v for %s", most, what)
		}
	}
}

// waitFound waits until all streams are found in dirs.
func (n *network) waitFound(most time.Duration, dirs ...Directory) {
	n.t.Helper()
	missing := 0
	deadline := time.Now().Add(most)
	for {
		missing = 0
		for _, d := range dirs {
			for i := range n.config.Streams {
				if !n.find(d, i) {
					missing++
				}
			}
		}
		if missing == 0 {
			return
		}
		if time.Now().After(deadline) {
			n.t.Fatalf("%d of %d streams are not found after %v", missing, n.config.Streams*len(dirs), most)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (n *network) sent() (sum uint64) {
	for _, d := range n.dirs {
		sum += d.Sent()
	}
	return sum
}

// testOutage lets the engine be away as outage does, which returns when it is back.
func (n *network) testOutage(outage func(Engine)) {
	t, c := n.t, n.config
	n.waitFound(patience, n.dirs...)
	time.Sleep(c.Lease / 3) // what was said at the start is over
	window := max(c.Lease/3, 2*time.Second)
	before := n.sent()
	time.Sleep(2 * window)
	steady := float64(n.sent()-before) / 2

	look := newLooking(n)
	outage(n.engine)
	back := time.Now()
	rate := newRate(n, window)
	late := n.engine.Open(t)
	n.waitFound(c.Lease/3+3*time.Second, late)
	found := time.Since(back)
	n.wait(c.Lease/3+3*time.Second, "all to know that the engine is back", func() bool {
		for _, d := range n.dirs {
			if d.Away() {
				return false
			}
		}
		return true
	})
	time.Sleep(2*c.Lease + c.Lease/3) // what was not renewed is gone by then
	most := rate.stop()
	looks, misses, first := look.stop()
	t.Logf("%d looks, %d misses; a new directory found all %v after the return; messages in %v: %.0f always, %d at most",
		looks, misses, found.Round(time.Millisecond), window, steady, most)
	if misses > 0 {
		t.Errorf("%d of %d looks missed a stream that is announced all the time, the first %v", misses, looks, first)
	}
	if float64(most) > 2*steady {
		t.Errorf("%d messages in %v, more than twice of %.0f", most, window, steady)
	}
}

// looking asks each Directory for each stream all the time.
type looking struct {
	looks, misses atomic.Int64
	first         atomic.Pointer[string]
	cancel        context.CancelFunc
	work          sync.WaitGroup
}

func newLooking(n *network) *looking {
	ctx, cancel := context.WithCancel(n.ctx)
	l := &looking{cancel: cancel}
	begun := time.Now()
	for k, d := range n.dirs {
		l.work.Go(func() {
			for ; ctx.Err() == nil; sleep(ctx, n.config.Look) {
				for i := range n.config.Streams {
					entries, err := d.Find(n.ctx, n.entry(i).Stream)
					l.looks.Add(1)
					if len(entries) == 0 || err != nil {
						l.misses.Add(1)
						text := fmt.Sprintf("at %v by directory %d of stream %d: %v", time.Since(begun).Round(time.Millisecond), k, i, err)
						l.first.CompareAndSwap(nil, &text)
					}
				}
			}
		})
	}
	return l
}

func (l *looking) stop() (looks, misses int64, first string) {
	l.cancel()
	l.work.Wait()
	if text := l.first.Load(); text != nil {
		first = *text
	}
	return l.looks.Load(), l.misses.Load(), first
}

// rate finds the most messages that are sent in a window.
type rate struct {
	most   uint64
	cancel context.CancelFunc
	done   chan struct{}
}

func newRate(n *network, window time.Duration) *rate {
	const steps = 10
	ctx, cancel := context.WithCancel(n.ctx)
	r := &rate{cancel: cancel, done: make(chan struct{})}
	counts, at := []uint64{n.sent()}, []time.Time{time.Now()}
	go func() {
		defer close(r.done)
		for {
			sleep(ctx, window/steps)
			if ctx.Err() != nil {
				return
			}
			counts, at = append(counts, n.sent()), append(at, time.Now())
			for len(at) > 2 && at[len(at)-1].Sub(at[0]) > window+window/steps/2 {
				counts, at = counts[1:], at[1:]
			}
			r.most = max(r.most, counts[len(counts)-1]-counts[0])
		}
	}()
	return r
}

func (r *rate) stop() uint64 {
	r.cancel()
	<-r.done
	return r.most
}
