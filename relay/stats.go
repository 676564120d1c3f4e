package relay

import (
	"slices"
	"strings"
	"time"

	"github.com/deltacdn/delta/cdn"
)

// FetchStats is a snapshot of one fetched stream.
type FetchStats struct {
	Stream   cdn.StreamID
	Node     cdn.NodeID // the upstream, "" if it is not known which node that is
	URL      string     // of its signaling; "" while there is no upstream
	Standby  string     // URL of the node that would be next; "" if there is none
	Since    time.Time  // when that node became the upstream
	Upstream int        // how many upstreams there have been, this one included
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

// upstream is the node that a stream comes from, and the one that would be next.
type upstream struct {
	from, standby cdn.Entry // without URL: none
	since         time.Time
	changes       int
}

// use notes and reports which node the stream is to come from. why says why the previous
// one was left.
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
