package link

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/dtlssrtp"
	"github.com/deltacdn/delta/internal/icecheck"
)

// path is where the other node is. The dialling node checks all addresses that
// the other has named, nominating the first to answer; the other one takes the
// address that checks come from. If it has proved to be a node by then, an address
// that it has named counts as proved, too. From any other (behind a NAT), and of
// who has not (where only DTLS tells, with pins or a CA), a check in return has to
// be answered, which costs a round trip more: signaling and checks may have forged
// senders, and a handshake is several times as long as a check. Once DTLS has shown
// who is there, the path stays: who only knows the checks' passwords may not lead
// it away, and if the other node has moved, it makes another link.
type path struct {
	// static
	link *Link
	tie  icecheck.TieBreaker

	mu       sync.Mutex
	peer     remote
	addr     netip.AddrPort                 // that is used; zero before
	ids      map[icecheck.ID]netip.AddrPort // of our checks: where each went
	claimed  []netip.AddrPort
	shaken   bool // DTLS has shown who is at addr
	released bool
}

func (p *path) init(l *Link) {
	p.link, p.tie, p.ids = l, icecheck.NewTieBreaker(), make(map[icecheck.ID]netip.AddrPort)
}

// name has the port give us checks, unless the link is over: nothing would take
// that back.
func (p *path) name() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.released {
		return cdn.ErrClosed
	}
	return p.link.links.transport.Port.Name(p.link.ours.Ufrag, p.link)
}

// meet notes where the other node may be.
func (p *path) meet(r remote) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.peer = r
}

// usable reports whether records from the other side may be looked at, and
// answered.
func (p *path) usable() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.addr.IsValid() || p.link.dialed && p.peer.node != ""
}

// maxChecks bounds our unanswered checks of a link.
const maxChecks = 64

// checkIntervals are how long each check of a dialling node is waited for.
var checkIntervals = []time.Duration{
	50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond, 800 * time.Millisecond, time.Second,
}

// probe is the dialling node's goroutine of checks after the first ones.
func (p *path) probe() {
	for _, wait := range checkIntervals {
		select {
		case <-p.link.ctx.Done():
			return
		case <-time.After(wait):
		}
		if p.checkAll() {
			return
		}
	}
}

// checkAll sends a check to each candidate, unless one has answered.
func (p *path) checkAll() (answered bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.addr.IsValid() || p.released {
		return true
	}
	for _, to := range p.peer.candidates {
		p.claimLocked(to, false)
		p.checkLocked(to, icecheck.Nominating)
	}
	return false
}

func (p *path) checkLocked(to netip.AddrPort, build func(id icecheck.ID, tie icecheck.TieBreaker, ours, theirs icecheck.Credentials) ([]byte, error)) {
	if len(p.ids) >= maxChecks {
		return
	}
	id := icecheck.NewID()
	raw, err := build(id, p.tie, p.link.ours, p.peer.ice)
	if err != nil {
		return // what we make can be built
	}
	p.ids[id] = to
	port := p.link.links.transport.Port
	port.Expect(id, p.link)
	_ = port.Send(raw, to) // of another address family, or lost: there are others
}

// claimLocked has the port give us what comes from addr.
func (p *path) claimLocked(addr netip.AddrPort, proved bool) {
	port := p.link.links.transport.Port
	if proved {
		port.Claim(addr, p.link)
	} else {
		port.ClaimFree(addr, p.link)
	}
	if !slices.Contains(p.claimed, addr) {
		p.claimed = append(p.claimed, addr)
	}
}

// receive takes a STUN message.
func (p *path) receive(packet []byte, from netip.AddrPort) {
	if icecheck.IsAnswer(packet) {
		p.answered(packet, from)
		return
	}
	c, err := icecheck.Read(packet, func(ufrag string) (string, bool) { return p.link.ours.Pwd, ufrag == p.link.ours.Ufrag })
	if err != nil || !p.link.dialed && !p.link.links.yields(p.link) {
		return
	}
	respond := c.Respond
	if p.link.dialed {
		respond = c.Answer // the other side is the controlled one, and we nominate
	}
	if raw, err := respond(from); err == nil {
		_ = p.link.links.transport.Port.Send(raw, from)
	}
	if !p.link.dialed {
		p.checked(from)
	}
}

// checked acts on a check of the dialling node's.
func (p *path) checked(from netip.AddrPort) {
	p.mu.Lock()
	defer p.mu.Unlock()
	named := slices.Contains(p.peer.candidates, from)
	switch {
	case p.released || p.shaken || p.addr == from:
	case named && p.link.asker.Known:
		p.takeLocked(from)
	default:
		if named { // the ClientHello that comes with the check is kept
			p.claimLocked(from, false)
		}
		p.checkLocked(from, icecheck.Triggered)
	}
}

// heard follows a dialling node of several addresses to the one that it has chosen.
// Its checks and its ClientHello go to all pairs of addresses, and each side may have
// taken another one; the rest of its handshake goes to the chosen one only. Without
// this, each side would send to where the other does not listen.
func (p *path) heard(record []byte, from netip.AddrPort) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.link.dialed || p.released || p.shaken || !p.addr.IsValid() || p.addr == from:
	case dtlssrtp.IsClientHello(record) || !slices.Contains(p.claimed, from):
	default:
		p.takeLocked(from)
	}
}

// answered takes the answer to a check of ours.
func (p *path) answered(packet []byte, from netip.AddrPort) {
	p.mu.Lock()
	defer p.mu.Unlock()
	id, ok := icecheck.ReadAnswer(packet, p.peer.ice.Pwd)
	to, ours := p.ids[id]
	if !ok || !ours || to != from || p.released || p.shaken {
		return
	}
	if !p.link.dialed || !p.addr.IsValid() {
		p.takeLocked(from)
	}
}

// takeLocked makes addr the one that is used. Nobody who has it loses it before
// DTLS has shown who is there.
func (p *path) takeLocked(addr netip.AddrPort) {
	p.addr = addr
	p.claimLocked(addr, p.shaken)
	p.forgetChecksLocked()
}

// claim asks for what comes from the address in use, unless another has it. Until
// the handshake is over, it asks for the other addresses that were claimed, too: the
// link that this node had with the same process, or with one that was started anew,
// may have had them, and the dialling node may have chosen one of them.
func (p *path) claim() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.addr.IsValid() || p.released {
		return
	}
	if !p.shaken {
		for _, addr := range p.claimed {
			p.claimLocked(addr, false)
		}
	}
	p.claimLocked(p.addr, p.shaken)
}

// prove says that DTLS has shown who is there.
func (p *path) prove() {
	p.mu.Lock()
	p.shaken = true
	p.mu.Unlock()
	p.claim()
}

func (p *path) forgetChecksLocked() {
	for id := range p.ids {
		p.link.links.transport.Port.Unexpect(p.link, id)
	}
	clear(p.ids)
}

// send sends to the other node: before it is known which of its addresses
// works, to all of those that this node has dialled.
func (p *path) send(b []byte) error {
	p.mu.Lock()
	var to []netip.AddrPort
	switch {
	case p.addr.IsValid():
		to = []netip.AddrPort{p.addr}
	case p.link.dialed:
		to = p.peer.candidates
	}
	p.mu.Unlock()
	for _, addr := range to {
		_ = p.link.links.transport.Port.Send(b, addr) // lost, as on the way
	}
	return nil
}

// to returns the address in use.
func (p *path) to() netip.AddrPort {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.addr
}

// release gives the port back what it keeps for the link.
func (p *path) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.released = true
	p.forgetChecksLocked()
	p.link.links.transport.Port.Forget(p.link, []string{p.link.ours.Ufrag}, p.claimed)
}
