package send

import (
	"slices"
	"sync"
	"time"

	"github.com/pion/rtcp"

	"github.com/deltacdn/delta/internal/rtp/feedback"
	"github.com/deltacdn/delta/internal/rtp/ntp"
	"github.com/deltacdn/delta/internal/send/slow"
)

// An Outcome is what the session has to do about the receiver's feedback.
type Outcome struct {
	// TooSlow says that the session is to be ended: see [slow.Breaker].
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

// judgeEvery is how often a receiver that sends no feedback is checked for
// slowness.
const judgeEvery = time.Second

// A measure is what was taken away from a slow viewer: of two layers it is sent the lower
// one, or its video is paused.
type measure struct {
	layer  string
	paused bool
}

// handleNow handles messages about a sender (nil: all), decides what slow viewers
// lose, and reports whether the session is to be ended as too slow.
func (s *Set) handleNow(now time.Time, messages []feedback.Message, only *Sender) (tooSlow bool) {
	var taken []measure // hardly ever any
	s.mu.Lock()
	senders := s.senders
	if only != nil {
		senders = []*Sender{only}
	}
	// While nothing is sent there is nothing to judge, and memory is not touched that is not
	// in the processor's caches.
	if s.handle(now, messages, senders) || now.Sub(s.judged) >= judgeEvery && !s.Idle(now) {
		s.judged = now
		for _, snd := range senders {
			if snd.judge(now) == slow.Down {
				taken = append(taken, snd.measure())
			}
		}
	}
	tooSlow = s.breaker.Tripped()
	s.mu.Unlock()
	if tell := s.config.OnSlow; tell != nil {
		for _, m := range taken {
			tell(m.layer, m.paused)
		}
	}
	return tooSlow
}

// handle gives each sender the messages that are about it, and reports whether any
// is.
func (s *Set) handle(now time.Time, messages []feedback.Message, senders []*Sender) (concerned bool) {
	if s.steady {
		s.steady = false
		for _, snd := range s.senders {
			snd.account(now)
		}
	}
	for i := range messages {
		for _, snd := range senders {
			concerned = snd.handle(now, &messages[i]) || concerned
		}
	}
	return concerned
}

// measure returns the measure that was just taken.
func (s *Sender) measure() measure {
	return measure{s.target().Name(), s.mode.awaitsKeyframe()}
}

// handle handles a message if it is about this RTP stream, and reports whether it is.
func (s *Sender) handle(now time.Time, m *feedback.Message) bool {
	if m.SSRC != s.wire.out.SSRC && m.Kind != feedback.Estimate {
		return false
	}
	switch m.Kind {
	case feedback.Report:
		s.handleReport(now, m)
	case feedback.Keyframe:
		s.handleKeyframeRequest(now)
	case feedback.Nack:
		s.handleNack(now, m.Missing)
	case feedback.Estimate:
		if s.slow != nil {
			s.slow.Estimate(now, m.Bitrate)
		}
	case feedback.Time, feedback.SenderReport: // they describe media of the peer, not of this sender
	}
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

// messageLen is what a message counts for, aside from the numbers of a NACK.
const messageLen = 64

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
		n := messageLen + len(m.Missing)
		if i.bytes+n > maxInbox {
			break
		}
		m.Missing = slices.Clone(m.Missing)
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
		s.handle(now, left, s.senders)
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
