package cdntest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/deltacdn/delta/cdn"
)

// An Engine is what the directories of several nodes have in common (a server, a cluster,
// a network of subscriptions, the memory of a process), and what a test can do to it. Each
// function gets the t of the subtest, and fails that if it cannot do its work.
//
// A function that an engine has no way to offer is nil, and NotCovered says why: the
// subtests that need it are skipped with that reason, and [TestDirectoryEngine] fails if
// there is none. The functions that undo are called once, by the same goroutine.
type Engine struct {
	// Open returns the directory of one more node, with a connection of its own. What
	// closes it is registered with t. It is called while the engine runs. Required.
	Open func(t *testing.T) cdn.Directory
	// OpenSkewed is as Open, for a node whose wall clock is ahead of the others' by so
	// much; behind them, if that is negative.
	OpenSkewed func(t *testing.T, ahead time.Duration) cdn.Directory

	// Freeze has the engine take nothing and answer nothing while its connections stand,
	// as SIGSTOP does, until thaw is called.
	Freeze func(t *testing.T) (thaw func())
	// Kill ends the engine and its connections without a word, as SIGKILL does. restart
	// starts it again at the same place, with nothing stored, and returns when it takes
	// connections.
	Kill func(t *testing.T) (restart func())
	// Deafen has d, which Open returned, learn nothing of what other nodes put and
	// remove, as if its subscription had been lost on the way, until hear is called: what
	// is told meanwhile is not told again by that. What d itself puts still arrives.
	Deafen func(t *testing.T, d cdn.Directory) (hear func())
	// Persist has the engine forget its TTLs: what it stores now stays for good.
	Persist func(t *testing.T)
	// Record notes what the engine stores, or, if it stores nothing, what it carried last
	// for each entry. replay brings that back: the engine has it again, or carries it
	// again, and has what came since no more than it happens to.
	Record func(t *testing.T) (replay func())
	// Messages returns how many messages, or commands, the engine has taken and sent so
	// far. After a restart it may begin with 0.
	Messages func(t *testing.T) uint64

	// NotCovered says, by the names of the functions above that are nil, why.
	NotCovered map[string]string

	// Lease is how long announcements last. If zero, 15 s.
	Lease time.Duration
	// Away is how long the engine is frozen, and stays killed: longer than a Lease. If
	// zero, two of them: 30 s.
	Away time.Duration
	// Streams is how many streams run while it is. If zero, 1000.
	Streams int
}

// The spans in which things have to happen, beyond what leases say.
const (
	soon   = 3 * time.Second // what the engine is told reaches all nodes; what is to happen after a return
	fresh  = time.Second     // a node that starts finds everything
	answer = time.Second     // a question takes no longer, whatever has become of the engine
	look   = 50 * time.Millisecond
)

// TestDirectoryEngine tests how the directories of several nodes behave on one engine, and
// when that fails: what makes soft state safe. It tests, beside what [TestDirectory] does,
// that
//
//   - what one node puts or removes is found so by all within 3 s, and a node that starts
//     finds everything within 1 s;
//   - leases are judged by the reader: an entry is gone a lease after it was last renewed,
//     though the engine keeps it, and to read it again is no renewal; a node that starts
//     trusts what it reads for a lease at most. Clocks may be an hour apart;
//   - an old value that comes back does not stand against a newer one, and does not live
//     longer than its lease;
//   - a gap in what a node is told is made up for by the next renewals: within a third of
//     a lease and 3 s;
//   - of several nodes that write at once one wins, and all nodes agree which;
//   - while the engine is away, questions are answered within 1 s by what was known last,
//     and fail for no stream that this node knew. A stream that is announced all the time
//     is found all the time: while the engine is frozen or gone, and at its return, however
//     empty it is then; nor does a [cdn.Watcher] tell that it is gone;
//   - everything is found by everybody within a third of a lease and 3 s of the return, by
//     no more than twice as many messages as it always takes; what has ended meanwhile is
//     gone within a lease and 3 s.
//
// Streams are announced by real nodes on a virtual network ([cdn.Node.Announce]).
//
// start is called once for each subtest, with its t, and returns an engine of its own that
// runs; what ends it is registered with t. The subtests run in parallel. With the default
// spans they take two minutes; for real servers a Lease of 3 s and 200 Streams are a good
// start:
//
//	cdntest.TestDirectoryEngine(t, func(t *testing.T) cdntest.Engine {
//		s := startServer(t) // a child process, killed by t.Cleanup
//		return cdntest.Engine{
//			Open:   func(t *testing.T) cdn.Directory { return open(t, s.addr) },
//			Freeze: func(t *testing.T) func() { s.signal(t, syscall.SIGSTOP); return func() { s.signal(t, syscall.SIGCONT) } },
//			…
//			NotCovered: map[string]string{"Persist": "it stores nothing"},
//			Lease:      3 * time.Second, Streams: 200,
//		}
//	})
func TestDirectoryEngine(t *testing.T, start func(t *testing.T) Engine) {
	c := newCoverage(t)
	for _, test := range engineTests() {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			skipFor(t, c.run(t, test, start))
		})
	}
}

// TestDirectoryEngineInBubble is [TestDirectoryEngine] for engines that live in the memory
// of one process, as [TestDirectoryInBubble] is. start is called within the bubble.
func TestDirectoryEngineInBubble(t *testing.T, start func(t *testing.T) Engine) {
	c := newCoverage(t)
	for _, test := range engineTests() {
		t.Run(test.name, func(t *testing.T) {
			var why string
			synctest.Test(t, func(t *testing.T) { why = c.run(t, test, start) })
			skipFor(t, why) // out here: a bubble that is skipped counts as passed
		})
	}
}

type engineCase struct {
	name  string
	needs []string // functions of the Engine
	run   func(d *engineTest)
}

func engineTests() []engineCase {
	return []engineCase{
		{"OthersFind", nil, othersFind},
		{"FreshNodeFinds", nil, freshNodeFinds},
		{"TwoWriters", nil, twoWriters},
		{"TwoWritersOfOneNode", nil, twoWritersOfOneNode},
		{"LeaseNotKept", []string{"Persist"}, leaseNotKept},
		{"OldValueReturns", []string{"Record"}, oldValueReturns},
		{"RemovedValueReturns", []string{"Record"}, removedValueReturns},
		{"WatchGap", []string{"Deafen"}, watchGap},
		{"ClocksApart", []string{"OpenSkewed"}, clocksApart},
		{"Frozen", []string{"Freeze"}, func(d *engineTest) { d.outage(d.e.Freeze) }},
		{"RestartedEmpty", []string{"Kill"}, func(d *engineTest) { d.outage(d.e.Kill) }},
		{"MessagesAfterFreeze", []string{"Freeze", "Messages"}, func(d *engineTest) { d.messages(d.e.Freeze) }},
		{"MessagesAfterRestart", []string{"Kill", "Messages"}, func(d *engineTest) { d.messages(d.e.Kill) }},
		{"EndedContextWhileFrozen", []string{"Freeze"}, func(d *engineTest) { d.endedContexts(d.e.Freeze) }},
		{"EndedContextWhileGone", []string{"Kill"}, func(d *engineTest) { d.endedContexts(d.e.Kill) }},
	}
}

// missing returns which functions the engine lacks.
func (e *Engine) missing() map[string]bool {
	return map[string]bool{
		"Open": e.Open == nil, "OpenSkewed": e.OpenSkewed == nil, "Freeze": e.Freeze == nil, "Kill": e.Kill == nil,
		"Deafen": e.Deafen == nil, "Persist": e.Persist == nil, "Record": e.Record == nil, "Messages": e.Messages == nil,
	}
}

// check returns what is wrong with an engine.
func (e *Engine) check() error {
	missing := e.missing()
	for name, why := range e.NotCovered {
		switch is, known := missing[name]; {
		case !known:
			return fmt.Errorf("the Engine's NotCovered names %q, which is no function of an Engine", name)
		case !is:
			return fmt.Errorf("the Engine's NotCovered says why there is no %s, but there is one", name)
		case why == "":
			return fmt.Errorf("the Engine's NotCovered does not say why there is no %s", name)
		}
	}
	for name, is := range missing {
		if is && (e.NotCovered[name] == "" || name == "Open") {
			return fmt.Errorf("of the Engine %s is nil, and NotCovered does not say why", name)
		}
	}
	if e.Away <= e.Lease {
		return fmt.Errorf("the Engine's Away is %v, which must be longer than the Lease, %v", e.Away, e.Lease)
	}
	return nil
}

// coverage is what an engine's tests have shown.
type coverage struct {
	mu      sync.Mutex
	covered []string
	not     []string
}

// newCoverage returns a coverage that is logged when all subtests of t have ended.
func newCoverage(t *testing.T) *coverage {
	c := &coverage{}
	t.Cleanup(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		slices.Sort(c.not)
		t.Logf("of the engine's %d cases %d are covered", len(c.covered)+len(c.not), len(c.covered))
		for _, s := range c.not {
			t.Logf("NOT COVERED: %s", s)
		}
	})
	return c
}

func skipFor(t *testing.T, why string) {
	if why != "" {
		t.Skipf("NOT COVERED: %s", why)
	}
}

// run runs a subtest, or returns why the engine cannot be tested so.
func (c *coverage) run(t *testing.T, test engineCase, start func(t *testing.T) Engine) (why string) {
	e := start(t)
	if e.Lease <= 0 {
		e.Lease = 15 * time.Second
	}
	if e.Away <= 0 {
		e.Away = 2 * e.Lease
	}
	if e.Streams <= 0 {
		e.Streams = 1000
	}
	if err := e.check(); err != nil {
		t.Fatal(err)
	}
	var lacks []string
	missing := e.missing()
	for _, name := range test.needs {
		if missing[name] {
			lacks = append(lacks, fmt.Sprintf("the engine has no %s: %s", name, e.NotCovered[name]))
		}
	}
	why = strings.Join(lacks, "; ")
	c.note(test.name, why)
	if why == "" {
		test.run(newEngineTest(t, e))
	}
	return why
}

func (c *coverage) note(name, why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if why != "" {
		c.not = append(c.not, name+": "+why)
		return
	}
	c.covered = append(c.covered, name)
}
