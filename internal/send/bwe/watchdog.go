package bwe

import "time"

// A source is silent if it has said nothing for silentAfter, while silentPackets
// were sent. Receiver reports come once a second from browsers, and each 2.5 to 7.5 s
// from receivers that keep to the letter (RFC 3550 section 6.2). They get as much time as
// their pace asks for.
const (
	silentAfter    = time.Second
	silentPackets  = 50
	reportsSilence = 3500 * time.Millisecond
	longestReport  = 8 * time.Second // a longer gap is an outage
	mostSilence    = 9 * time.Second
)

// A last is when a source spoke last.
type last struct {
	at   time.Duration
	sent uint32 // packets sent until then; wraps
	ever bool
}

// A watchdog knows which sources speak.
type watchdog struct {
	sent                             uint64 // packets
	fineNegotiated, remoteNegotiated bool
	every                            uint16 // milliseconds between rounds of reports, at most lately
	feedback, remote, reports        last
}

func (w *watchdog) speaks(l *last, at time.Duration) {
	*l = last{ever: true, at: at, sent: uint32(w.sent)}
}

func (w *watchdog) fine(at time.Duration)           { w.speaks(&w.feedback, at) }
func (w *watchdog) remoteEstimate(at time.Duration) { w.speaks(&w.remote, at) }

func (w *watchdog) report(at time.Duration) {
	if gap := at - w.reports.at; w.reports.ever && gap > roundSpan && gap <= longestReport {
		w.every = max(uint16(gap/time.Millisecond), w.every-w.every/8)
	}
	w.speaks(&w.reports, at)
}

// wake begins to wait for transport-wide feedback.
func (w *watchdog) wake(at time.Duration) {
	w.speaks(&w.feedback, at)
	w.feedback.ever = false
}

func (w *watchdog) silent(l *last, at time.Duration) bool {
	return !l.ever || at-l.at >= silentAfter && uint32(w.sent)-l.sent >= silentPackets
}

// source returns the best source that speaks.
func (w *watchdog) source(at time.Duration, awake bool) Source {
	switch {
	case awake && !w.silent(&w.feedback, at):
		return TransportFeedback
	case w.remoteNegotiated && !w.silent(&w.remote, at):
		return ReceiverEstimate
	case at < reportsSilence, w.reports.ever && at-w.reports.at < w.patience():
		return Reports
	}
	return Nothing
}

// patience returns how long reports may be silent.
func (w *watchdog) patience() time.Duration {
	return max(reportsSilence, min(2*time.Duration(w.every)*time.Millisecond, mostSilence))
}
