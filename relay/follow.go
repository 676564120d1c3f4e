package relay

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/deltacdn/delta/cdn"
)

// A running fetch is one that has begun.
type running struct {
	from   cdn.Entry
	cancel context.CancelFunc
	done   chan struct{}
	err    error // once done is closed
}

// begin begins to fetch from a node. The fetch ends with ctx.
func (f *fetch) begin(ctx context.Context, from cdn.Entry, fetch func(context.Context, cdn.Entry, cdn.Request, *cdn.Stream) error) *running {
	r := &running{from: from, done: make(chan struct{})}
	ctx, r.cancel = context.WithCancel(ctx)
	f.relay.work.Go(func() {
		defer close(r.done)
		r.err = fetch(ctx, from, f.request(), f.stream)
	})
	return r
}

// end ends the fetch and waits for that.
func (r *running) end() {
	r.cancel()
	<-r.done
}

func (f *fetch) request() cdn.Request { return cdn.Request{Stream: f.stream.ID(), Path: f.path} }

// fetchFrom fetches from the node of s, and from those that the stream moves to, until it
// does not come any more.
func (f *fetch) fetchFrom(ctx context.Context, s step) outcome {
	o := outcome{from: s.from, standby: s.standby, begun: time.Now()}
	f.use(o.from, o.standby, s.err)
	f.expect(o.from)
	r := f.begin(f.tracing(ctx), o.from, f.relay.config.Fetcher.Fetch)
	for {
		next, err := f.follow(ctx, r, o.standby)
		if next == nil {
			o.err = err
			break
		}
		o.from = next.from
		if o.standby.Place() == next.from.Place() {
			o.standby = r.from
		}
		f.use(o.from, o.standby, errMoved)
		r = next
	}
	if ctx.Err() == nil && !errors.Is(o.err, cdn.ErrNoCommonCodec) {
		report(f.relay.routes.links, o.from, o.err, "stream", string(f.stream.ID()))
	}
	return o
}

// A following is the wait for the end of a fetch, in which the stream may move to another
// node. It belongs to the goroutine of the fetch, but for what helpers do.
type following struct {
	fetch   *fetch
	ctx     context.Context // ends with the wait
	current *running
	standby cdn.Entry      // without URL: none
	helpers sync.WaitGroup // what keeps the standby ready, a probe and a move

	watchdog  watchdog
	probed    chan error // the result of the newest probe; room for one
	stopProbe context.CancelFunc

	scout scout
	moved chan *running // the result of a move, nil if it failed; room for one
}

// follow waits for the end of a fetch, and returns why it ended, or the fetch that has
// taken its place. A standby is kept ready, and makes silence a reason to leave.
func (f *fetch) follow(ctx context.Context, r *running, standby cdn.Entry) (next *running, err error) {
	ctx, cancel := context.WithCancel(ctx)
	now := time.Now()
	w := &following{
		fetch: f, ctx: ctx, current: r, standby: standby, watchdog: newWatchdog(now), stopProbe: func() {},
		scout: newScout(now, f.jitter.Below), moved: make(chan *running, 1),
	}
	if links := f.relay.links; links != nil && standby.URL != "" {
		w.helpers.Go(func() { links.Keep(ctx, standby) })
	}
	next, err = w.wait()
	cancel()
	w.helpers.Wait()
	if next == nil {
		select {
		case next = <-w.moved: // it succeeded as the other ended
		default:
		}
	}
	return next, err
}

func (w *following) wait() (next *running, err error) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		changed, leaving := w.fetch.stream.Changed(), w.fetch.relay.routes.links.LeavingChanged()
		now := time.Now()
		at, left := w.watch(now)
		if left {
			w.current.end()
			return nil, &cdn.Error{Op: "fetch", Stream: w.fetch.stream.ID(), Node: w.current.from.Node, Err: errSilent}
		}
		if search := w.search(now); search.Before(at) {
			at = search
		}
		timer.Reset(time.Until(at))
		select {
		case <-timer.C:
		case <-changed:
		case <-leaving:
		case err := <-w.probed:
			w.watchdog.probed(time.Now(), w.fetch.sight(), err)
		case next := <-w.moved:
			if next != nil {
				<-w.current.done // once nothing of the stream comes from there any more
				return next, nil
			}
			w.scout.busy = false
		case <-w.current.done:
			return nil, w.current.err
		case <-w.ctx.Done():
			w.current.end()
			return nil, w.current.err
		}
	}
}

// never is later than any deadline of a wait.
const never = time.Hour

// watch does what the watchdog says. It returns when to look again, and whether the
// upstream is to be left.
func (w *following) watch(now time.Time) (next time.Time, leave bool) {
	if w.standby.URL == "" {
		return now.Add(never), false
	}
	was := w.watchdog.state
	state, next := w.watchdog.look(now, w.fetch.sight())
	switch {
	case state == probing && was == quiet:
		w.probe()
	case state == quiet:
		w.stopProbe()
	}
	return next, state == left
}

// probe begins to find out whether the standby has more.
func (w *following) probe() {
	probed := make(chan error, 1)
	w.probed = probed
	links := w.fetch.relay.links
	if links == nil {
		probed <- cdn.ErrUnsupported
		return
	}
	ctx, cancel := context.WithTimeout(w.ctx, probeFor)
	w.stopProbe = cancel
	w.helpers.Go(func() {
		defer cancel()
		probed <- links.Probe(ctx, w.standby, w.fetch.request(), w.fetch.stream)
	})
}
