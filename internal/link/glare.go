package link

import "github.com/deltacdn/delta/cdn"

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
	case other.isUp(), !other.dialed && r.node < ls.node.ID():
		other.choose(l.url)
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
	if ls.node.ID() < r.node {
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
	l.urls = append(l.urls, url)
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
		o.end(cdn.ErrSuperseded)
	}
	return !closed
}
