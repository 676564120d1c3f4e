package endpoint

import (
	"crypto/tls"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/logging"

	"github.com/deltacdn/delta/internal/dtlssrtp"
)

// keys are what a handshake leaves: the SRTP contexts, and the state from which
// the DTLS connection can be made again.
type keys struct {
	state dtls.State // when it was set aside
	srtp  dtlssrtp.Keys
	out   *dtlssrtp.Sealer

	// owned by the port's reader
	in   *dtlssrtp.Opener
	pace rate
}

// export makes the SRTP contexts of what was agreed.
func export(conn *dtls.Conn, client bool) (*keys, error) {
	agreed, err := dtlssrtp.Export(conn, client)
	if err != nil {
		return nil, err
	}
	k := &keys{srtp: agreed, pace: rate{every: time.Second / maxReports, burst: maxBurst}}
	if k.out, err = agreed.Sealer(); err != nil {
		return nil, err
	}
	k.in, err = agreed.Opener(maxSources)
	return k, err
}

// maxSources bounds from how many SSRCs a peer may send RTCP. A publisher has one
// for each layer, and that of its repairs.
const maxSources = 64

// How many compound packets a peer may send a second, and at once: several times
// what browsers do
// when much is lost. A NACK can ask for a lot, and others wait meanwhile.
const (
	maxReports = 200
	maxBurst   = 200
)

// open returns the RTCP in an SRTCP packet, which it writes over; nil if that is
// not authentic, or one too many, or of one SSRC too many. What others have forged
// does not count.
func (k *keys) open(now time.Time, packet []byte) (compound []byte) {
	if k.pace.wait(now) > 0 {
		return nil
	}
	compound, err := k.in.Open(packet)
	if err != nil {
		return nil
	}
	k.pace.take(now)
	return compound
}

// resume makes the DTLS connection again that was set aside.
func (k *keys) resume(p *dtlssrtp.Pipe, cert tls.Certificate, log logging.LoggerFactory) (*dtls.Conn, error) {
	return dtlssrtp.Resume(p, k.state, cert, log)
}

// sayGoodbye sends a close_notify.
func (k *keys) sayGoodbye(p *dtlssrtp.Pipe, cert tls.Certificate, log logging.LoggerFactory) {
	if conn, err := k.resume(p, cert, log); err == nil {
		_ = conn.Close()
	}
}
