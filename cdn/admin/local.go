package admin

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/relay"
)

// A report has mostStreams streams and mostLayers layers at most, so that it can be
// told over a link.
const (
	mostStreams = 1000
	mostLayers  = 4000
)

// reportEvery is for how long a report is good: it costs a look at each viewer.
const reportEvery = 200 * time.Millisecond

// ownReport returns a report of this node, perhaps one that was made a moment ago.
func (a *API) ownReport() Report {
	a.own.mu.Lock()
	defer a.own.mu.Unlock()
	if now := time.Now(); a.own.at.IsZero() || now.Sub(a.own.at) >= reportEvery {
		a.own.report, a.own.at = a.report(), now
	}
	return a.own.report
}

// own is the last report of this node.
type own struct {
	mu     sync.Mutex
	report Report
	at     time.Time
}

// report returns what this node says of itself. Its state and age are for the requester to
// fill in.
func (a *API) report() Report {
	st := a.node.Stats()
	r := Report{
		Node: Node{
			ID: string(st.Node), URL: a.node.URL(), Version: a.config.Version, Roles: a.roles(), Started: st.Started,
			Address: st.Addr, Draining: a.node.Draining(), Load: a.node.Load(),
		},
		Sessions: a.countSessions(), Totals: totalsOf(st.Totals), Links: a.links(), Streams: []Stream{},
	}
	viewers := a.viewers()
	var nodes map[cdn.StreamID]int
	if a.config.Server != nil {
		nodes = a.config.Server.Serving()
	}
	upstreams := a.upstreams()
	slices.SortFunc(st.Streams, func(x, y cdn.StreamStats) int { return cmp.Compare(x.Stream, y.Stream) })
	layers := 0
	for _, s := range st.Streams {
		doc := streamOf(s)
		for _, t := range doc.Tracks {
			layers += len(t.Layers)
		}
		r.Totals.BitrateIn += doc.Bitrate
		if len(r.Streams) >= mostStreams || layers > mostLayers {
			r.StreamsOmitted++
			continue
		}
		doc.Node = string(st.Node)
		doc.Viewers, doc.Downstreams, doc.Upstream = viewers.Viewers[s.Stream], nodes[s.Stream], upstreams[s.Stream]
		r.Streams = append(r.Streams, doc)
	}
	r.Totals.BitrateOut = int64(viewers.Bitrate)
	for _, l := range r.Links {
		r.Totals.BitrateOut += l.BitrateOut
	}
	return r
}

func totalsOf(t cdn.Totals) (out Totals) {
	for _, f := range []cdn.Traffic{t.Publishers, t.Viewers, t.Links, t.Nodes} {
		out.PacketsIn += f.Received.Packets
		out.BytesIn += f.Received.Bytes
		out.PacketsOut += f.Sent.Packets
		out.BytesOut += f.Sent.Bytes
	}
	for _, s := range []cdn.SessionTotals{t.Publish, t.Play, t.Fetch} {
		out.SessionsStarted += s.Started
		for _, n := range s.Ended {
			out.SessionsEnded += n
		}
		for _, n := range s.Refused {
			out.SessionsRefused += n
		}
	}
	out.Shed = t.Shed
	return out
}

func (a *API) roles() []string {
	roles := []string{}
	if a.config.Origin != nil {
		roles = append(roles, "origin")
	}
	if a.config.Relay != nil && a.config.Server != nil {
		roles = append(roles, "relay")
	}
	if a.config.Edge != nil {
		roles = append(roles, "edge")
	}
	return roles
}

func (a *API) viewers() edge.Stats {
	if a.config.Edge == nil {
		return edge.Stats{}
	}
	return a.config.Edge.Stats()
}

func (a *API) countSessions() (c SessionCounts) {
	for _, s := range a.node.Sessions() {
		c.Total++
		if s.HalfOpen {
			c.HalfOpen++
		}
		switch s.Action {
		case cdn.ActionPublish:
			c.Publishers++
		case cdn.ActionPlay:
			c.Viewers++
		case cdn.ActionFetch:
			c.Downstreams++
		}
	}
	return c
}

func (a *API) links() []Link {
	all := []Link{}
	for _, l := range relay.Links(a.node) {
		all = append(all, Link{
			Node: string(a.node.ID()), Peer: string(l.Node), URL: l.URL, Up: l.Up, RTTMs: milliseconds(l.RTT), Loss: l.Loss,
			BitrateIn: int64(l.BitrateIn), BitrateOut: int64(l.BitrateOut), BytesIn: l.Received, BytesOut: l.Sent,
			Estimate: int64(l.Estimate), HeldBack: words(l.HeldBack), Fetched: words(l.Fetched), Served: words(l.Served),
		})
	}
	return all
}

func (a *API) upstreams() map[cdn.StreamID]*Upstream {
	if a.config.Relay == nil {
		return nil
	}
	all := map[cdn.StreamID]*Upstream{}
	for _, f := range a.config.Relay.Stats() {
		all[f.Stream] = &Upstream{
			Node: string(f.Node), URL: f.URL, StandbyURL: f.Standby, Since: f.Since, Changes: max(0, f.Upstream-1),
		}
	}
	return all
}

func streamOf(s cdn.StreamStats) Stream {
	doc := Stream{
		ID: string(s.Stream), Started: s.Started, Live: s.Live, Published: s.Live && len(s.Path) == 0, Path: words(s.Path), Tracks: []Track{},
	}
	for _, d := range s.Delays {
		doc.DelaysMs = append(doc.DelaysMs, milliseconds(d))
	}
	for _, t := range s.Tracks {
		_, codec, _ := strings.Cut(t.Info.Codec.MimeType, "/")
		track := Track{ID: t.Info.ID, Kind: t.Info.Kind.String(), Codec: codec, Layers: []Layer{}}
		for _, l := range t.Layers {
			doc.Bitrate += int64(l.Bitrate)
			track.Layers = append(track.Layers, Layer{
				Name: l.Name, Bitrate: int64(l.Bitrate), Packets: l.Packets, Bytes: l.Bytes, Keyframes: l.Keyframes, Lost: l.Lost, Receivers: l.Demand,
			})
		}
		doc.Tracks = append(doc.Tracks, track)
	}
	return doc
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// words returns names as strings, not nil.
func words[T ~string](all []T) []string {
	out := make([]string, 0, len(all))
	for _, v := range all {
		out = append(out, string(v))
	}
	return out
}

// drain begins to drain this node, and does not wait for the end. Once it has returned the
// node is draining, so an undrain that follows takes this drain back.
func (a *API) drain(q ask) error {
	if q.Timeout < 0 || q.Timeout > (24*time.Hour).Seconds() {
		return failed("drain", cdn.ErrInvalid, "The timeout is a number of seconds, of a day at most.")
	}
	ctx, cancel := a.ctx, context.CancelFunc(func() {})
	if q.Timeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(q.Timeout*float64(time.Second)))
	}
	draining := make(chan struct{})
	begun := a.begin(func() {
		defer cancel()
		wait := a.node.Internal().BeginDrain(ctx)
		close(draining)
		err := wait()
		a.config.Logger.Info("the node has drained, or stopped draining", "err", err)
	})
	if !begun {
		cancel()
		return failed("drain", cdn.ErrClosed, "The node is being closed.")
	}
	<-draining
	return nil
}
