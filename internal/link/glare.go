package link

import (
	"time"

	"github.com/deltacdn/delta/cdn"
)

// goes reports whether a link that this node has dialled, and whose answer has
// come, is to be made. Two nodes may dial each other at one moment: of the two
// links, that of the node with the lesser identity counts, unless the other is
// up. Both nodes see it so, and the fetches of the one that is dropped go over to
// the other.
func (ls *Links) goes(l *Link) bool {
	r := l.remote()
	ls.mu.Lock()
	defer ls.mu.Unlock()
	other := ls.findLocked(func(o *Link) bool { return o != l && o.with(r) })
	switch {
	case other == nil:
		return true
	case other.isUp(), other.dialed, r.node < ls.node.ID() && ls.believesLocked(r.node):
		other.choose(l.url) // of two URLs of one node, the first counts
		return false
	case !other.dialed:
		other.end(cdn.ErrSuperseded)
	}
	return true
}

// yields reports whether a link that the other node has dialled, and checks, may
// go on, by the same rule: one that this node is dialling may come first.
func (ls *Links) yields(l *Link) bool {
	r := l.remote()
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ours := ls.findLocked(func(o *Link) bool { return o != l && o.dialed && !o.isUp() && o.with(r) })
	if ours == nil {
		return true
	}
	if ls.node.ID() < r.node || !ls.believesLocked(r.node) {
		return false
	}
	l.choose(ours.url)
	ours.end(errMoved)
	return true
}

// choose has a link count that the other node makes, though it is not up yet, for
// those who want the node at url.
func (l *Link) choose(url string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.chosen = true
	l.learnLocked(url)
}

func (l *Link) remote() remote {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.peer
}

// with reports whether the link is with this process of a node.
func (l *Link) with(r remote) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.stopped && l.peer.node == r.node && l.peer.instance == r.instance
}

// established is called when a link's handshake is over. It reports whether the
// link may go on, and ends those that it takes the place of: what the node had
// with this one before it was started anew, or before it lost the link.
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
		// A pin does not say what its node is called: one may not take another's
		// name.
		if have := o.remote(); o.isUp() && !ls.trust.Open() && !r.vouched && have.hash != r.hash {
			return false
		}
	}
	for _, o := range old {
		o.end(errMoved)
	}
	return !closed
}

// doubtFor is for how long a node's offers are not waited for, after one came to
// nothing: it may have been forged, or sent again by somebody else.
const doubtFor = 30 * time.Second

// doubt notes that an offer in the name of a node, for which a link of this
// node's own was given up, came to nothing.
func (ls *Links) doubt(node cdn.NodeID) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.doubtLocked(node)
}

func (ls *Links) doubtLocked(node cdn.NodeID) {
	now := time.Now()
	for n, until := range ls.doubted {
		if now.After(until) {
			delete(ls.doubted, n)
		}
	}
	ls.doubted[node] = now.Add(doubtFor)
}

func (ls *Links) believesLocked(node cdn.NodeID) bool { return !time.Now().Before(ls.doubted[node]) }
