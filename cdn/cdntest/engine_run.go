package cdntest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/deltacdn/delta/cdn"
)

// engineTest is one subtest: an engine, and names of its own.
type engineTest struct {
	t       *testing.T
	e       Engine
	prefix  string
	network *Network       // made for the first node
	calls   sync.WaitGroup // of directories that may hang
}

func newEngineTest(t *testing.T, e Engine) *engineTest {
	d := &engineTest{t: t, e: e, prefix: "cdntest-" + strings.ToLower(rand.Text()[:10])}
	t.Cleanup(func() { // what hung returns when the engine is back, or its directory is closed
		returned := make(chan struct{})
		go func() {
			defer close(returned)
			d.calls.Wait()
		}()
		select {
		case <-returned:
		case <-time.After(patience):
			t.Error("a call to a directory has not returned after the directory was closed")
		}
	})
	return d
}

func (d *engineTest) stream(name string) cdn.StreamID { return cdn.StreamID(d.prefix + "/" + name) }

func (d *engineTest) nodeID(name string) cdn.NodeID { return cdn.NodeID(d.prefix + "-" + name) }

func (d *engineTest) entry(stream, node string, epoch uint64) cdn.Entry {
	return cdn.Entry{
		Stream: d.stream(stream), Node: d.nodeID(node), URL: "https://" + node + ".example.com", Publication: "p-" + stream, Epoch: epoch,
	}
}

// open returns the directory of one more node.
func (d *engineTest) open() cdn.Directory {
	d.t.Helper()
	return d.checked(d.e.Open(d.t))
}

func (d *engineTest) checked(dir cdn.Directory) cdn.Directory {
	d.t.Helper()
	if dir == nil {
		d.t.Fatal("Open returned no directory")
	}
	return dir
}

func (d *engineTest) put(dir cdn.Directory, e cdn.Entry, lease time.Duration) {
	d.t.Helper()
	if err := dir.Put(d.t.Context(), e, lease); err != nil {
		d.t.Fatalf("Put of %s by %s: %v", e.Stream, e.Node, err)
	}
}

func (d *engineTest) remove(dir cdn.Directory, e cdn.Entry) {
	d.t.Helper()
	if err := dir.Remove(d.t.Context(), e); err != nil {
		d.t.Fatalf("Remove of %s by %s: %v", e.Stream, e.Node, err)
	}
}

// find asks with the time that a question may take.
func (d *engineTest) find(dir cdn.Directory, id cdn.StreamID) (entries []cdn.Entry, err error) {
	ctx, cancel := context.WithTimeout(d.t.Context(), answer)
	defer cancel()
	return bounded(d, func() ([]cdn.Entry, error) { return dir.Find(ctx, id) })
}

func (d *engineTest) findNodes(dir cdn.NodeDirectory) ([]cdn.NodeEntry, error) {
	ctx, cancel := context.WithTimeout(d.t.Context(), answer)
	defer cancel()
	return bounded(d, func() ([]cdn.NodeEntry, error) { return dir.Nodes(ctx) })
}

var errHangs = fmt.Errorf("it goes on %v after the end of its context", answer)

// bounded calls f, whose context ends after answer, and does not wait for what does not
// heed that.
func bounded[T any](d *engineTest, f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	d.calls.Go(func() {
		value, err := f()
		done <- result{value, err}
	})
	limit := time.NewTimer(2 * answer)
	defer limit.Stop()
	select {
	case r := <-done:
		return r.value, r.err
	case <-limit.C:
		var none T
		return none, errHangs
	}
}

// has returns an error unless dir has the entries of just these nodes.
func (d *engineTest) has(dir cdn.Directory, stream string, nodes ...string) error {
	entries, err := d.find(dir, d.stream(stream))
	if err != nil {
		return fmt.Errorf("finding %q: %w", stream, err)
	}
	want := make([]cdn.NodeID, len(nodes))
	for i, n := range nodes {
		want[i] = d.nodeID(n)
	}
	if !named(entries, want) {
		return fmt.Errorf("of %q found %+v, want the entries of %q", stream, entries, nodes)
	}
	return nil
}

// within waits until check returns nil: until deadline at most.
func (d *engineTest) within(deadline time.Time, what string, check func() error) {
	d.t.Helper()
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			d.t.Fatalf("%s: not in time: %v", what, err)
		}
		time.Sleep(look)
	}
}

// until wants check to return nil all the time.
func (d *engineTest) until(end time.Time, what string, check func() error) {
	d.t.Helper()
	for begun := time.Now(); time.Now().Before(end); time.Sleep(look) {
		if err := check(); err != nil {
			d.t.Fatalf("%s: after %v: %v", what, time.Since(begun), err)
		}
	}
}

// all returns the first error of several checks.
func all(checks ...func() error) func() error {
	return func() error {
		for _, check := range checks {
			if err := check(); err != nil {
				return err
			}
		}
		return nil
	}
}

// has1 is has, for [all].
func (d *engineTest) has1(dir cdn.Directory, stream string, nodes ...string) func() error {
	return func() error { return d.has(dir, stream, nodes...) }
}

// keep renews an entry at each third of its lease, as nodes do, until stop is called or
// the test ends.
func (d *engineTest) keep(dir cdn.Directory, e cdn.Entry) (stop func()) {
	d.t.Helper()
	return d.renew(func(ctx context.Context) error { return dir.Put(ctx, e, d.e.Lease) })
}

func (d *engineTest) keepNode(dir cdn.NodeDirectory, n cdn.NodeEntry) (stop func()) {
	d.t.Helper()
	return d.renew(func(ctx context.Context) error { return dir.PutNode(ctx, n, d.e.Lease) })
}

func (d *engineTest) renew(put func(context.Context) error) (stop func()) {
	d.t.Helper()
	if err := put(d.t.Context()); err != nil {
		d.t.Fatalf("Put: %v", err)
	}
	ctx, cancel := context.WithCancel(d.t.Context())
	var work sync.WaitGroup
	work.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(d.e.Lease / 3):
			}
			if err := put(ctx); err != nil && ctx.Err() == nil {
				d.t.Errorf("a renewal: %v", err)
			}
		}
	})
	stop = func() {
		cancel()
		work.Wait()
	}
	d.t.Cleanup(stop)
	return stop
}

// once returns f for a defer: it is called once, however often it is asked for.
func once(f func()) func() { return sync.OnceFunc(f) }

// An announcer is a node that announces streams on the engine.
type announcer struct {
	d       *engineTest
	dir     cdn.Directory
	node    *cdn.Node
	streams []cdn.StreamID
}

// announce starts nodes on a virtual network, which announce n streams between them.
func (d *engineTest) announce(nodes, n int) []*announcer {
	d.t.Helper()
	all := make([]*announcer, nodes)
	for i := range all {
		all[i] = d.announcer(fmt.Sprintf("origin-%d", i), n/nodes+1)
		for j := i; j < n; j += nodes {
			all[i].publish(fmt.Sprintf("stream-%d", j))
		}
	}
	return all
}

func (d *engineTest) announcer(name string, streams int) *announcer {
	d.t.Helper()
	dir := d.open()
	if d.network == nil {
		d.network = NewNetwork(d.t, NetworkConfig{Seed: 1})
	}
	host := d.network.Host(name, Path{})
	node, err := cdn.Listen(cdn.Config{
		ID: d.nodeID(name), Net: host.Net(), Addr: netip.AddrPortFrom(host.IP(), 7000).String(), URL: "http://" + name,
		Directory: dir, Lease: d.e.Lease, Limits: cdn.Limits{Streams: streams + 8},
	})
	if err != nil {
		d.t.Fatal(err)
	}
	a := &announcer{d: d, dir: dir, node: node}
	d.t.Cleanup(a.close)
	node.Serve(cdn.RoleRelay)
	return a
}

// publish announces one more stream.
func (a *announcer) publish(name string) {
	a.d.t.Helper()
	s, err := a.node.NewStream(a.d.stream(name))
	if err != nil {
		a.d.t.Fatal(err)
	}
	a.node.Announce(s, cdn.Entry{Publication: "p-" + name, Epoch: 1}, func() {
		a.d.t.Errorf("the announcement of %s was refused as stale", name)
	})
	a.streams = append(a.streams, s.ID())
}

// close ends the node, which tries to take back what it announces.
func (a *announcer) close() {
	if err := a.node.Close(); err != nil {
		a.d.t.Errorf("closing a node: %v", err)
	}
}

// streamsOf returns what nodes announce.
func streamsOf(nodes ...*announcer) (all []cdn.StreamID) {
	for _, a := range nodes {
		all = append(all, a.streams...)
	}
	return all
}

// finds returns an error unless dir finds all of the streams, and the nodes if it records
// nodes.
func (d *engineTest) finds(dir cdn.Directory, streams []cdn.StreamID, nodes ...*announcer) error {
	var lost []cdn.StreamID
	for _, id := range streams {
		entries, err := d.find(dir, id)
		if err != nil {
			return fmt.Errorf("finding %q: %w", id, err)
		}
		if len(entries) == 0 {
			lost = append(lost, id)
		}
	}
	if len(lost) > 0 {
		return fmt.Errorf("%d of %d streams are not found, such as %q", len(lost), len(streams), lost[0])
	}
	return d.findsNodes(dir, nodes...)
}

func (d *engineTest) findsNodes(dir cdn.Directory, nodes ...*announcer) error {
	n, ok := dir.(cdn.NodeDirectory)
	if !ok {
		return nil
	}
	all, err := d.findNodes(n)
	if err != nil {
		return fmt.Errorf("finding nodes: %w", err)
	}
	for _, a := range nodes {
		if !slices.ContainsFunc(all, func(n cdn.NodeEntry) bool { return n.Node == a.node.ID() }) {
			return fmt.Errorf("of %d nodes found, none is %s", len(all), a.node.ID())
		}
	}
	return nil
}

// findsNone returns an error if dir finds one of the streams, or the node.
func (d *engineTest) findsNone(dir cdn.Directory, a *announcer) error {
	for _, id := range a.streams {
		entries, err := d.find(dir, id)
		if err != nil || len(entries) > 0 {
			return fmt.Errorf("of %q found %s, want none: its node has ended", id, described(entries, err))
		}
	}
	if _, ok := dir.(cdn.NodeDirectory); ok && d.findsNodes(dir, a) == nil {
		return fmt.Errorf("node %s is found, which has ended", a.node.ID())
	}
	return nil
}

// A poll asks a directory for streams that must be found all the time, each once a lease.
type poll struct {
	d       *engineTest
	name    string
	dir     cdn.Directory
	streams []cdn.StreamID
	nodes   []*announcer
	cancel  context.CancelFunc
	work    sync.WaitGroup
}

// poll begins to ask, until end is called or the test ends.
func (d *engineTest) poll(name string, dir cdn.Directory, streams []cdn.StreamID, nodes ...*announcer) *poll {
	p := &poll{d: d, name: name, dir: dir, streams: streams, nodes: nodes}
	ctx, cancel := context.WithCancel(d.t.Context())
	p.cancel = cancel
	p.work.Go(func() { p.run(ctx) })
	d.t.Cleanup(p.end)
	return p
}

func (p *poll) end() {
	p.cancel()
	p.work.Wait()
}

func (p *poll) run(ctx context.Context) {
	every := p.d.e.Lease / time.Duration(len(p.streams)+1)
	for i := 0; ctx.Err() == nil; i++ {
		begun := time.Now()
		id := p.streams[i%len(p.streams)]
		entries, err := p.d.find(p.dir, id)
		if ctx.Err() == nil {
			p.judge(id, entries, err, time.Since(begun))
		}
		if i%len(p.streams) == 0 && ctx.Err() == nil {
			if err := p.d.findsNodes(p.dir, p.nodes...); err != nil && ctx.Err() == nil {
				p.d.t.Errorf("node %s: %v", p.name, err)
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(every - time.Since(begun)):
		}
	}
}

// sweep asks for all at once.
func (p *poll) sweep(when string) {
	p.d.t.Helper()
	for _, id := range p.streams {
		begun := time.Now()
		entries, err := p.d.find(p.dir, id)
		if !p.judge(id, entries, err, time.Since(begun)) {
			p.d.t.Errorf("that was %s", when)
			return
		}
	}
	if err := p.d.findsNodes(p.dir, p.nodes...); err != nil {
		p.d.t.Errorf("%s: node %s: %v", when, p.name, err)
	}
}

func (p *poll) judge(id cdn.StreamID, entries []cdn.Entry, err error, took time.Duration) (good bool) {
	switch {
	case err != nil:
		p.d.t.Errorf("node %s: Find of %s, which was known and is announced all the time: after %v: %v", p.name, id, took, err)
	case len(entries) == 0:
		p.d.t.Errorf("node %s: %s is not found, though it is announced all the time", p.name, id)
	case took > answer+look:
		p.d.t.Errorf("node %s: Find of %s took %v", p.name, id, took)
	default:
		return true
	}
	p.cancel() // one fault says enough
	return false
}

// stale returns an error unless err says that an entry is stale.
func stale(err error) error {
	switch {
	case err == nil:
		return errors.New("a lower epoch is taken")
	case !errors.Is(err, cdn.ErrStale):
		return fmt.Errorf("a lower epoch is refused, but not as stale: %w", err)
	}
	return nil
}

// described is what a question was answered, for messages.
func described(answer any, err error) string {
	if err != nil {
		return fmt.Sprintf("the error %v", err)
	}
	return fmt.Sprintf("%+v", answer)
}
