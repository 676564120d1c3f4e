package endpoint

import (
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/deltacdn/delta/internal/endpoint/dtlssrtp"
	"github.com/deltacdn/delta/internal/endpoint/icecheck"
	"github.com/deltacdn/delta/internal/udp/port"
)

// A path is an address of the peer's. A check with the right password does not prove its
// source address: whoever knows the password, as the peer does, can forge that. So
// neither media nor the DTLS handshake, whose answer is 25 times as long as the
// question, goes to an address before it is proved: a check of ours was answered from
// it.
type path struct {
	addr      netip.AddrPort
	id        icecheck.ID    // of our checks
	asked     int            // the number of our checks
	askAt     time.Time      // when the next one may go out
	credit    int            // bytes that may go there before it is proved
	early     dtlssrtp.Hello // waits until it is proved
	trip      time.Duration  // the shortest round trip of a check of ours; 0: unknown
	proved    bool
	nominated bool // as the last one
}

const (
	// maxPaths bounds the addresses that a peer may have at a time.
	maxPaths = 8
	// maxAsks bounds our unanswered checks of an address, as RFC 8489 section 6.2.1
	// does; the interval between them doubles. The product with maxPaths bounds those of
	// an endpoint. Otherwise a peer could direct any number of checks at others.
	maxAsks     = 7
	askInterval = 50 * time.Millisecond
	// maxGain bounds the bytes sent to an address that is not proved, for each byte that
	// came from there, as in QUIC (RFC 9000 section 8.1). Long credentials do not make
	// us an amplifier.
	maxGain = 3
)

// An iceState is the state of an agent: our credentials and the peer's, and the
// peer's addresses. It reads no clock and sends nothing; it tells the port which
// datagrams are the endpoint's.
type iceState struct {
	addr  netip.AddrPort // in use
	port  *port.Port
	owner port.Endpoint // to whom the port gives them

	controlling bool             // the agent is a full one
	stays       bool             // the peer keeps the address at which the handshake ends
	over        bool             // the handshake has ended
	fixed       bool             // and the peer's address was known by then
	named       []netip.AddrPort // the peer's candidates
	known       bool             // they count as proved when a check comes from them

	ours     []icecheck.Credentials // the present ones first; those before a restart next
	theirs   icecheck.Credentials
	tie      icecheck.TieBreaker
	restarts rate // of ICE

	heard time.Time // when an authentic packet last came from addr
	paths []*path   // those checked last at the end
	asked int       // our unanswered checks, of dropped paths too
}

func newICE(p *port.Port, owner port.Endpoint, r Remote, now time.Time) iceState {
	return iceState{
		port: p, owner: owner, theirs: r.ICE, named: r.Candidates, known: r.Known, tie: icecheck.NewTieBreaker(), heard: now,
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

// dial returns paths to the peer's candidates, which are to be checked.
func (s *iceState) dial(r Remote) (paths []*path) {
	s.theirs = r.ICE
	for _, addr := range r.Candidates {
		if s.find(addr) < 0 {
			p := &path{addr: addr, id: icecheck.NewID(), credit: math.MaxInt}
			s.port.Expect(p.id, s.owner)
			s.port.ClaimFree(addr, s.owner)
			s.paths = append(s.paths, p)
		}
	}
	return slices.Clone(s.paths)
}

// targets returns where records go: to the address in use, or to all that are checked.
func (s *iceState) targets() (all []netip.AddrPort) {
	if s.addr.IsValid() || !s.controlling {
		return []netip.AddrPort{s.addr}
	}
	for _, p := range s.paths {
		all = append(all, p.addr)
	}
	return all
}

// claim has the port give us everything that comes from a proved address. Where the
// peer keeps its address, no other endpoint loses one before the handshake has shown
// who is there: whoever knows the passwords of checks could take it away.
func (s *iceState) claim(addr netip.AddrPort) {
	if s.stays && !s.fixed {
		s.port.ClaimFree(addr, s.owner)
	} else {
		s.port.Claim(addr, s.owner)
	}
}

// reclaim asks again for the addresses of which another endpoint had some.
func (s *iceState) reclaim() {
	for _, p := range s.paths {
		if !s.fixed {
			s.port.ClaimFree(p.addr, s.owner)
		}
	}
}

// connected notes that the handshake is over, and fixes the address in use where the
// peer keeps its address. A host of several addresses answers the checks of all of them
// at about the same time, so the peer may have ended the handshake at another of its
// addresses and send from there: media from each of them is accepted. If the handshake
// was over ahead of any answered check, the first address to answer is used.
func (s *iceState) connected() {
	if s.over = true; !s.stays || !s.addr.IsValid() {
		return
	}
	s.fixed = true
	s.claim(s.addr)
	for _, p := range s.paths {
		if s.controlling || p.proved {
			s.port.Own(p.addr, s.owner)
		}
	}
}

// follow goes to the proved address from which the rest of a handshake comes. A peer
// of several addresses sends its checks and its ClientHello between all pairs, and
// chooses one.
func (s *iceState) follow(from netip.AddrPort) {
	if i := s.find(from); s.stays && !s.fixed && !s.controlling && i >= 0 && s.paths[i].proved {
		s.addr = from
	}
}

// checked notes an authentic check of in bytes, whose answer has out bytes. It
// returns our check in return, nil if there is none.
func (s *iceState) checked(now time.Time, from netip.AddrPort, nominated bool, in, out int) (ours []byte) {
	if s.controlling || s.fixed {
		return nil
	}
	p := s.path(from)
	p.credit += maxGain*in - out
	if nominated { // until another is, even if the address is proved later
		for _, other := range s.paths {
			other.nominated = other == p
		}
	}
	if s.known && slices.Contains(s.named, from) {
		s.prove(p)
	}
	if p.proved {
		s.claim(from) // another session may have had it since
		s.arrived(now, p)
	} else {
		s.port.ClaimFree(from, s.owner) // its first record may arrive ahead of the answer to our check
		if !s.addr.IsValid() {
			s.addr = from // as long as none is better
		}
	}
	return s.ask(now, p)
}

// moveAfter is how long the address in use may be silent, while packets come from
// another one, until the other one is used: two missed checks. Not all agents nominate
// again when their NAT gives them another address, since for them nothing has changed
// (pion's and aioice's consent checks never nominate).
const moveAfter = 5 * time.Second

// arrived notes that an authentic packet came from a proved address, and moves there if
// that is nominated or the address in use is silent.
func (s *iceState) arrived(now time.Time, p *path) {
	switch {
	case p.addr == s.addr:
	case s.fixed:
		return
	case p.nominated, now.Sub(s.heard) >= moveAfter:
		s.addr = p.addr
	default:
		return
	}
	s.heard = now
}

// ask returns our check of an address that is not proved, if one may go out now, and
// counts it.
func (s *iceState) ask(now time.Time, p *path) []byte {
	if p.proved || p.asked == maxAsks || s.asked >= maxPaths*maxAsks || now.Before(p.askAt) {
		return nil
	}
	build := icecheck.Triggered
	if s.controlling {
		build = icecheck.Nominating
	}
	raw, err := build(p.id, s.tie, s.ours[0], s.theirs)
	if err != nil || len(raw) > p.credit { // what we make can be built
		return nil
	}
	p.askAt = now.Add(askInterval << p.asked)
	p.asked++
	p.credit -= len(raw)
	s.asked++
	return raw
}

// askAnew forgets our unanswered checks: nobody can answer them with the new
// credentials.
func (s *iceState) askAnew() {
	s.asked = 0
	for _, p := range s.paths {
		p.asked, p.askAt = 0, time.Time{}
	}
}

// path returns the path of an address, and moves it to the end of the list: paths that
// are not checked any more are dropped first.
func (s *iceState) path(addr netip.AddrPort) *path {
	if i := s.find(addr); i >= 0 {
		p := s.paths[i]
		s.paths = append(slices.Delete(s.paths, i, i+1), p)
		return p
	}
	if len(s.paths) >= max(maxPaths, len(s.named)) { // a node names more
		s.drop()
	}
	p := &path{addr: addr, id: icecheck.NewID()}
	s.port.Expect(p.id, s.owner)
	s.paths = append(s.paths, p)
	return p
}

// find returns the index of an address's path, -1 if there is none.
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

// answered notes that a check of ours was answered from the address that it went to. It
// returns the records that have waited for that to begin the handshake.
func (s *iceState) answered(now time.Time, from netip.AddrPort, id icecheck.ID) (early [][]byte) {
	i := slices.IndexFunc(s.paths, func(p *path) bool { return p.addr == from && p.id == id })
	switch {
	case i < 0 || s.controlling && s.proved():
		return nil
	case s.fixed: // media may come from there all the same
		s.paths[i].proved = true
		s.port.Unexpect(s.owner, id)
		s.port.Own(from, s.owner)
		return nil
	}
	p := s.paths[i]
	p.measure(now)
	s.prove(p)
	s.arrived(now, p)
	if s.over {
		s.connected()
	}
	return p.early.Take()
}

// measure takes the round trip of the check that was answered. If the check was repeated, it
// is not known which of them was.
func (p *path) measure(now time.Time) {
	if p.asked != 1 {
		return
	}
	trip := max(now.Sub(p.askAt.Add(-askInterval)), 1)
	if p.trip == 0 || trip < p.trip {
		p.trip = trip
	}
}

const (
	// nearTrip is the longest round trip to a peer that is near. The line to a home takes longer,
	// whatever its kind.
	nearTrip = time.Millisecond
	// busyTrip is the same for a peer on the same machine, which may be busy. Paths that are
	// emulated there take longer.
	busyTrip = 15 * time.Millisecond
)

// near reports whether the peer is near at the address in use.
func (s *iceState) near() bool {
	i := s.find(s.addr)
	if i < 0 {
		return false
	}
	trip, most := s.paths[i].trip, nearTrip
	if s.addr.Addr().IsLoopback() {
		most = busyTrip
	}
	return trip > 0 && trip <= most
}

// prove notes that the peer is at p: from now on packets may go there.
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
	s.claim(p.addr)
}

// heardFrom notes that an authentic packet came that is no check.
func (s *iceState) heardFrom(now time.Time, from netip.AddrPort) {
	if i := s.find(from); i >= 0 && s.paths[i].proved {
		s.arrived(now, s.paths[i])
	}
}

// keep keeps a record that begins a handshake until its source address is proved. If it
// is the first one, keep returns the path, of which our checks are then repeated.
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

// proved reports whether the address in use is proved. It is if any address is.
func (s *iceState) proved() bool {
	i := s.find(s.addr)
	return i >= 0 && s.paths[i].proved
}

// forgetEarly drops the records that were kept: the handshake has begun.
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

// release has the port forget the endpoint.
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
