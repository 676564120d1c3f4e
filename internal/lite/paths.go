package lite

import (
	"net/netip"
	"slices"
	"time"

	"github.com/deltacdn/delta/internal/dtlssrtp"
	"github.com/deltacdn/delta/internal/icecheck"
)

// A path is an address of the viewer's. That a check carries the right password
// does not say that its sender is where it seems to come from: anybody who knows
// the password, as the viewer does, can have written another's address on it. So
// neither media nor the DTLS handshake, which says 25 times what it is told,
// goes to an address before it is proved: a check of ours was answered from it.
type path struct {
	addr      netip.AddrPort
	id        icecheck.ID // of our checks, whose answer is awaited
	asked     int         // how many there were
	askAt     time.Time   // the next one is not before
	credit    int         // bytes that may go there before it is proved
	early     [][]byte    // records that wait for it to be proved
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
	// maxGain bounds what goes to an address that is not proved, in bytes for each
	// that came from there, as QUIC does (RFC 9000 section 8.1): who signals long
	// credentials cannot have us send others many times what he pays.
	maxGain = 3
	// A ClientHello is one record, or two if it has keys against quantum computers.
	maxEarly    = 2
	maxEarlyLen = 1500
)

// checkedLocked notes that an authentic check of so many bytes came, and goes out
// answered with so many. It returns the check of ours that is to go out in return,
// nil: none.
func (s *Session) checkedLocked(now time.Time, from netip.AddrPort, nominated bool, in, out int) (ours []byte) {
	p := s.pathLocked(from)
	p.credit += maxGain*in - out
	if nominated { // which holds until another is, though its address be proved later
		for _, other := range s.paths {
			other.nominated = other == p
		}
	}
	port := s.config.Transport.Port
	if p.proved {
		port.Claim(from, s) // another session may have had it since
		s.arrivedLocked(now, p)
	} else {
		port.ClaimFree(from, s) // its first record may come before the answer to our check
		if !s.addr.IsValid() {
			s.addr = from // if nothing better comes
		}
	}
	return s.askLocked(now, p)
}

// moveAfter is how long nothing may come from the address in use, while something
// does from another, before that one is used: two checks missed. Not all agents
// nominate again when their NAT has given them another address, since to them
// nothing has changed (pion's and aioice's consent checks never nominate).
const moveAfter = 5 * time.Second

// arrivedLocked notes that something authentic came from a proved address. Where
// media goes, somebody has to live.
func (s *Session) arrivedLocked(now time.Time, p *path) {
	switch {
	case p.addr == s.addr:
	case p.nominated, now.Sub(s.heard) >= moveAfter:
		s.addr = p.addr
	default:
		return
	}
	s.heard = now
}

// askLocked returns the check of ours that may go to an address now that has not
// proved itself, and counts it; nil: none.
func (s *Session) askLocked(now time.Time, p *path) []byte {
	if p.proved || p.asked == maxAsks || s.asked >= maxPaths*maxAsks || now.Before(p.askAt) {
		return nil
	}
	raw, err := icecheck.Triggered(p.id, s.ice[0], s.remote.ice)
	if err != nil || len(raw) > p.credit { // what we make can be built
		return nil
	}
	p.askAt = now.Add(askInterval << p.asked)
	p.asked++
	p.credit -= len(raw)
	s.asked++
	return raw
}

// askUntilProved makes our checks of p by itself, since the handshake waits for
// the answer, and the viewer's next check may be seconds away.
func (s *Session) askUntilProved(p *path) {
	s.mu.Lock()
	if s.stopped || p.proved || !slices.Contains(s.paths, p) {
		s.mu.Unlock()
		return
	}
	now := time.Now()
	raw := s.askLocked(now, p)
	wait := p.askAt.Sub(now)
	s.mu.Unlock()
	if raw != nil {
		_ = s.config.Transport.Port.Send(raw, p.addr)
	}
	if wait > 0 {
		time.AfterFunc(wait, func() { s.askUntilProved(p) })
	}
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
	if i := s.findLocked(addr); i >= 0 {
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

// findLocked returns where in the list an address is, -1: nowhere.
func (s *Session) findLocked(addr netip.AddrPort) int {
	return slices.IndexFunc(s.paths, func(p *path) bool { return p.addr == addr })
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
		s.proveLocked(s.paths[i])
		s.arrivedLocked(now, s.paths[i])
	}
}

// proveLocked takes it for proved that the viewer is at p: from now on it may be
// sent to. The handshake begins if it was waiting for that.
func (s *Session) proveLocked(p *path) {
	if p.proved {
		return
	}
	if p.nominated || !s.provedLocked() {
		s.addr = p.addr
	}
	p.proved = true
	s.asked -= p.asked // they were answered
	s.config.Transport.Port.Unexpect(s, p.id)
	s.config.Transport.Port.Claim(p.addr, s)
	if len(p.early) > 0 && s.pipe == nil {
		s.handshakeLocked(p.early...)
	}
}

// keepLocked keeps what begins a handshake until the address that it came from
// is proved.
func (s *Session) keepLocked(now time.Time, record []byte, from netip.AddrPort) {
	i := s.findLocked(from)
	if i < 0 || len(s.paths[i].early) == maxEarly || len(record) > maxEarlyLen || !dtlssrtp.IsClientHello(record) {
		return
	}
	p := s.paths[i]
	p.credit += maxGain * len(record)
	p.early = append(p.early, append([]byte(nil), record...))
	if len(p.early) == 1 {
		time.AfterFunc(p.askAt.Sub(now), func() { s.askUntilProved(p) })
	}
}

// provedLocked reports whether the address in use is proved. If any is, that is.
func (s *Session) provedLocked() bool {
	i := s.findLocked(s.addr)
	return i >= 0 && s.paths[i].proved
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
