package link

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/deltacdn/delta/cdn"
)

// maxUnproved bounds the links that other nodes have asked for and not made.
const maxUnproved = 64

// An asker is who asked for a link, as far as that is known before DTLS.
type asker struct {
	from netip.Prefix // where its signaling came from; zero: not known
	// proved: it knows the secret, or has seen an offer of one who does, or, where
	// nothing is configured, is on this machine.
	proved bool
}

// askedFrom returns whom the places for links that are being made are shared out
// to: an address, or the smallest network that somebody has of IPv6.
func askedFrom(addr string) netip.Prefix {
	a, err := netip.ParseAddrPort(addr)
	if err != nil {
		return netip.Prefix{}
	}
	ip, bits := a.Addr().Unmap().WithZone(""), 32
	if ip.Is6() {
		bits = 64
	}
	p, _ := ip.Prefix(bits) // it has so many
	return p
}

// add takes a link in that another node asks for. Where only DTLS can tell who
// is a node, everybody can ask: so if there is no place left, the oldest that is
// being made gives way, of the source that has the most. Who asks from elsewhere
// than those who only ask is not kept out, and among them who is quick is not.
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
		oldest := mostOf(unproved, l.asker)
		if oldest == nil {
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

// mostOf returns the oldest link of the source that has the most, the one who
// asks now counted, nil if there is none that may give way to him: who proves
// nothing takes no place of one who does.
func mostOf(links []*Link, now asker) (oldest *Link) {
	count := map[netip.Prefix]int{now.from: 1}
	for _, l := range links {
		count[l.asker.from]++
	}
	before := func(a, b *Link) bool {
		if a.asker.proved != b.asker.proved {
			return b.asker.proved
		}
		if x, y := count[a.asker.from], count[b.asker.from]; x != y {
			return x > y
		}
		return a.begun.Before(b.begun)
	}
	for _, l := range links {
		if (now.proved || !l.asker.proved) && (oldest == nil || before(l, oldest)) {
			oldest = l
		}
	}
	return oldest
}

// forsake ends a link for another one, and reports whether one of this node's own
// was given up for it.
func (l *Link) forsake() (cdn.NodeID, bool) {
	l.end(fmt.Errorf("%w: others ask for links", cdn.ErrOverLimit))
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.peer.node, l.chosen
}
