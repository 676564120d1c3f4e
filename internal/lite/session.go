// Package lite is a viewer's session without a PeerConnection: an ICE-lite
// responder, a DTLS server and SRTP over the node's port, driven by the port's
// one reader and the node's workers. In steady state it has no goroutine, and
// DTLS is set aside until the goodbye.
package lite

import (
	"crypto/rand"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/pion/logging"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/icecheck"
	"github.com/deltacdn/delta/internal/negotiate"
	"github.com/deltacdn/delta/internal/send"
)

// Config says how a stream is sent to a viewer.
type Config struct {
	send.Config
	// Stream is ready. Nil: it is not known yet what it has, and comes by
	// [Session.Play].
	Stream    *cdn.Stream
	Transport cdn.Transport
	Log       logging.LoggerFactory
	// Watch ends the session if its viewer does not come or is gone. If nil, the
	// session has one of its own.
	Watch *Watch
	// Expires is when the session ends by itself. Zero: never.
	Expires time.Time
	// Proved is called when the viewer has proved its address, perhaps more than
	// once, with the session's lock held. Nil: nobody is told.
	Proved func()
	// Ended is called once, when a session that was returned is over. It must
	// not block.
	Ended func(err error, sent send.Stats)
}

// A Session sends a stream to one viewer. It is a signal.Session. Its methods
// may be called concurrently.
type Session struct {
	// What a burst needs stands first, as in the set.
	set   *send.Set // static
	media writer    // that Consume uses
	mu    sync.Mutex
	ice   iceState // guarded by mu, as what follows, but for what says otherwise
	dtls  dtlsState
	life  lifetime
	said  signaled

	// static
	id     string
	config Config
	remote remote
	cname  string
	ssrcs  []uint32 // that the answer announces
	again  writer   // that the port's reader uses
}

// Answer starts a session for a viewer's offer. Errors wrap [cdn.ErrInvalid],
// [cdn.ErrNoCommonCodec], [cdn.ErrNotFound] for a layer that is not there, and
// [cdn.ErrUnsupported] for an offer that only a PeerConnection can answer, or
// that cannot be answered without a stream.
func Answer(c Config, offer string) (*Session, error) {
	if c.Watch == nil {
		c.Watch = &Watch{}
	}
	o, err := negotiate.Parse(offer)
	if err != nil {
		return nil, err
	}
	plan, err := planFor(o, c.Stream)
	if err != nil {
		return nil, err
	}
	r, err := readRemote(plan)
	if err != nil {
		return nil, err
	}
	s := &Session{
		id: rand.Text(), config: c, remote: r, cname: rand.Text()[:16], set: send.New(c.Config),
		said: signaled{stream: c.Stream},
	}
	s.life.begin(time.Now())
	s.ice = newICE(c.Transport.Port, s, r.ice, s.life.begun)
	s.again.batch = c.Transport.Reply
	all := sections(plan)
	for _, one := range all {
		s.ssrcs = append(s.ssrcs, one.ssrc)
	}
	if c.Stream == nil {
		s.said.open = &open{o, all}
	} else if err := s.addLines(plan, all); err != nil {
		s.life.cancel()
		s.set.Close()
		return nil, err
	}
	cred, err := s.newCredentials()
	if err != nil {
		s.life.cancel()
		s.set.Close()
		return nil, err
	}
	s.ice.ours = []icecheck.Credentials{cred}
	s.said.sdp = answer(plan.Offer, s.local(cred), all, s.cname)
	s.begin()
	return s, nil
}

func planFor(o *negotiate.Offer, stream *cdn.Stream) (*send.Plan, error) {
	if stream == nil {
		return send.PlanOpen(o)
	}
	return send.PlanAnswer(o, stream.Tracks())
}

// addLines makes the senders of what is planned, in the sections of the answer.
func (s *Session) addLines(plan *send.Plan, sections []*section) error {
	layers := make([]*cdn.Layer, len(plan.Lines))
	for i, l := range plan.Lines {
		var err error
		if layers[i], err = send.Pick(l.Track, s.config.Layer); err != nil {
			return err
		}
	}
	for i, l := range plan.Lines {
		choice := plan.Choices[i]
		announced := sectionOf(sections, choice.Media)
		out := send.Output{To: &s.again, SSRC: announced.ssrc, Extensions: make(map[string]uint8)}
		if l.RTX != 0 {
			out.RTX = announced.rtx
		}
		for _, e := range extensions(choice) {
			out.Extensions[e.uri] = e.id
		}
		s.set.Add(l, layers[i], "").Bind(out)
	}
	return nil
}

// newSSRC returns a number that none of sections has.
func newSSRC(sections []*section) uint32 {
	for {
		var b [4]byte
		_, _ = rand.Read(b[:]) // it does not fail
		n := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
		taken := slices.ContainsFunc(sections, func(s *section) bool { return s.ssrc == n || s.rtx == n })
		if n != 0 && !taken {
			return n
		}
	}
}

// begin asks for keyframes while the viewer connects, and sets the clocks.
func (s *Session) begin() {
	s.set.Warm()
	s.config.Watch.add(s)
	s.mu.Lock()
	if at := s.config.Expires; !at.IsZero() {
		s.life.expiry = time.AfterFunc(time.Until(at), func() { s.End(fmt.Errorf("%w: the grant has expired", cdn.ErrUnauthorized)) })
	}
	s.mu.Unlock()
	if stream := s.config.Stream; stream != nil {
		s.watch(stream)
	}
}

// ID is unguessable (128 bits).
func (s *Session) ID() string { return s.id }

// SDP returns the answer, with the credentials of the present ICE session.
func (s *Session) SDP() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.said.sdp
}

// Stats returns a snapshot.
func (s *Session) Stats() send.Stats { return s.set.Stats() }
