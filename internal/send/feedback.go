package send

import (
	"slices"
	"sync"
	"time"

	"github.com/pion/rtcp"

	"github.com/deltacdn/delta/internal/rtp/feedback"
	"github.com/deltacdn/delta/internal/rtp/ntp"
)

// An Outcome is what the session has to do about the receiver's feedback.
type Outcome struct {
	// TooSlow says that the session is to be ended: see package slow.
	TooSlow bool
	// Question asks for the time, if its Kind is not zero: see [AnswerTime].
	Question feedback.Message
}

// HandleRTCP takes a compound packet of the receiver's feedback, about any of the
// senders, and keeps nothing of it. It does not wait for Consume, which may take as long
// as the socket does: while that runs, the feedback is left in its inbox.
func (s *Set) HandleRTCP(now time.Time, compound []byte) (o Outcome) {
	var buffer [8]feedback.Message
	messages := o.read(buffer[:0], compound)
	o.TooSlow = !s.inbox.leave(messages) && s.handleNow(now, messages, nil)
	return o
}

// Handle is HandleRTCP for one message, which has been read and is about one of the
// senders.
func (s *Set) Handle(now time.Time, m feedback.Message) (tooSlow bool) {
	messages := [...]feedback.Message{m}
	return !s.inbox.leave(messages[:]) && s.handleNow(now, messages[:], nil)
}

// HandleRTCP is [Set.HandleRTCP] for feedback of which only what is about this sender
// counts. It may wait for Consume.
func (s *Sender) HandleRTCP(now time.Time, compound []byte) (o Outcome) {
	var buffer [8]feedback.Message
	o.TooSlow = s.set.handleNow(now, o.read(buffer[:0], compound), s)
	return o
}

// read appends the messages of a compound packet to all, but for a question.
func (o *Outcome) read(all []feedback.Message, compound []byte) []feedback.Message {
	r := feedback.Read(compound)
	for m, ok := r.Next(); ok; m, ok = r.Next() {
		if m.Kind == feedback.Time {
			o.Question = m
		} else {
			all = append(all, m)
		}
	}
	return all
}

// handleNow handles messages about a sender (nil: all), fits what is sent to what they say,
// and reports whether the session is to be ended as too slow.
func (s *Set) handleNow(now time.Time, messages []feedback.Message, only *Sender) (tooSlow bool) {
	s.mu.Lock()
	senders := s.senders
	if only != nil {
		senders = []*Sender{only}
	}
	if s.handle(now, messages, senders) {
		s.adapt(now, true)
	}
	tooSlow = s.breaker.Tripped()
	changed := s.changes.pending != nil
	s.mu.Unlock()
	if changed {
		s.tellChanges()
	}
	return tooSlow
}

// handle gives each sender the messages that are about it, and reports whether any is about
// one, or about the path. Of all packets that are asked for again, those that were repaired
// already come last.
func (s *Set) handle(now time.Time, messages []feedback.Message, senders []*Sender) (concerned bool) {
	if s.path != nil && ofPath(messages) {
		return s.handleOfPath(now, messages)
	}
	if s.steady {
		s.steady = false
		for _, snd := range s.senders {
			snd.account(now)
		}
	}
	for i := range messages {
		concerned = s.path.handle(now, &messages[i]) || concerned
		for _, snd := range senders {
			concerned = snd.handle(now, &messages[i]) || concerned
		}
	}
	for _, snd := range senders {
		if snd.repairs.repeats {
			snd.repairs.repeats = false
			snd.handleRepeats(now, messages)
		}
	}
	return concerned
}

// handleOfPath handles messages of which ofPath is true. They leave the fast path alone, and need
// nothing of the senders but how much was sent without numbers: the memory of all else stays where
// it is.
func (s *Set) handleOfPath(now time.Time, messages []feedback.Message) (concerned bool) {
	if s.steady {
		s.steady = s.adaptation != nil
		for _, snd := range s.senders {
			snd.tellPlain(now)
		}
	}
	for i := range messages {
		concerned = s.path.handle(now, &messages[i]) || concerned
	}
	return concerned
}

// ofPath reports whether messages are only about what the path carries. They come up to
// twenty times a second, and change nothing of what is sent but by Set.choose.
func ofPath(messages []feedback.Message) bool {
	for i := range messages {
		if kind := messages[i].Kind; kind != feedback.Arrivals && kind != feedback.Estimate {
			return false
		}
	}
	return len(messages) > 0
}

// handle handles a message if it is about this RTP stream, and reports whether it is.
func (s *Sender) handle(now time.Time, m *feedback.Message) bool {
	if m.SSRC != s.wire.out.SSRC {
		return s.handleRTX(now, m)
	}
	switch m.Kind {
	case feedback.Report:
		s.handleReport(now, m)
	case feedback.Keyframe:
		s.handleKeyframeRequest(now)
	case feedback.Nack:
		s.handleNack(now, m.Missing)
	case feedback.Arrivals, feedback.Estimate: // about all senders: see path.handle
		return false
	case feedback.Time, feedback.SenderReport: // they describe media of the peer, not of this sender
	}
	return true
}

// handleRTX handles a message if it is about the retransmissions, and reports whether it
// is.
func (s *Sender) handleRTX(now time.Time, m *feedback.Message) bool {
	if m.SSRC != s.wire.out.RTX || m.SSRC == 0 || m.Kind != feedback.Report {
		return false
	}
	s.set.path.report(now, m, 0, 0)
	return true
}

// An inbox holds the feedback that comes while Consume runs.
type inbox struct {
	mu       sync.Mutex
	consumes bool // Consume runs
	bytes    int  // of the messages
	messages []feedback.Message
}

// maxInbox bounds an inbox, in bytes. What is beyond is lost, as on the way, and sent
// again.
const maxInbox = 4 << 10

// messageLen is what a message counts for, aside from what it holds of the datagram.
const messageLen = 96

// open says that Consume runs. The caller has the set's lock.
func (i *inbox) open() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.consumes = true
}

// leave leaves messages to Consume. It returns false if that does not run.
func (i *inbox) leave(messages []feedback.Message) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.consumes {
		return false
	}
	for _, m := range messages {
		n := messageLen + len(m.Missing) + len(m.Packet)
		if i.bytes+n > maxInbox {
			break
		}
		m.Missing, m.Packet = slices.Clone(m.Missing), slices.Clone(m.Packet)
		i.messages = append(i.messages, m)
		i.bytes += n
	}
	return true
}

// take returns what was left. If that is nothing, the inbox is closed.
func (i *inbox) take() []feedback.Message {
	i.mu.Lock()
	defer i.mu.Unlock()
	messages := i.messages
	i.messages, i.bytes, i.consumes = nil, 0, messages != nil
	return messages
}

// drainInbox is the end of Consume: it handles what was left meanwhile, so that the answers
// are in its batch. Whether the viewer is slow is decided when the next feedback comes.
func (s *Set) drainInbox(now time.Time) {
	for left := s.inbox.take(); left != nil; left = s.inbox.take() {
		if s.handle(now, left, s.senders) {
			s.adapt(now, true)
		}
	}
	if at := s.sentAt.UnixNano(); !s.sentAt.IsZero() && at != s.idle.Load() {
		s.idle.Store(at)
	}
}

// idleAfter is how long nothing has to be sent until that is no pause between
// two packets.
const idleAfter = time.Second

// Idle reports whether nothing is being sent. It takes no lock.
func (s *Set) Idle(now time.Time) bool {
	return now.Sub(time.Unix(0, s.idle.Load())) > idleAfter
}

// AnswerTime returns the answer of the sender with an SSRC to a viewer's question for
// the time, by which the viewer measures its round trip (RFC 3611 sections 4.4 and 4.5).
// A browser that does not know that waits for 100 ms before it asks again for a packet
// whose repair was lost.
func AnswerTime(ssrc uint32, question feedback.Message) []rtcp.Packet {
	return []rtcp.Packet{
		&rtcp.ReceiverReport{SSRC: ssrc},
		&rtcp.ExtendedReport{SenderSSRC: ssrc, Reports: []rtcp.ReportBlock{&rtcp.DLRRReportBlock{
			Reports: []rtcp.DLRRReport{{SSRC: question.SSRC, LastRR: ntp.Middle(question.NTP)}},
		}}},
	}
}
