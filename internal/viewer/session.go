// Package viewer is a viewer's session without a PeerConnection: an
// [endpoint.Endpoint] and a [send.Set], driven by the port's one reader and the
// node's workers.
package viewer

import (
	"crypto/rand"
	"slices"
	"strconv"
	"sync"

	"github.com/pion/logging"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/endpoint"
	"github.com/deltacdn/delta/internal/sdp"
	"github.com/deltacdn/delta/internal/send"
	"github.com/deltacdn/delta/internal/service"
)

// Config says how a stream is sent to a viewer.
type Config struct {
	send.Config
	// Stream is ready. Nil: it is not known yet what it has, and comes by
	// [Session.Play].
	Stream    *cdn.Stream
	Transport *service.Runtime
	Log       logging.LoggerFactory
	// Watch ends the session if its viewer does not come or is gone. If nil, the
	// session has one of its own.
	Watch *endpoint.Watch
	// Proved is called when the viewer has proved its address, perhaps more than
	// once, with the session's lock held. Nil: nobody is told.
	Proved func()
	// Connected is called once, when media can flow, with a lock of the session held. It
	// must not block. Nil: nobody is told.
	Connected func()
	// Ended is called once, when a session that was returned is over. It must
	// not block.
	Ended func(err error, sent send.Stats)
}

// A Session sends a stream to one viewer. It is a signal.Session. Its methods
// may be called concurrently.
type Session struct {
	// What a burst needs stands first, as in the set and in the endpoint.
	set   *send.Set       // static
	media endpoint.Writer // that Consume uses
	endpoint.Endpoint

	playing sync.Mutex // may be held when the endpoint's is taken, never the reverse
	state   playState  // guarded by playing

	// static
	connected func()                           // see Config; nil: nobody is told
	ended     func(err error, sent send.Stats) // likewise
	cname     string
	ssrcs     []uint32 // that the answer announces
	rtx       []uint32 // likewise, of retransmissions
	// replies is the writer for what answers feedback. The port's reader uses it.
	replies endpoint.Writer
}

// Answer starts a session for a viewer's offer. Errors wrap [cdn.ErrInvalid],
// [cdn.ErrNoCommonCodec], [cdn.ErrNotFound] for a layer that is not there, and
// [cdn.ErrUnsupported] for an offer that only a PeerConnection can answer, or
// that cannot be answered without a stream.
func Answer(c Config, offer string) (*Session, error) {
	o, err := sdp.Parse(offer)
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
		connected: c.Connected, ended: c.Ended, cname: rand.Text()[:16], set: send.New(c.Config),
		state: playState{stream: c.Stream, mismatches: plan.Mismatches},
	}
	s.Init(endpoint.Config{
		Transport: c.Transport, Log: c.Log, Watch: c.Watch, Proved: c.Proved, Idle: s.set.Idle, Remote: r, Role: endpoint.Role{Client: r.Passive},
	}, s)
	all := sections(plan)
	for _, one := range all {
		s.ssrcs = append(s.ssrcs, one.ssrc)
		if one.rtx != 0 {
			s.rtx = append(s.rtx, one.rtx)
		}
	}
	if c.Stream == nil {
		s.state.open = &openAnswer{c.Config, o, all}
	} else if err := s.addLines(c.Config, plan, all); err != nil {
		s.set.Close()
		return nil, err
	}
	local, err := s.Open()
	if err != nil {
		s.set.Close()
		return nil, err
	}
	s.set.Warm()
	s.Begin(answer(plan.Offer, local, all, s.cname), s.words)
	if c.Stream != nil {
		s.watch(c.Stream)
	}
	return s, nil
}

// words are those of the answer that no other has, but for the credentials.
func (s *Session) words() []string {
	all := []string{s.cname}
	for _, ssrc := range slices.Concat(s.ssrcs, s.rtx) {
		all = append(all, strconv.FormatUint(uint64(ssrc), 10))
	}
	return all
}

// planFor plans the answer; the stream may be nil.
func planFor(o *sdp.Offer, stream *cdn.Stream) (plan *send.Plan, err error) {
	if stream == nil {
		plan, err = send.PlanOpen(o)
	} else {
		plan, err = send.PlanAnswer(o, stream.Tracks())
	}
	if err != nil {
		return nil, err
	}
	plan.AddSignals()
	return plan, nil
}

// addLines makes the senders of what is planned, in the sections of the answer.
func (s *Session) addLines(c send.Config, plan *send.Plan, sections []*section) error {
	layers := make([]*cdn.Layer, len(plan.Lines))
	for i, l := range plan.Lines {
		var err error
		if layers[i], err = c.Pick(l.Track); err != nil {
			return err
		}
	}
	for i, l := range plan.Lines {
		choice := plan.Choices[i]
		announced := sectionOf(sections, choice.Media)
		out := send.Output{To: &s.replies, SSRC: announced.ssrc, Extensions: make(map[string]uint8)}
		if l.RTX != 0 {
			out.RTX = announced.rtx
		}
		for _, e := range endpoint.Extensions(choice) {
			out.Extensions[e.URI] = e.ID
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

// Stats returns a snapshot.
func (s *Session) Stats() send.Stats { return s.set.Stats() }

// Sent returns what was sent: see [send.Set.Sent].
func (s *Session) Sent() (sent cdn.Flow, shed uint64) { return s.set.Sent() }
