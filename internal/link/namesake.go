package link

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/link/control"
	"github.com/deltacdn/delta/internal/trouble"
)

const (
	// probeFor is how long a process has to answer while another one of its name asks
	// for a link; on a long path it has three round trips, up to mostOf.
	probeFor = 400 * time.Millisecond
	mostOf   = 2 * time.Second
	// probeEvery is how often it is probed meanwhile, since probes may be lost.
	probeEvery = 50 * time.Millisecond
)

// contest decides between two processes of one name. The one that has a link with this
// node keeps the name as long as it answers: then the error says why r is refused.
// Otherwise contest ends that link, if there is one, and returns nil. from is the
// address of r's signaling. r must be authenticated: otherwise anybody could end a link
// that does not answer for a moment.
func (ls *Links) contest(r remote, from string) error {
	first := ls.holder(r)
	if first == nil {
		return nil
	}
	if !first.answers() {
		first.end(fmt.Errorf("%w: it was started anew, and does not answer as what it was", cdn.ErrPeerLost))
		ls.troubles.Well(string(r.node), "peer", string(r.node))
		return nil
	}
	err := &namesakeError{node: r.node, first: first.where(), second: place(r, from)}
	ls.troubles.Report(trouble.Namesake, string(r.node), "peer", string(r.node), "first", err.first, "second", err.second)
	return err
}

// holder returns the link that is up with another process of r's name, nil: none.
func (ls *Links) holder(r remote) *Link {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return ls.findLocked(func(l *Link) bool {
		if !l.isUp() {
			return false
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.conn.Err() == nil && l.peer.node == r.node && l.peer.instance != r.instance
	})
}

// answers probes the other node, and reports whether it answers in time.
func (l *Link) answers() bool {
	asked := time.Now()
	rtt, _ := l.talk.probed()
	wait := min(max(probeFor, 3*rtt), mostOf)
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		l.talk.do(func(now time.Time, c *control.Conn) { c.Probe(now) })
		select {
		case <-tick.C:
		case <-l.Done():
			return false
		}
		_, answered := l.talk.probed()
		switch { // anything else may have been on its way before
		case !answered.Before(asked):
			return true
		case time.Since(asked) >= wait, l.Err() != nil:
			return false
		}
	}
}

// where returns the other node's addresses, for an operator.
func (l *Link) where() string {
	return strings.TrimSpace(l.conn.To().String() + " " + l.remote().url)
}

// place returns the addresses of a node that asks for a link, or is asked.
func place(r remote, from string) string {
	if addr, err := netip.ParseAddrPort(from); err == nil && len(r.Candidates) > 0 {
		from = addr.Addr().String() + " (" + r.Candidates[0].String() + ")"
	}
	return strings.TrimSpace(from + " " + r.url)
}

// A namesakeError says that another process has the name of the node that asks.
type namesakeError struct {
	node          cdn.NodeID
	first, second string
}

func (e *namesakeError) Error() string {
	return fmt.Sprintf("another node is called %s, too, and answers: the first is at %s, the second at %s", e.node, e.first, e.second)
}

func (e *namesakeError) Unwrap() []error { return []error{cdn.ErrSuperseded, trouble.ErrNamesake} }

// sentence returns an error's text as a sentence.
func sentence(err error) string {
	text := err.Error()
	return strings.ToUpper(text[:1]) + text[1:] + "."
}
