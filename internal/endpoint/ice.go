package endpoint

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/endpoint/icecheck"
	"github.com/deltacdn/delta/internal/sdp"
)

// newCredentials makes credentials, and has the port deliver the checks for them.
func (e *Endpoint) newCredentials() (icecheck.Credentials, error) {
	c := icecheck.NewCredentials()
	return c, e.config.Transport.Port.Name(c.Ufrag, e)
}

func (e *Endpoint) local(c icecheck.Credentials) Local {
	t := e.config.Transport
	return Local{ICE: c, Fingerprint: e.config.Identity.Fingerprint, Candidates: t.Candidates(), PassiveTCP: t.PassiveTCP(), Client: e.config.Role.Client}
}

// Patch takes candidates, which a lite agent does not need, or new ICE
// credentials, which restart ICE; then it returns our new ones.
func (e *Endpoint) Patch(_ context.Context, text string) (string, error) {
	f, err := sdp.ParseFragment(text)
	if err != nil {
		return "", err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.life.stopped {
		return "", e.life.err
	}
	if f.Ufrag == "" || f.Ufrag == e.ice.theirs.Ufrag {
		return "", nil
	}
	return e.restartLocked(f.Ufrag, f.Pwd)
}

// restartsPerMinute bounds ICE restarts, each of which allows as many checks of ours as
// the first ICE session. A client restarts ICE when its network changes.
const restartsPerMinute = 5

// restartLocked begins another ICE session (RFC 8839 section 4.4.1.1). Media
// flows as before until the peer nominates.
func (e *Endpoint) restartLocked(ufrag, pwd string) (string, error) {
	now := time.Now()
	if wait := e.ice.restarts.wait(now); wait > 0 {
		return "", &cdn.Error{
			Op: "restart ICE", Err: fmt.Errorf("%w: %d restarts a minute", cdn.ErrOverLimit, restartsPerMinute), RetryAfter: wait,
		}
	}
	e.ice.restarts.take(now)
	c, err := e.newCredentials()
	if err != nil {
		return "", err
	}
	e.ice.restart(c, icecheck.Credentials{Ufrag: ufrag, Pwd: pwd})
	return e.local(c).fragment(e.config.Remote.Mid), nil
}

// receiveCheck answers a connectivity check, and makes one in return where that is
// needed. It reports whether the peer is connected.
func (e *Endpoint) receiveCheck(now time.Time, packet []byte, from netip.AddrPort) (connected bool) {
	if icecheck.IsAnswer(packet) {
		return e.receiveAnswer(now, packet, from)
	}
	r := checkReaders.Get().(*icecheck.Reader) //nolint:forcetypeassert // New makes them
	defer checkReaders.Put(r)
	answer, ours, connected := e.answerCheck(now, r, packet, from)
	e.reply(answer, from) // lost, it is asked for again
	e.reply(ours, from)
	return connected
}

// reply sends a datagram, if there is one, together with the answers to the other
// datagrams of the same batch.
func (e *Endpoint) reply(b []byte, to netip.AddrPort) {
	if b != nil {
		batch := e.replies
		batch.Add(append(batch.Room(len(b)), b...), to)
	}
}

// answerCheck returns the answer to a check, nil if it is not authentic, and our
// check in return, nil if there is none. They are good until r is used again.
func (e *Endpoint) answerCheck(now time.Time, r *icecheck.Reader, packet []byte, from netip.AddrPort) (answer, ours []byte, connected bool) {
	c := e.readCheck(r, packet)
	e.mu.Lock()
	defer e.mu.Unlock()
	if c == nil || e.life.stopped {
		return nil, nil, e.connectedLocked()
	}
	respond := c.Respond
	if e.config.Role.Controlling {
		respond = c.Answer // the peer is the controlled side
	}
	answer, err := respond(from)
	if err != nil {
		return nil, nil, e.connectedLocked()
	}
	if !c.Controlled {
		ours = e.ice.checked(now, from, c.Nominates, len(packet), len(answer))
		if e.config.Role.Client && ours != nil {
			e.expectLocked(now, from)
		}
	}
	return answer, ours, e.connectedLocked()
}

// checkReaders keep the buffers of checks that were answered.
var checkReaders = sync.Pool{New: func() any { return new(icecheck.Reader) }}

// readCheck returns a check that is authentic and admitted, and nil otherwise.
func (e *Endpoint) readCheck(r *icecheck.Reader, packet []byte) *icecheck.Check {
	e.mu.Lock()
	c, err := r.Read(packet, e.ice.password)
	e.mu.Unlock()
	if err != nil || e.config.Role.Admits != nil && !e.config.Role.Admits() {
		return nil
	}
	return c
}

// expectLocked has our checks of an address repeated after the first one, since our
// handshake waits for the answer.
func (e *Endpoint) expectLocked(now time.Time, from netip.AddrPort) {
	if i := e.ice.find(from); i >= 0 && e.ice.paths[i].asked == 1 {
		p := e.ice.paths[i]
		time.AfterFunc(p.askAt.Sub(now), func() { e.askUntilProved(p) })
	}
}

// receiveAnswer takes the answer to a check of ours.
func (e *Endpoint) receiveAnswer(now time.Time, packet []byte, from netip.AddrPort) (connected bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if id, ok := icecheck.ReadAnswer(packet, e.ice.theirs.Pwd); ok && !e.life.stopped {
		early := e.ice.answered(now, from, id)
		if e.config.Proved != nil && e.ice.proved() {
			e.config.Proved()
		}
		begins := len(early) > 0 || e.config.Role.Client && e.ice.proved()
		if begins && e.dtls.pipe == nil && e.dtls.keys == nil {
			e.handshakeLocked(early...)
		}
	}
	return e.connectedLocked()
}

// askUntilProved repeats our checks of p until it is proved: the handshake waits for
// the answer, and the peer's next check may be seconds away.
func (e *Endpoint) askUntilProved(p *path) {
	e.mu.Lock()
	if e.life.stopped || p.proved || e.ice.controlling && e.ice.proved() || !slices.Contains(e.ice.paths, p) {
		e.mu.Unlock()
		return
	}
	now := time.Now()
	raw := e.ice.ask(now, p)
	wait := p.askAt.Sub(now)
	e.mu.Unlock()
	if raw != nil {
		_ = e.config.Transport.Port.Send(raw, p.addr)
	}
	if wait > 0 {
		time.AfterFunc(wait, func() { e.askUntilProved(p) })
	}
}
