package lite

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/icecheck"
	"github.com/deltacdn/delta/internal/negotiate"
)

// newCredentials makes credentials and has the port give us their checks.
func (s *Session) newCredentials() (icecheck.Credentials, error) {
	c := icecheck.NewCredentials()
	return c, s.config.Transport.Port.Name(c.Ufrag, s)
}

func (s *Session) local(c icecheck.Credentials) local {
	return local{
		ufrag: c.Ufrag, pwd: c.Pwd, fingerprint: s.config.Transport.Fingerprint, candidates: s.config.Transport.Candidates,
	}
}

// Patch takes candidates, which a lite agent does not need, or new ICE
// credentials, which restart ICE; then it returns our new ones.
func (s *Session) Patch(_ context.Context, text string) (string, error) {
	f, err := negotiate.ParseFragment(text)
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.life.stopped {
		return "", s.life.err
	}
	restarts := f.Ufrag != "" && f.Ufrag != s.ice.theirs.Ufrag
	if restarts {
		s.ice.candidates = 0
	}
	if s.ice.candidates += len(f.Candidates); s.ice.candidates > negotiate.MaxTrickled {
		return "", fmt.Errorf("%w: more than %d candidates", cdn.ErrInvalid, negotiate.MaxTrickled)
	}
	if !restarts {
		return "", nil
	}
	return s.restartLocked(f.Ufrag, f.Pwd)
}

// restartsPerMinute bounds how often ICE begins anew, which allows as many checks
// of ours again as at first. A viewer does it when its network changes.
const restartsPerMinute = 5

// restartLocked begins another ICE session (RFC 8839 section 4.4.1.1). Media
// flows as before until the viewer nominates.
func (s *Session) restartLocked(ufrag, pwd string) (string, error) {
	now := time.Now()
	if wait := s.ice.restarts.wait(now); wait > 0 {
		return "", &cdn.Error{
			Op: "restart ICE", Err: fmt.Errorf("%w: %d restarts a minute", cdn.ErrOverLimit, restartsPerMinute), RetryAfter: wait,
		}
	}
	s.ice.restarts.take(now)
	c, err := s.newCredentials()
	if err != nil {
		return "", err
	}
	old := s.ice.ours[0]
	s.ice.restart(c, icecheck.Credentials{Ufrag: ufrag, Pwd: pwd})
	s.said.sdp = strings.NewReplacer("a=ice-ufrag:"+old.Ufrag, "a=ice-ufrag:"+c.Ufrag, "a=ice-pwd:"+old.Pwd, "a=ice-pwd:"+c.Pwd).Replace(s.said.sdp)
	return s.local(c).fragment(s.remote.mid), nil
}

// receiveCheck answers a connectivity check, and makes one of our own in return
// where that is needed. It reports whether the viewer is connected.
func (s *Session) receiveCheck(now time.Time, packet []byte, from netip.AddrPort) (connected bool) {
	if icecheck.IsAnswer(packet) {
		return s.receiveAnswer(now, packet, from)
	}
	answer, ours, connected := s.answerCheck(now, packet, from)
	s.reply(answer, from) // lost, it is asked for again
	s.reply(ours, from)
	return connected
}

// reply sends a datagram, if there is one, with what others are answered who spoke
// at the same moment.
func (s *Session) reply(b []byte, to netip.AddrPort) {
	if b != nil {
		batch := s.config.Transport.Reply
		batch.Add(append(batch.Room(len(b)), b...), to)
	}
}

// answerCheck returns the answer to a check, nil if it is not authentic, and the
// check of ours in return, nil: none.
func (s *Session) answerCheck(now time.Time, packet []byte, from netip.AddrPort) (answer, ours []byte, connected bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.life.stopped {
		return nil, nil, false
	}
	c, err := s.config.Transport.Checks.Read(packet, s.ice.password)
	if err != nil {
		return nil, nil, s.dtls.frozen
	}
	if answer, err = c.Respond(from); err != nil {
		return nil, nil, s.dtls.frozen
	}
	if !c.Controlled {
		ours = s.ice.checked(now, from, c.Nominates, len(packet), len(answer))
	}
	return answer, ours, s.dtls.frozen
}

// receiveAnswer takes the answer to a check of ours.
func (s *Session) receiveAnswer(now time.Time, packet []byte, from netip.AddrPort) (connected bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id, ok := icecheck.ReadAnswer(packet, s.ice.theirs.Pwd); ok && !s.life.stopped {
		early := s.ice.answered(now, from, id)
		if s.config.Proved != nil && s.ice.proved() {
			s.config.Proved()
		}
		if len(early) > 0 && s.dtls.pipe == nil {
			s.handshakeLocked(early...)
		}
	}
	return s.dtls.frozen
}

// askUntilProved makes our checks of p by itself, since the handshake waits for
// the answer, and the viewer's next check may be seconds away.
func (s *Session) askUntilProved(p *path) {
	s.mu.Lock()
	if s.life.stopped || p.proved || !slices.Contains(s.ice.paths, p) {
		s.mu.Unlock()
		return
	}
	now := time.Now()
	raw := s.ice.ask(now, p)
	wait := p.askAt.Sub(now)
	s.mu.Unlock()
	if raw != nil {
		_ = s.config.Transport.Port.Send(raw, p.addr)
	}
	if wait > 0 {
		time.AfterFunc(wait, func() { s.askUntilProved(p) })
	}
}
