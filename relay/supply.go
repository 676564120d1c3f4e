package relay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/deltacdn/delta/cdn"
)

// upstream is which node a stream comes from, and which would be next.
type upstream struct {
	from, standby cdn.Entry // without URL: none
	since         time.Time
	changes       int
}

// A Keeper is a [Fetcher] that can be ready for a node before anything is wanted
// of it: Keep sees to that until ctx ends.
type Keeper interface {
	Keep(ctx context.Context, to cdn.Entry)
}

// A Reacher is a [Fetcher] that may know whether a node can be reached, before
// anything is wanted of it. Those that cannot are asked last.
type Reacher interface {
	Reaches(to cdn.Entry) (yes, known bool)
}

// A Prober is a [Fetcher] that can find out whether a node has more of a stream than
// what comes from another, beside that one. Without it, or where Probe fails with an
// error wrapping [cdn.ErrUnsupported], a silent node is left for the next, unless it
// says that the publisher is there.
type Prober interface {
	// Probe returns nil as soon as something comes that s does not have.
	Probe(ctx context.Context, from cdn.Entry, r cdn.Request, s *cdn.Stream) error
}

const (
	// A node from which nothing comes for so long is left if there is another that
	// has more.
	silentFor = 1500 * time.Millisecond
	// probeFor is how long the other one is tried, and mostProbes the longest pause
	// between two trials, if it is as silent: then it is the publisher who is.
	probeFor   = 2 * time.Second
	mostProbes = 8 * time.Second
	// aMoment is by how much later than the other one a node may be heard again.
	aMoment = 100 * time.Millisecond
	// What came for so long was no failure: those that failed before may be asked
	// again.
	steadyAfter = time.Second
	// refreshTimeout is how long the directory may take to be asked again, while
	// nothing comes.
	refreshTimeout = 250 * time.Millisecond
)

var errSilent = fmt.Errorf("%w: nothing comes", cdn.ErrTimeout)

// supply has the stream come from one node after another, without a pause, until
// none of those that the directory names gives it any more, and returns why. If
// the directory cannot be asked, it is those that it named last.
// That one node says that the stream has ended does not mean that the others,
// which a redundant publisher may be sending to, have lost it.
func (f *fetch) supply(ctx context.Context) error {
	entries, err := f.find(ctx, f.relay.config.FindTimeout)
	if err != nil && (len(entries) == 0 || ctx.Err() != nil) {
		return err
	}
	defer f.use(cdn.Entry{}, cdn.Entry{}, nil)
	var last error = &cdn.Error{Op: "fetch", Stream: f.stream.ID(), Err: cdn.ErrNotFound}
	var before error // why the one before was left
	for len(entries) > 0 {
		e := entries[0]
		entries = append(entries[1:], e)
		var standby cdn.Entry // one that failed before may be back by then
		if others := append(slices.Clone(entries), f.known...); len(without(others, e)) > 0 {
			standby = without(others, e)[0]
		}
		begun := time.Now()
		f.use(e, standby, before)
		err := f.fetchFrom(ctx, e, standby)
		if ctx.Err() != nil || errors.Is(err, cdn.ErrNoCommonCodec) {
			return err
		}
		f.relay.refused(e, f.stream.ID(), err)
		before = err
		if f.lively().Sub(begun) > steadyAfter {
			last = err
			entries, _ = f.find(ctx, refreshTimeout) // the directory may know better; without it the standby is known
			entries = without(entries, e)
			if errors.Is(err, errSilent) { // it is the standby that has more
				entries = append([]cdn.Entry{standby}, without(entries, standby)...)
			}
			continue
		}
		entries = entries[:len(entries)-1]
		if worse(err, last) {
			last = err
		}
	}
	return last
}

// find asks the directory, and leaves out whom the wish came through. With an
// error it returns what it said before.
func (f *fetch) find(ctx context.Context, timeout time.Duration) ([]cdn.Entry, error) {
	id := f.stream.ID()
	find, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	entries, err := f.relay.config.Directory.Find(find, id)
	if err != nil {
		if find.Err() != nil {
			err = fmt.Errorf("%w: %w", cdn.ErrTimeout, err)
		}
		return f.relay.shutLast(f.known), &cdn.Error{Op: "find", Stream: id, Err: err}
	}
	f.known = slices.DeleteFunc(slices.Clone(entries), func(e cdn.Entry) bool {
		return e.Node != "" && slices.Contains(f.path, e.Node)
	})
	return f.relay.shutLast(f.known), nil
}

// shutLast returns entries, in their order but for those that are known not to be
// reached.
func (r *Relay) shutLast(entries []cdn.Entry) []cdn.Entry {
	var open, shut []cdn.Entry
	reacher, ok := r.config.Fetcher.(Reacher)
	for _, e := range entries {
		if ok {
			if yes, known := reacher.Reaches(e); known && !yes {
				shut = append(shut, e)
				continue
			}
		}
		open = append(open, e)
	}
	return append(open, shut...)
}

func without(entries []cdn.Entry, left cdn.Entry) []cdn.Entry {
	return slices.DeleteFunc(slices.Clone(entries), func(e cdn.Entry) bool { return e.URL == left.URL && e.Node == left.Node })
}

// fetchFrom has the stream come from one node until it does not any more. A
// standby is kept ready, and makes silence a reason to leave.
func (f *fetch) fetchFrom(ctx context.Context, e, standby cdn.Entry) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if standby.URL != "" {
		if k, ok := f.relay.config.Fetcher.(Keeper); ok {
			f.relay.work.Go(func() { k.Keep(ctx, standby) })
		}
		f.relay.work.Go(func() { f.watch(ctx, cancel, standby) })
	}
	err := f.relay.config.Fetcher.Fetch(ctx, e, f.request(), f.stream)
	if errors.Is(context.Cause(ctx), errSilent) {
		return &cdn.Error{Op: "fetch", Stream: f.stream.ID(), Node: e.Node, Err: errSilent}
	}
	return err
}

// watch ends a fetch from which nothing comes, once the standby has more.
func (f *fetch) watch(ctx context.Context, cancel context.CancelCauseFunc, standby cdn.Entry) {
	tick := time.NewTicker(silentFor / 6)
	defer tick.Stop()
	begun, pause, again := time.Now(), silentFor, time.Time{}
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			last := newest(f.stream)
			switch {
			case now.Sub(begun) <= silentFor || now.Before(again) && !f.absent(now):
				continue
			case now.Sub(last) <= silentFor:
				pause = silentFor
				continue
			case last.Before(begun) && !f.present(), f.absent(now), f.hasMore(ctx, standby, last): // there is nothing to lose, or more to have
				cancel(errSilent)
				return
			}
			again = time.Now().Add(pause)
			pause = min(2*pause, mostProbes)
		}
	}
}

// present reports whether the node that the stream comes from says that its
// sender is there.
func (f *fetch) present() bool {
	s, _ := f.stream.Sender()
	return s == cdn.SenderPresent
}

// absent reports whether that node has said for silentFor that it has no input
// itself: in less it would have another, if it could.
func (f *fetch) absent(now time.Time) bool {
	s, present := f.stream.Sender()
	return s == cdn.SenderAbsent && !present.IsZero() && now.Sub(present) > silentFor
}

// hasMore reports whether the standby has more than what came last, from the node
// that is silent. If that one is heard again meanwhile, or a moment later, it stays.
func (f *fetch) hasMore(ctx context.Context, standby cdn.Entry, last time.Time) bool {
	prober, ok := f.relay.config.Fetcher.(Prober)
	if !ok {
		return !f.present()
	}
	probing, cancel := context.WithTimeout(ctx, probeFor)
	defer cancel()
	probed := make(chan error, 1)
	f.relay.work.Go(func() { probed <- prober.Probe(probing, standby, f.request(), f.stream) })
	heard := make(chan struct{})
	f.relay.work.Go(func() { f.listen(probing, last, heard) })
	select {
	case <-heard:
		cancel()
		<-probed
		return false
	case err := <-probed:
		if err != nil {
			return errors.Is(err, cdn.ErrUnsupported) && !f.present()
		}
	}
	select {
	case <-heard:
		return false
	case <-time.After(aMoment):
		return ctx.Err() == nil
	}
}

// listen closes heard when something comes after what came last.
func (f *fetch) listen(ctx context.Context, last time.Time, heard chan<- struct{}) {
	tick := time.NewTicker(aMoment / 4)
	defer tick.Stop()
	for !newest(f.stream).After(last) {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
	close(heard)
}

func (f *fetch) request() cdn.Request { return cdn.Request{Stream: f.stream.ID(), Path: f.path} }

// use notes, and tells, which node the stream is to come from.
func (f *fetch) use(from, standby cdn.Entry, why error) {
	f.relay.mu.Lock()
	u := &f.upstream
	u.from, u.standby, u.since = from, standby, time.Now()
	if from.URL != "" {
		u.changes++
	}
	f.relay.mu.Unlock()
	if from.URL != "" {
		f.relay.node.Emit(cdn.UpstreamChanged{
			Stream: f.stream.ID(), Node: from.Node, URL: from.URL, Standby: standby.URL, Err: why,
		})
	}
}

// FetchStats is a snapshot of one fetched stream.
type FetchStats struct {
	Stream   cdn.StreamID
	Node     cdn.NodeID // that it comes from, or should; "" if that is not known
	URL      string     // of its signaling; "" while there is none
	Standby  string     // URL of the node that would be next; "" if there is none
	Since    time.Time  // that it should come from there
	Upstream int        // how many it has come from, or should have, one after the other
	Wanted   int        // open subscriptions
}

// Stats returns a snapshot of what is fetched.
func (r *Relay) Stats() (all []FetchStats) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, f := range r.fetches {
		u := f.upstream
		st := FetchStats{
			Stream: id, Node: u.from.Node, URL: u.from.URL, Standby: u.standby.URL, Since: u.since, Upstream: u.changes, Wanted: f.wants,
		}
		if in, ok := f.stream.Input(); ok && st.Node == "" && len(in.Path) > 0 {
			st.Node = in.Path[len(in.Path)-1]
		}
		all = append(all, st)
	}
	slices.SortFunc(all, func(a, b FetchStats) int { return strings.Compare(string(a.Stream), string(b.Stream)) })
	return all
}
