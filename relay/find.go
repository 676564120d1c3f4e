package relay

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/deltacdn/delta/cdn"
)

// find does what doFind asks for: it returns the nodes that the stream may be fetched
// from, the best first. With an error they are those known from earlier.
func (f *fetch) find(ctx context.Context, s step) ([]cdn.Entry, error) {
	known, err := f.ask(ctx, s.within)
	if len(s.named) > 0 {
		known = f.rank(f.withNamed(s.named))
	}
	return f.relay.unreachableLast(known), err
}

// ask asks the directory. The nodes that the request came through are left out.
func (f *fetch) ask(ctx context.Context, timeout time.Duration) ([]cdn.Entry, error) {
	id := f.stream.ID()
	find, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	entries, err := f.relay.config.Directory.Find(find, id)
	if err != nil {
		if find.Err() != nil {
			err = fmt.Errorf("%w: %w", cdn.ErrTimeout, err)
		}
		return f.known, &cdn.Error{Op: "find", Stream: id, Err: err}
	}
	f.found = f.eligible(entries)
	if near := f.relay.routes.near; near != nil && !f.measured && slices.ContainsFunc(f.found, func(e cdn.Entry) bool { return e.Node != "" }) {
		f.relay.routes.awaitMeasured(ctx, f.found)
		f.measured = true
	}
	f.known = f.rank(f.found)
	return f.known, nil
}

// withNamed returns what the directory said last and the nodes that a full one suggests:
// those have the stream, or are about to.
func (f *fetch) withNamed(named []cdn.Entry) []cdn.Entry {
	all := slices.Clone(f.found)
	for _, e := range f.eligible(named) {
		if len(without(all, e)) == len(all) {
			e.Stream, e.Hops = f.stream.ID(), 1
			all = append(all, e)
		}
	}
	return all
}

// eligible returns the entries of nodes that the request did not come through.
func (f *fetch) eligible(entries []cdn.Entry) []cdn.Entry {
	return slices.DeleteFunc(slices.Clone(entries), func(e cdn.Entry) bool {
		return e.Node != "" && slices.Contains(f.path, e.Node)
	})
}

// unreachableLast returns entries in their order, but with those that are known to be out
// of reach at the end.
func (r *Relay) unreachableLast(entries []cdn.Entry) []cdn.Entry {
	var open, last []cdn.Entry
	for _, e := range entries {
		if yes, known := r.reaches(e); known && !yes {
			last = append(last, e)
		} else {
			open = append(open, e)
		}
	}
	return append(open, last...)
}
