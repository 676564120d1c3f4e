package admin

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/access"
)

const (
	// lookForPeers is how often it is looked whether there is a link with another node.
	lookForPeers = 500 * time.Millisecond
	// compareEvery is how often neighbors compare their ledgers.
	compareEvery = 10 * time.Second
)

// keepUp compares the ledger with those of the neighbors: at once with one that is new,
// and now and then with all.
func (a *API) keepUp() {
	due := map[cdn.NodeID]time.Time{}
	tick := time.NewTicker(lookForPeers)
	defer tick.Stop()
	for {
		now := time.Now()
		next := map[cdn.NodeID]time.Time{}
		for _, id := range a.network.calls.Peers() {
			at, known := due[id]
			if next[id] = at; !known || !now.Before(at) {
				next[id] = now.Add(compareEvery)
				a.compare(id)
			}
		}
		due = next // one that comes back is new
		select {
		case <-a.ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// compare asks a neighbor for what this node has missed. The neighbor does the same
// when it is its turn.
func (a *API) compare(id cdn.NodeID) {
	_, digest := a.ledger.all()
	t, err := a.network.call(a.ctx, []cdn.NodeID{id}, ask{Op: opLedger, Digest: digest})
	if err != nil || t.Code != "" {
		return // next time
	}
	for _, e := range t.Ledger {
		if err := a.ledger.put(e); err != nil && !errors.Is(err, cdn.ErrSuperseded) && a.ctx.Err() == nil {
			a.config.Logger.Debug("an entry of another node's is not taken", "peer", string(id), "kind", e.Kind, "err", err)
		}
	}
}

// tellLedger answers a neighbor that compares.
func (a *API) tellLedger(q ask) []entry {
	all, digest := a.ledger.all()
	if digest == q.Digest {
		return nil
	}
	return all
}

// ReplaceAccess replaces the policy of the access list, as when its file was read again.
// What was blocked and revoked by the API stays in force, at whatever node that was, also
// if p is about the same streams and grants. p.Version does not count. It fails with
// [cdn.ErrUnsupported] without [Config.Access], and with an [*access.RuleError] if p is
// malformed; the policy stays as it was then.
func (a *API) ReplaceAccess(p access.Policy) error {
	p.Blocks, p.Rules = slices.Clone(p.Blocks), slices.Clone(p.Rules)
	return a.ledger.replace(p)
}

// put is a change of the ledger. It returns how many sessions that ends here.
func (a *API) put(q ask) (ended int, err error) {
	if q.Entry == nil {
		return 0, failed(q.Op, cdn.ErrInvalid, "There is nothing to note.")
	}
	matching := a.matching(*q.Entry)
	return matching, a.ledger.put(*q.Entry)
}

// matching counts the sessions that an entry is about.
func (a *API) matching(e entry) (n int) {
	if e.Gone {
		return 0
	}
	for _, s := range a.node.Sessions() {
		switch {
		case e.Kind == entryBlock && (e.ID == string(s.Stream) || cdn.StreamPattern(e.ID).Match(s.Stream)), e.Kind == entryRevoke && e.ID == s.Grant:
			n++
		}
	}
	return n
}

// Blocks returns what is blocked and revoked, as the answering node knows it.
func (a *API) Blocks(context.Context) (BlockList, error) {
	list := BlockList{Blocks: []BlockedStream{}, Revocations: []RevokedGrant{}}
	for _, b := range a.ledger.blocks() {
		list.Blocks = append(list.Blocks, BlockedStream{Stream: b.Streams, Reason: b.Reason, Until: pointer(b.Until)})
	}
	for _, r := range a.ledger.revocations() {
		list.Revocations = append(list.Revocations, RevokedGrant{Grant: r.Grant, Reason: r.Reason, Until: pointer(r.Until)})
	}
	return list, nil
}

func pointer(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func value(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}
