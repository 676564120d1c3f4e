package link

import (
	"fmt"
	"slices"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/endpoint/halfopen"
)

// maxHalfOpen bounds the half-open links: those that other nodes have asked for and not
// made yet.
const maxHalfOpen = 64

// add adds a link that another node asks for. Where only DTLS can tell who is a node,
// everybody can ask. So if the table of half-open links is full, one of them is evicted
// ([halfopen.Oldest]): a flood cannot lock out others. A link is known if the offer
// proves knowledge of the secret or, where no trust is configured, comes from this
// machine.
func (ls *Links) add(l *Link) error {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.closed {
		return cdn.ErrClosed
	}
	halfOpen := ls.halfOpenLocked()
	if err := ls.fullLocked(len(halfOpen)); err != nil {
		return err
	}
	if len(halfOpen) >= maxHalfOpen {
		oldest, ok := halfopen.Oldest(slices.Values(halfOpen), func(l *Link) halfopen.Slot { return l.slot }, l.slot)
		if !ok {
			return &cdn.Error{Op: "link", Err: fmt.Errorf("%w: %d links are being made", cdn.ErrOverLimit, len(halfOpen)), RetryAfter: time.Second}
		}
		if node, preferred := oldest.evict(); preferred {
			ls.distrustLocked(node)
		}
	}
	ls.addLocked(l)
	return nil
}

// fullLocked returns an error if there are as many links as allowed, not counting the
// half-open ones.
func (ls *Links) fullLocked(halfOpen int) error {
	if most := ls.node.Limits().Links; len(ls.all)-halfOpen >= most {
		return &cdn.Error{Op: "link", Err: &cdn.LimitError{Name: "links", Limit: most}, RetryAfter: 5 * time.Second}
	}
	return nil
}

func (ls *Links) halfOpenLocked() (all []*Link) {
	for l := range ls.all {
		if !l.dialed && !l.isUp() && l.Err() == nil {
			all = append(all, l)
		}
	}
	return all
}

// evict ends a half-open link in favour of another, and reports whether this node had
// given up a link of its own for it.
func (l *Link) evict() (cdn.NodeID, bool) {
	l.end(fmt.Errorf("%w: others ask for links", cdn.ErrOverLimit))
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.peer.node, l.peer.preferred
}
