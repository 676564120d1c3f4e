package bwe

import "time"

// A source is silent if it has said nothing for silentAfter, while silentPackets
// were sent. Receiver reports come once a second or so, and get more time.
const (
	silentAfter    = time.Second
	silentPackets  = 50
	reportsSilence = 3500 * time.Millisecond
)

// A last is when a source spoke last.
type last struct {
	ever bool
	at   time.Duration
	sent uint64 // packets sent until then
}

// A watchdog knows which sources speak.
type watchdog struct {
	sent                             uint64 // packets
	fineNegotiated, remoteNegotiated bool
	feedback, remote, reports        last
}

func (w *watchdog) speaks(l *last, at time.Duration) { *l = last{ever: true, at: at, sent: w.sent} }

func (w *watchdog) fine(at time.Duration)           { w.speaks(&w.feedback, at) }
func (w *watchdog) remoteEstimate(at time.Duration) { w.speaks(&w.remote, at) }
func (w *watchdog) report(at time.Duration)         { w.speaks(&w.reports, at) }

// wake begins to wait for transport-wide feedback.
func (w *watchdog) wake(at time.Duration) {
	w.speaks(&w.feedback, at)
	w.feedback.ever = false
}

func (w *watchdog) silent(l *last, at time.Duration) bool {
	return !l.ever || at-l.at >= silentAfter && w.sent-l.sent >= silentPackets
}

// source returns the best source that speaks.
func (w *watchdog) source(at time.Duration, awake bool) Source {
	switch {
	case awake && !w.silent(&w.feedback, at):
		return TransportFeedback
	case w.remoteNegotiated && !w.silent(&w.remote, at):
		return ReceiverEstimate
	case w.reports.ever && at-w.reports.at < reportsSilence || at < reportsSilence:
		return Reports
	}
	return Nothing
}
