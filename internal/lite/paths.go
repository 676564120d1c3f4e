package lite

import (
	"net/netip"
	"slices"
	"time"

	"github.com/deltacdn/delta/internal/icecheck"
)

// A path is an address of the viewer's. That a check carries the right password
// does not say that its sender is where it seems to come from: anybody who knows
// the password, as the viewer does, can have written another's address on it. So
// media goes only to an address from which a check of ours was answered, or
// which has taken part in the DTLS handshake.
type path struct {
	addr      netip.AddrPort
	id        icecheck.ID // of our checks, whose answer is awaited
	asked     int         // how many there were
	askAt     time.Time   // the next one is not before
	proved    bool
	nominated bool // the last that was
}

const (
	// maxPaths bounds the addresses that a viewer may have at a time.
	maxPaths = 8
	// maxAsks bounds our unanswered checks of an address, as RFC 8489 section
	// 6.2.1 does, with twice the time from each to the next; and those of a session
	// are bounded by the product. Else a viewer could have us send to others
	// whatever it likes to pay for with checks.
	maxAsks     = 7
	askInterval = 50 * time.Millisecond
)

// checkedLocked notes that an authentic check came. It reports whether a check
// of ours is to go out in return, and the id that it should have.
func (s *Session) checkedLocked(now time.Time, from netip.AddrPort, nominated bool) (id icecheck.ID, ask bool) {
	p := s.pathLocked(from)
	if nominated { // which holds until another is, though its address be proved later
		for _, other := range s.paths {
			other.nominated = other == p
		}
	}
	port := s.config.Transport.Port
	switch {
	case p.proved:
		s.heard = now
		port.Claim(from, s) // another session may have had it since
		if nominated {
			s.addr = from
		}
	case !s.addr.IsValid():
		s.addr = from // the handshake will prove it
		port.ClaimFree(from, s)
	}
	return p.id, s.mayAskLocked(now, p)
}

// mayAskLocked reports whether a check of ours may go to an address that has not
// proved itself, and counts it.
func (s *Session) mayAskLocked(now time.Time, p *path) bool {
	if p.proved || p.asked == maxAsks || s.asked >= maxPaths*maxAsks || now.Before(p.askAt) {
		return false
	}
	p.askAt = now.Add(askInterval << p.asked)
	p.asked++
	s.asked++
	return true
}

// askAnewLocked forgets how many checks of ours were not answered, since they
// could not be: there are other credentials.
func (s *Session) askAnewLocked() {
	s.asked = 0
	for _, p := range s.paths {
		p.asked, p.askAt = 0, time.Time{}
	}
}

// pathLocked returns the path of an address, which it moves to the end of the
// list: those that are not checked any more are the first to go.
func (s *Session) pathLocked(addr netip.AddrPort) *path {
	i := slices.IndexFunc(s.paths, func(p *path) bool { return p.addr == addr })
	if i >= 0 {
		p := s.paths[i]
		s.paths = append(slices.Delete(s.paths, i, i+1), p)
		return p
	}
	if len(s.paths) == maxPaths {
		s.dropPathLocked()
	}
	p := &path{addr: addr, id: icecheck.NewID()}
	s.config.Transport.Port.Expect(p.id, s)
	s.paths = append(s.paths, p)
	return p
}

// dropPathLocked forgets the path that matters least.
func (s *Session) dropPathLocked() {
	i := slices.IndexFunc(s.paths, func(p *path) bool { return !p.proved && p.addr != s.addr })
	if i < 0 {
		i = slices.IndexFunc(s.paths, func(p *path) bool { return p.addr != s.addr })
	}
	s.config.Transport.Port.Forget(s, nil, []netip.AddrPort{s.paths[i].addr})
	s.config.Transport.Port.Unexpect(s, s.paths[i].id)
	s.paths = slices.Delete(s.paths, i, i+1)
}

// answeredLocked notes that a check of ours was answered from where it went.
func (s *Session) answeredLocked(now time.Time, from netip.AddrPort, id icecheck.ID) {
	i := slices.IndexFunc(s.paths, func(p *path) bool { return p.addr == from && p.id == id })
	if i >= 0 {
		s.heard = now
		s.proveLocked(s.paths[i])
	}
}

func (s *Session) proveLocked(p *path) {
	if p.proved {
		return
	}
	p.proved = true
	s.asked -= p.asked // they were answered
	s.config.Transport.Port.Unexpect(s, p.id)
	s.config.Transport.Port.Claim(p.addr, s)
	if p.nominated {
		s.addr = p.addr
	}
}

// shakenLocked notes that the handshake is over, for which what we sent to the
// viewer's address had to be read.
func (s *Session) shakenLocked() {
	for _, p := range s.paths {
		if p.addr == s.addr {
			s.proveLocked(p)
		}
	}
}

// releasePaths gives the port back what it keeps for the session.
func (s *Session) releasePaths() {
	s.mu.Lock()
	paths, names := s.paths, ufrags(s.ice)
	s.mu.Unlock()
	var addrs []netip.AddrPort
	for _, p := range paths {
		addrs = append(addrs, p.addr)
		s.config.Transport.Port.Unexpect(s, p.id)
	}
	s.config.Transport.Port.Forget(s, names, addrs)
}
