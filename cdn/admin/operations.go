package admin

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/access"
)

// Nodes returns all nodes.
func (a *API) Nodes(ctx context.Context) (NodeList, error) {
	n, err := a.Network(ctx)
	list := NodeList{Nodes: []NodeSummary{}}
	for _, r := range n.Nodes {
		list.Nodes = append(list.Nodes, NodeSummary{
			State: r.State, Time: r.Time, AgeSeconds: r.AgeSeconds, Problem: r.Problem, Hops: r.Hops, Node: r.Node, Sessions: r.Sessions, Totals: r.Totals,
			Streams: len(r.Streams) + r.StreamsOmitted, Links: len(r.Links),
		})
	}
	return list, err
}

// Node returns one node. It fails with [cdn.ErrNotFound] if there is none of that ID.
func (a *API) Node(ctx context.Context, id string) (Report, error) {
	n, err := a.Network(ctx)
	if err != nil {
		return Report{}, err
	}
	for _, r := range n.Nodes {
		if r.Node.ID == id {
			return r, nil
		}
	}
	return Report{}, failed("node", cdn.ErrNotFound, "There is no such node.")
}

// Links returns all links, once for each end that is known.
func (a *API) Links(ctx context.Context) (LinkList, error) {
	n, err := a.Network(ctx)
	list := LinkList{Links: []Link{}}
	for _, r := range n.Nodes {
		list.Links = append(list.Links, r.Links...)
	}
	return list, err
}

// Streams returns a page of the streams.
func (a *API) Streams(ctx context.Context, q StreamQuery) (StreamPage, error) {
	n, err := a.Network(ctx)
	if err != nil {
		return StreamPage{}, err
	}
	byID := map[string]*StreamSummary{}
	for _, r := range n.Nodes {
		for _, s := range r.Streams {
			if q.Stream != "" && s.ID != q.Stream || s.ID <= q.After {
				continue
			}
			sum := byID[s.ID]
			if sum == nil {
				sum = &StreamSummary{ID: s.ID, Origins: []string{}}
				byID[s.ID] = sum
			}
			sum.add(s)
		}
	}
	page := StreamPage{Streams: []StreamSummary{}}
	blocks := a.ledger.blocks()
	for _, s := range byID {
		s.Blocked = slices.ContainsFunc(blocks, func(b access.Block) bool {
			return b.Streams == s.ID || cdn.StreamPattern(b.Streams).Match(cdn.StreamID(s.ID))
		})
		if q.Node == "" || slices.ContainsFunc(s.Nodes, func(at Stream) bool { return at.Node == q.Node }) {
			page.Streams = append(page.Streams, *s)
		}
	}
	slices.SortFunc(page.Streams, func(x, y StreamSummary) int { return strings.Compare(x.ID, y.ID) })
	if limit := onPage(q.Limit); len(page.Streams) > limit {
		page.Streams = page.Streams[:limit]
		page.Next = page.Streams[limit-1].ID
	}
	return page, nil
}

func (sum *StreamSummary) add(s Stream) {
	sum.Nodes = append(sum.Nodes, s)
	sum.Live = sum.Live || s.Live
	sum.Viewers += s.Viewers
	if s.Published {
		sum.Origins = append(sum.Origins, s.Node)
		sum.Bitrate = max(sum.Bitrate, s.Bitrate)
	}
	if len(sum.Origins) == 0 {
		sum.Bitrate = max(sum.Bitrate, s.Bitrate)
	}
}

// askedAtOnce is how many nodes are asked for sessions at a time.
const askedAtOnce = 8

// Sessions returns a page of the sessions. Nodes are asked one group after the other
// until the page is full.
func (a *API) Sessions(ctx context.Context, q SessionQuery) (SessionPage, error) {
	from, err := parsePosition(q.After)
	if err != nil {
		return SessionPage{}, err
	}
	limit := onPage(q.Limit)
	page := SessionPage{Sessions: []Session{}}
	var nodes []cdn.NodeID
	for _, id := range a.nodeIDs(ctx) {
		if string(id) >= from.Node && (q.Node == "" || q.Node == string(id)) {
			nodes = append(nodes, id)
		}
	}
	for group := range slices.Chunk(nodes, askedAtOnce) {
		if len(page.Sessions) > limit {
			break
		}
		for i, t := range a.askForSessions(ctx, group, q, from, limit) {
			if t == nil {
				page.Silent = append(page.Silent, string(group[i]))
				continue
			}
			page.Sessions = append(page.Sessions, t...)
		}
	}
	sortSessions(page.Sessions)
	if len(page.Sessions) > limit {
		page.Sessions = page.Sessions[:limit]
		last := page.Sessions[limit-1]
		name, _, _ := splitSession(last.ID)
		page.Next = position{Node: last.Node, Begun: last.Begun.UnixNano(), Name: name}.String()
	}
	return page, nil
}

// askForSessions asks some nodes for one session more than the limit. Of one that does
// not answer the slice is nil.
func (a *API) askForSessions(ctx context.Context, group []cdn.NodeID, q SessionQuery, from position, limit int) [][]Session {
	all := make([][]Session, len(group))
	var asking sync.WaitGroup
	for i, id := range group {
		w := sessionsWant{Stream: q.Stream, Action: q.Action, Tag: q.Tag, Subject: q.Subject, Limit: limit + 1}
		if string(id) == from.Node {
			w.Begun, w.After = from.Begun, from.Name
		}
		asking.Go(func() {
			if t, err := a.ask(ctx, id, ask{Op: opSessions, Sessions: &w}); err == nil {
				all[i] = append([]Session{}, t.Sessions...)
			}
		})
	}
	asking.Wait()
	return all
}

// Kick ends a session, whose client is told the reason where its protocol can carry
// it. by says who wants it, in the log.
func (a *API) Kick(ctx context.Context, by, session, reason string) (Outcome, error) {
	name, node, err := splitSession(session)
	if err != nil {
		return Outcome{}, err
	}
	return a.change(ctx, node, ask{Op: opKick, By: by, Session: name, Reason: short(reason)})
}

// Block ends a stream at all nodes, and keeps it from being published and played, until
// Unblock or the time given. stream is an ID or a [cdn.StreamPattern]. A node that cannot
// be reached now learns of the block from its neighbors as soon as it has a link again. by
// names the operator in the log.
func (a *API) Block(ctx context.Context, by, stream string, b Block) (Outcome, error) {
	return a.note(ctx, by, entry{Kind: entryBlock, ID: stream, Reason: b.Reason, Until: value(b.Until)})
}

// Unblock takes back what Block did.
func (a *API) Unblock(ctx context.Context, by, stream string) (Outcome, error) {
	return a.note(ctx, by, entry{Kind: entryBlock, ID: stream, Gone: true})
}

// Revoke ends all sessions of a grant, and refuses it at all nodes. by says who wants
// it, in the log.
func (a *API) Revoke(ctx context.Context, by, grant string, r Revocation) (Outcome, error) {
	return a.note(ctx, by, entry{Kind: entryRevoke, ID: grant, Reason: r.Reason, Until: value(r.Until)})
}

// note has all nodes note an entry.
func (a *API) note(ctx context.Context, by string, e entry) (Outcome, error) {
	now := time.Now()
	e.At = a.ledger.next(e, now.UTC())
	e, err := e.check(now)
	if err != nil {
		return Outcome{}, err
	}
	return a.changeAll(ctx, ask{Op: opPut, By: by, Entry: &e})
}

// Drain has a node begin to leave ([cdn.Node.Drain]). by says who wants it, in the log.
func (a *API) Drain(ctx context.Context, by, node string, d Drain) (Outcome, error) {
	return a.change(ctx, cdn.NodeID(node), ask{Op: opDrain, By: by, Timeout: d.TimeoutSeconds})
}

// Undrain has a node stay that is leaving.
func (a *API) Undrain(ctx context.Context, by, node string) (Outcome, error) {
	return a.change(ctx, cdn.NodeID(node), ask{Op: opUndrain, By: by})
}

// Limits returns the limits of a node.
func (a *API) Limits(ctx context.Context, node string) (Limits, error) {
	t, err := a.ask(ctx, cdn.NodeID(node), ask{Op: opLimits})
	if err != nil || t.Limits == nil {
		return Limits{}, err
	}
	return *t.Limits, nil
}

// SetLimits changes the limits of a node, and returns those that it has then. by says who wants it, in the log.
func (a *API) SetLimits(ctx context.Context, by, node string, l LimitsChange) (Limits, error) {
	t, err := a.ask(ctx, cdn.NodeID(node), ask{Op: opSetLimits, By: by, Limits: &l})
	if err != nil || t.Limits == nil {
		return Limits{}, err
	}
	return *t.Limits, nil
}

// change has one node do something.
func (a *API) change(ctx context.Context, node cdn.NodeID, q ask) (Outcome, error) {
	t, err := a.ask(ctx, node, q)
	if err != nil {
		return Outcome{}, err
	}
	return Outcome{Results: []Result{{Node: string(node), OK: true, Ended: t.Ended}}}, nil
}

// changeAll has all nodes do something. If none does it, the error is that of this
// node.
func (a *API) changeAll(ctx context.Context, q ask) (Outcome, error) {
	var mu sync.Mutex
	var o Outcome
	var own error
	var asking sync.WaitGroup
	done := false
	for _, id := range a.nodeIDs(ctx) {
		asking.Go(func() {
			t, err := a.ask(ctx, id, q)
			mu.Lock()
			defer mu.Unlock()
			if id == a.node.ID() {
				own = err
			}
			done = done || err == nil
			r := Result{Node: string(id), OK: err == nil, Ended: t.Ended}
			if err != nil {
				r.Problem = cmp.Or(sentence(err), "The node has not done it: "+cdn.ErrorCode(err)+".")
			}
			o.Results = append(o.Results, r)
		})
	}
	asking.Wait()
	if !done {
		return Outcome{}, own
	}
	slices.SortFunc(o.Results, func(x, y Result) int { return strings.Compare(x.Node, y.Node) })
	return o, nil
}

// mostReason bounds a reason, in bytes.
const mostReason = 300

// short returns a reason that can be told: one line of bounded length.
func short(reason string) string {
	reason = strings.Join(strings.Fields(strings.ToValidUTF8(reason, "")), " ")
	if len(reason) > mostReason {
		reason = strings.ToValidUTF8(reason[:mostReason], "")
	}
	return reason
}
