package link

import (
	"fmt"
	"slices"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/halfopen"
)

// maxUnproved bounds the links that other nodes have asked for and not made.
const maxUnproved = 64

// add takes a link in that another node asks for. Where only DTLS can tell which
// asker is a node, everybody can ask: so if there is no place left, one of those
// that are being made gives way ([halfopen.Oldest]). A link is known if its asker
// knows the secret, or has seen an offer of a node that does, or, where nothing is
// configured, is on this machine.
func (ls *Links) add(l *Link) error {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.closed {
		l.cancel()
		return cdn.ErrClosed
	}
	unproved := ls.unprovedLocked()
	if err := ls.fullLocked(len(unproved)); err != nil {
		l.cancel()
		return err
	}
	if len(unproved) >= maxUnproved {
		oldest, ok := halfopen.Oldest(slices.Values(unproved), func(l *Link) halfopen.Asker { return l.asker }, l.asker)
		if !ok {
			l.cancel()
			return &cdn.Error{Op: "link", Err: fmt.Errorf("%w: %d links are being made", cdn.ErrOverLimit, len(unproved)), RetryAfter: time.Second}
		}
		if node, chosen := oldest.forsake(); chosen {
			ls.doubtLocked(node)
		}
	}
	ls.addLocked(l)
	return nil
}

// fullLocked returns an error if there are as many links as there may be, those
// aside that others have asked for and not made.
func (ls *Links) fullLocked(unproved int) error {
	if n := len(ls.all) - unproved; n >= ls.node.Limits().Links {
		return &cdn.Error{Op: "link", Err: fmt.Errorf("%w: %d links", cdn.ErrOverLimit, n), RetryAfter: 5 * time.Second}
	}
	return nil
}

func (ls *Links) unprovedLocked() (all []*Link) {
	for l := range ls.all {
		if !l.dialed && !l.isUp() && l.Err() == nil {
			all = append(all, l)
		}
	}
	return all
}

// forsake ends a link for another one, and reports whether one of this node's own
// was given up for it.
func (l *Link) forsake() (cdn.NodeID, bool) {
	l.end(fmt.Errorf("%w: others ask for links", cdn.ErrOverLimit))
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.peer.node, l.chosen
}
