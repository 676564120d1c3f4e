package endpoint

import (
	"net/netip"
	"slices"
	"time"

	"github.com/deltacdn/delta/internal/dtlssrtp"
	"github.com/deltacdn/delta/internal/icecheck"
	"github.com/deltacdn/delta/internal/port"
)

// A path is an address of the peer's. That a check carries the right password
// does not say that its sender is where it seems to come from: anybody who knows
// the password, as the peer does, can have written another's address on it. So
// neither media nor the DTLS handshake, which says 25 times what it is told,
// goes to an address before it is proved: a check of ours was answered from it.
type path struct {
	addr      netip.AddrPort
	id        icecheck.ID    // of our checks, whose answer is awaited
	asked     int            // how many there were
	askAt     time.Time      // the next one is not before
	credit    int            // bytes that may go there before it is proved
	early     dtlssrtp.Hello // waits for it to be proved
	proved    bool
	nominated bool // the last that was
}

const (
	// maxPaths bounds the addresses that a peer may have at a time.
	maxPaths = 8
	// maxAsks bounds our unanswered checks of an address, as RFC 8489 section
	// 6.2.1 does, with twice the time from each to the next; and those of a session
	// are bounded by the product. Else a peer could have us send to others
	// whatever it likes to pay for with checks.
	maxAsks     = 7
	askInterval = 50 * time.Millisecond
	// maxGain bounds what goes to an address that is not proved, in bytes for each
	// that came from there, as QUIC does (RFC 9000 section 8.1): who signals long
	// credentials cannot have us send others many times what he pays.
	maxGain = 3
)

// An iceState is a lite agent's: our credentials and the peer's, and where the
// peer is. It reads no clock and sends nothing; it has the port tell whose the
// datagrams are.
type iceState struct {
	addr  netip.AddrPort // in use
	port  *port.Port
	owner port.Endpoint // to whom the port gives them

	ours       []icecheck.Credentials // the present ones first; those before a restart next
	theirs     icecheck.Credentials
	tie        icecheck.TieBreaker
	candidates int  // trickled in this ICE session
	restarts   rate // of ICE

	heard time.Time // when something authentic came from there
	paths []*path   // those checked last at the end
	asked int       // our checks of addresses that have not answered, dropped ones too
}

func newICE(p *port.Port, owner port.Endpoint, theirs icecheck.Credentials, now time.Time) iceState {
	return iceState{
		port: p, owner: owner, theirs: theirs, tie: icecheck.NewTieBreaker(), heard: now,
		restarts: rate{every: time.Minute / restartsPerMinute, burst: restartsPerMinute},
	}
}

// password is for [icecheck.Read].
func (s *iceState) password(ufrag string) (string, bool) {
	for _, c := range s.ours {
		if c.Ufrag == ufrag {
			return c.Pwd, true
		}
	}
	return "", false
}

// checked notes that an authentic check of so many bytes came, and goes out
// answered with so many. It returns the check of ours that is to go out in return,
// nil: none.
func (s *iceState) checked(now time.Time, from netip.AddrPort, nominated bool, in, out int) (ours []byte) {
	p := s.path(from)
	p.credit += maxGain*in - out
	if nominated { // which holds until another is, though its address be proved later
		for _, other := range s.paths {
			other.nominated = other == p
		}
	}
	if p.proved {
		s.port.Claim(from, s.owner) // another session may have had it since
		s.arrived(now, p)
	} else {
		s.port.ClaimFree(from, s.owner) // its first record may come before the answer to our check
		if !s.addr.IsValid() {
			s.addr = from // if nothing better comes
		}
	}
	return s.ask(now, p)
}

// moveAfter is how long nothing may come from the address in use, while something
// does from another, before that one is used: two checks missed. Not all agents
// nominate again when their NAT has given them another address, since to them
// nothing has changed (pion's and aioice's consent checks never nominate).
const moveAfter = 5 * time.Second

// arrived notes that something authentic came from a proved address. Where
// media goes, somebody has to live.
func (s *iceState) arrived(now time.Time, p *path) {
	switch {
	case p.addr == s.addr:
	case p.nominated, now.Sub(s.heard) >= moveAfter:
		s.addr = p.addr
	default:
		return
	}
	s.heard = now
}

// ask returns the check of ours that may go to an address now that has not
// proved itself, and counts it; nil: none.
func (s *iceState) ask(now time.Time, p *path) []byte {
	if p.proved || p.asked == maxAsks || s.asked >= maxPaths*maxAsks || now.Before(p.askAt) {
		return nil
	}
	raw, err := icecheck.Triggered(p.id, s.tie, s.ours[0], s.theirs)
	if err != nil || len(raw) > p.credit { // what we make can be built
		return nil
	}
	p.askAt = now.Add(askInterval << p.asked)
	p.asked++
	p.credit -= len(raw)
	s.asked++
	return raw
}

// askAnew forgets how many checks of ours were not answered, since they
// could not be: there are other credentials.
func (s *iceState) askAnew() {
	s.asked = 0
	for _, p := range s.paths {
		p.asked, p.askAt = 0, time.Time{}
	}
}

// path returns the path of an address, which it moves to the end of the
// list: those that are not checked any more are the first to go.
func (s *iceState) path(addr netip.AddrPort) *path {
	if i := s.find(addr); i >= 0 {
		p := s.paths[i]
		s.paths = append(slices.Delete(s.paths, i, i+1), p)
		return p
	}
	if len(s.paths) == maxPaths {
		s.drop()
	}
	p := &path{addr: addr, id: icecheck.NewID()}
	s.port.Expect(p.id, s.owner)
	s.paths = append(s.paths, p)
	return p
}

// find returns where in the list an address is, -1: nowhere.
func (s *iceState) find(addr netip.AddrPort) int {
	return slices.IndexFunc(s.paths, func(p *path) bool { return p.addr == addr })
}

// drop forgets the path that matters least.
func (s *iceState) drop() {
	i := slices.IndexFunc(s.paths, func(p *path) bool { return !p.proved && p.addr != s.addr })
	if i < 0 {
		i = slices.IndexFunc(s.paths, func(p *path) bool { return p.addr != s.addr })
	}
	s.port.Forget(s.owner, nil, []netip.AddrPort{s.paths[i].addr})
	s.port.Unexpect(s.owner, s.paths[i].id)
	s.paths = slices.Delete(s.paths, i, i+1)
}

// answered notes that a check of ours was answered from where it went. It returns
// what has waited for that to begin the handshake.
func (s *iceState) answered(now time.Time, from netip.AddrPort, id icecheck.ID) (early [][]byte) {
	i := slices.IndexFunc(s.paths, func(p *path) bool { return p.addr == from && p.id == id })
	if i < 0 {
		return nil
	}
	p := s.paths[i]
	s.prove(p)
	s.arrived(now, p)
	return p.early.Take()
}

// prove takes it for proved that the peer is at p: from now on it may be sent to.
func (s *iceState) prove(p *path) {
	if p.proved {
		return
	}
	if p.nominated || !s.proved() {
		s.addr = p.addr
	}
	p.proved = true
	s.asked -= p.asked // they were answered
	s.port.Unexpect(s.owner, p.id)
	s.port.Claim(p.addr, s.owner)
}

// heardFrom notes that something authentic came that is no check.
func (s *iceState) heardFrom(now time.Time, from netip.AddrPort) {
	if i := s.find(from); i >= 0 && s.paths[i].proved {
		s.arrived(now, s.paths[i])
	}
}

// keep keeps what begins a handshake until the address that it came from is
// proved. It returns the path if that is the first: our checks of it are to be
// repeated then, without being prompted.
func (s *iceState) keep(record []byte, from netip.AddrPort) (first *path) {
	i := s.find(from)
	if i < 0 || !s.paths[i].early.Keep(record) {
		return nil
	}
	p := s.paths[i]
	p.credit += maxGain * len(record)
	if p.early.Len() > 1 {
		return nil
	}
	return p
}

// proved reports whether the address in use is proved. If any is, that is.
func (s *iceState) proved() bool {
	i := s.find(s.addr)
	return i >= 0 && s.paths[i].proved
}

// forgetEarly gives up what was kept: the handshake has begun.
func (s *iceState) forgetEarly() {
	for _, p := range s.paths {
		p.early.Take()
	}
}

// restart begins another ICE session with the peer's new credentials and ours,
// which the port knows.
func (s *iceState) restart(ours, theirs icecheck.Credentials) {
	s.theirs, s.tie = theirs, icecheck.NewTieBreaker()
	s.port.Forget(s.owner, ufrags(s.ours[1:]), nil)
	s.ours = []icecheck.Credentials{ours, s.ours[0]}
	s.askAnew()
}

// release gives the port back what it keeps.
func (s *iceState) release() {
	var addrs []netip.AddrPort
	for _, p := range s.paths {
		addrs = append(addrs, p.addr)
		s.port.Unexpect(s.owner, p.id)
	}
	s.port.Forget(s.owner, ufrags(s.ours), addrs)
}

func ufrags(all []icecheck.Credentials) (names []string) {
	for _, c := range all {
		names = append(names, c.Ufrag)
	}
	return names
}
