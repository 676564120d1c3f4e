package endpoint

import (
	"crypto/tls"
	"net"
	"net/netip"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/logging"

	"github.com/deltacdn/delta/internal/endpoint/dtlssrtp"
	"github.com/deltacdn/delta/internal/udp/egress"
)

// keys are the result of a handshake: the SRTP contexts, and the state from which the
// DTLS connection can be resumed.
type keys struct {
	parked dtlssrtp.Parked // what dtlsState.parked speaks of
	srtp   dtlssrtp.Keys
	out    *dtlssrtp.Sealer

	// owned by the port's reader
	in      *dtlssrtp.Opener
	pace    rate // of what the peer says
	reports rate // of its reports beyond that
}

// export makes the SRTP contexts of a connection.
func export(conn *dtls.Conn, client bool) (*keys, error) {
	agreed, err := dtlssrtp.Export(conn, client)
	if err != nil {
		return nil, err
	}
	k := &keys{srtp: agreed, pace: feedbackPace, reports: reportsPace}
	if k.out, err = agreed.Sealer(); err != nil {
		return nil, err
	}
	k.in, err = agreed.Opener(maxSources)
	return k, err
}

// maxSources bounds the SSRCs of a peer's RTCP. A publisher has two a layer, one of them
// for repairs.
const maxSources = 64

// A peer may send so many compound packets a second, and so many at once: several times
// what browsers send when much is lost. A NACK can ask for a lot, and others wait meanwhile.
// Who sends more, since most of what it is sent is lost, has its reports heard all the same:
// without them nobody would notice that it is sent too much.
var (
	feedbackPace = rate{every: time.Second / 200, burst: 200}
	reportsPace  = rate{every: time.Second / 50, burst: 50}
)

// A Writer seals RTP packets straight into a batch. Copies of a Writer share its
// Sealer: one goroutine at a time may use them.
type Writer struct {
	Sealer *dtlssrtp.Sealer // nil before the handshake is over
	batch  *egress.Batch
	to     netip.AddrPort
}

// Into has the packets written next go to an address by a batch.
func (w *Writer) Into(batch *egress.Batch, to netip.AddrPort) { w.batch, w.to = batch, to }

// WriteRTP implements send.RTPWriter.
func (w *Writer) WriteRTP(header, payload []byte) (int, error) {
	return w.Sealer.RTP(w.batch, w.to, header, payload), nil
}

// An Opener opens the peer's SRTP packets in place. One goroutine at a time may use
// it.
type Opener struct{ *dtlssrtp.PacketOpener }

// Unpadded returns a payload without its padding (RFC 3550 section 5.1). It is false
// for padding that is longer than the payload.
func Unpadded(payload []byte) ([]byte, bool) {
	if len(payload) == 0 {
		return nil, false
	}
	n := int(payload[len(payload)-1])
	if n == 0 || n > len(payload) {
		return nil, false
	}
	return payload[:len(payload)-n], true
}

// Writer returns a Writer with the endpoint's own Sealer. It must be called in
// Connected or later.
func (e *Endpoint) Writer() Writer { return Writer{Sealer: e.dtls.out.Load()} }

// NewWriter returns a Writer with a Sealer of its own, so that another goroutine may
// use it. No two Sealers of an endpoint may seal for one SSRC (RFC 3711 section 9.1).
func (e *Endpoint) NewWriter() (Writer, error) {
	k := e.agreed()
	if k == nil {
		return Writer{}, net.ErrClosed
	}
	s, err := k.srtp.Sealer()
	return Writer{Sealer: s}, err
}

// NewOpener returns an Opener, which keeps the state of so many SSRCs: those heard
// last.
func (e *Endpoint) NewOpener(sources int) (*Opener, error) {
	k := e.agreed()
	if k == nil {
		return nil, net.ErrClosed
	}
	o, err := k.srtp.PacketOpener(sources)
	return &Opener{o}, err
}

// agreed returns the keys, nil before the handshake is over.
func (e *Endpoint) agreed() *keys {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.dtls.keys
}

// open returns the RTCP in an SRTCP packet, which it overwrites. It is nil if the packet
// is not authentic, or there are too many packets or SSRCs. Forged packets do not count.
func (k *keys) open(now time.Time, packet []byte) (compound []byte) {
	pace := &k.pace
	if pace.wait(now) > 0 && reportsArrivals(packet) {
		pace = &k.reports
	}
	if pace.wait(now) > 0 {
		return nil
	}
	compound, err := k.in.Open(packet)
	if err != nil {
		return nil
	}
	pace.take(now)
	return compound
}

// reportsArrivals reports whether a sealed compound packet begins with a report of what has
// arrived: its first header is in the clear (RFC 3711 section 3.4).
func reportsArrivals(packet []byte) bool {
	const senderReport, receiverReport, transportFeedback, arrivals = 200, 201, 205, 15
	if len(packet) < 2 {
		return false
	}
	switch packet[1] {
	case senderReport, receiverReport:
		return true
	case transportFeedback:
		return packet[0]&31 == arrivals
	}
	return false
}

// sayGoodbye sends a close_notify.
func (k *keys) sayGoodbye(p *dtlssrtp.Pipe, cert tls.Certificate, log logging.LoggerFactory) {
	if conn, err := k.parked.Resume(p, cert, log); err == nil {
		_ = conn.Close()
	}
}
