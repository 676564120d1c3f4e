package link

import (
	"time"

	"github.com/deltacdn/delta/cdn"
)

// winsGlare reports whether a link that this node has dialled, and whose answer has
// come, is to be made. Two nodes may dial each other at one moment. Of the two links,
// that of the node with the lesser identity is made, unless the other is up. Both
// nodes decide alike, and the fetches of the dropped link go over to the other.
func (ls *Links) winsGlare(l *Link) bool {
	r := l.remote()
	ls.mu.Lock()
	defer ls.mu.Unlock()
	other := ls.findLocked(func(o *Link) bool { return o != l && o.with(r) })
	switch {
	case other == nil:
		return true
	case other.isUp(), other.dialed, r.node < ls.node.ID() && ls.trustsLocked(r.node):
		other.prefer(l.to.Place()) // two places of one node: the first wins
		return false
	case !other.dialed:
		other.end(cdn.ErrSuperseded)
	}
	return true
}

// losesGlare reports whether a link that the other node has dialled loses to one that
// this node is dialling, by the same rule. A check has arrived for it.
func (ls *Links) losesGlare(l *Link) bool {
	r := l.remote()
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ours := ls.findLocked(func(o *Link) bool { return o != l && o.dialed && !o.isUp() && o.with(r) })
	if ours == nil {
		return false
	}
	if ls.node.ID() < r.node || !ls.trustsLocked(r.node) {
		return true
	}
	l.prefer(ours.to.Place())
	ours.end(ErrMoved)
	return false
}

// prefer has fetches from the node at a place use the link, which the other node makes
// and which is not up yet.
func (l *Link) prefer(place string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.peer.preferred = true
	l.peer.learn(place)
}

// with reports whether the link is with the process that r describes.
func (l *Link) with(r remote) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conn.Err() == nil && l.peer.node == r.node && l.peer.instance == r.instance
}

// established is called when a link's handshake is over. It reports whether the link
// may go on, and ends those that it replaces: links that the other node had before it
// restarted, or has lost. A link that is up with another process of that name stays.
func (ls *Links) established(l *Link) bool {
	r := l.remote()
	ls.mu.Lock()
	var old []*Link
	for o := range ls.all {
		if o != l && o.Peer() == r.node {
			old = append(old, o)
		}
	}
	closed := ls.closed
	ls.mu.Unlock()
	for _, o := range old {
		if o.keepsNameFrom(r, ls.trust) || o.isUp() && o.Err() == nil && o.remote().instance != r.instance {
			return false
		}
	}
	for _, o := range old {
		o.end(ErrMoved)
	}
	return !closed
}

// mayBeCalled reports whether a node whose handshake is over may have its name.
func (ls *Links) mayBeCalled(r remote) bool {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return ls.findLocked(func(o *Link) bool { return o.Peer() == r.node && o.keepsNameFrom(r, ls.trust) }) == nil
}

// keepsNameFrom reports whether the link is up and r must not take its node's name: a
// pin does not say which name its node has.
func (l *Link) keepsNameFrom(r remote, trust cdn.Trust) bool {
	return l.isUp() && !trust.Open() && !r.vouched && !l.remote().Same(r.Remote)
}

// distrustFor is how long this node does not wait for a node's offers after one came to
// nothing: that may have been forged, or replayed.
const distrustFor = 30 * time.Second

// distrust notes that an offer in the name of a node came to nothing, for which this
// node had given up a link of its own.
func (ls *Links) distrust(node cdn.NodeID) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.distrustLocked(node)
}

func (ls *Links) distrustLocked(node cdn.NodeID) {
	now := time.Now()
	for n, until := range ls.distrusted {
		if now.After(until) {
			delete(ls.distrusted, n)
		}
	}
	ls.distrusted[node] = now.Add(distrustFor)
}

func (ls *Links) trustsLocked(node cdn.NodeID) bool { return !time.Now().Before(ls.distrusted[node]) }
