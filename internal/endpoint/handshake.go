package endpoint

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/pion/dtls/v3"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/dtlssrtp"
)

// dtlsState is the DTLS connection: before the handshake, while it is up, and
// parked until the goodbye.
type dtlsState struct {
	pipe    *dtlssrtp.Pipe // where records go while it is up; nil before and after
	keys    *keys          // nil before the handshake
	conn    *dtls.Conn
	parked  bool        // conn is set aside as keys.state
	resumed *resumed    // conn made again for a moment; nil: it is not
	repeats *time.Timer // nil before the handshake

	// out is set before the owner is told that the peer is connected; established is
	// keys, for the port's reader, after that.
	out         atomic.Pointer[dtlssrtp.Sealer]
	established atomic.Pointer[keys]
}

// receiveRecord gives a DTLS record to the connection. The first one begins the
// handshake of a server, but only towards an address that is proved; when DTLS is
// parked, only an alert is of interest.
func (e *Endpoint) receiveRecord(now time.Time, record []byte, from netip.AddrPort) (connected bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.life.stopped || !e.ice.addr.IsValid():
	case e.dtls.keys != nil && !dtlssrtp.Protected(record, !e.dtls.parked):
		// Anybody may have written it.
	case e.dtls.parked && record[0] == alertRecord:
		e.alertLocked(record)
	case e.dtls.parked:
	case e.dtls.pipe != nil:
		e.dtls.pipe.Put(record)
	case e.config.Role.Client: // it begins itself
	case e.ice.proved() && dtlssrtp.IsClientHello(record):
		e.handshakeLocked(record)
	default:
		if p := e.ice.keep(record, from); p != nil {
			time.AfterFunc(p.askAt.Sub(now), func() { e.askUntilProved(p) })
		}
	}
	return e.dtls.parked
}

// handshakeLocked begins the handshake with what came first.
func (e *Endpoint) handshakeLocked(records ...[]byte) {
	p := dtlssrtp.NewPipe(e.send)
	e.dtls.pipe = p
	for _, record := range records {
		p.Put(record)
	}
	e.ice.forgetEarly()
	e.life.work.Go(func() { e.dial(p) })
}

// send sends a DTLS record to where the peer is.
func (e *Endpoint) send(record []byte) error { return e.config.Transport.Port.Send(record, e.To()) }

// dial is the goroutine of a handshake. Afterwards it reads the connection, in
// which the peer's goodbye comes, until that is parked.
func (e *Endpoint) dial(p *dtlssrtp.Pipe) {
	conn, k, err := e.shake(p)
	if err != nil {
		if errors.Is(err, dtlssrtp.ErrFingerprint) {
			err = fmt.Errorf("%w: %w", cdn.ErrInvalid, err)
		} else {
			err = fmt.Errorf("%w: DTLS: %w", cdn.ErrPeerLost, err)
		}
		e.End(err)
		return
	}
	if e.connected(conn, k) {
		e.owner.Connected(k.srtp, k.out)
		e.dtls.established.Store(k)
	}
	e.untilClosed(conn)
}

// shake is the handshake.
func (e *Endpoint) shake(p *dtlssrtp.Pipe) (*dtls.Conn, *keys, error) {
	conn, err := dtlssrtp.Handshake(e.life.ctx, p, dtlssrtp.Config{
		Client: e.config.Role.Client, Certificate: e.config.Transport.Certificate, Peer: e.config.Remote.Fingerprints, Log: e.config.Log,
	})
	if err != nil {
		return nil, nil, err
	}
	k, err := export(conn, e.config.Role.Client)
	if err != nil {
		_ = conn.Close()
		return nil, nil, err
	}
	return conn, k, nil
}

// connected notes that the handshake is over. It is false if the endpoint is, too.
func (e *Endpoint) connected(conn *dtls.Conn, k *keys) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.life.stopped {
		return false
	}
	e.dtls.keys, e.dtls.conn = k, conn
	e.dtls.out.Store(k.out)
	e.ice.heard = time.Now()
	if !e.config.Role.Client { // whose last flight is answered
		e.dtls.repeats = time.AfterFunc(firstRepeat, func() { e.repeat(firstRepeat) })
	}
	return true
}

// Our last flight is one that nobody answers: were it lost, the peer would
// miss it after a second or so. Until its first report comes, it is sent again.
const (
	firstRepeat = 60 * time.Millisecond
	lastRepeat  = 4 * firstRepeat
)

func (e *Endpoint) repeat(after time.Duration) {
	e.mu.Lock()
	p := e.dtls.pipe
	if e.life.stopped || p == nil {
		e.mu.Unlock()
		return
	}
	if after < lastRepeat {
		e.dtls.repeats = time.AfterFunc(2*after, func() { e.repeat(2 * after) })
	}
	e.mu.Unlock()
	p.Repeat()
}

const maxBadReads = 64

// untilClosed reads conn until it is closed: by the peer, by us because the
// endpoint ends, or because it is parked.
func (e *Endpoint) untilClosed(conn *dtls.Conn) {
	closed := make(chan struct{})
	stop := context.AfterFunc(e.life.ctx, func() {
		_ = conn.Close()
		close(closed)
	})
	defer func() {
		if !stop() {
			<-closed
		}
	}()
	// No application data comes in DTLS. A record that cannot be read is no reason to
	// end.
	buf := make([]byte, 64)
	for range maxBadReads {
		_, err := conn.Read(buf)
		if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, dtls.ErrConnClosed) {
			break
		}
	}
	e.mu.Lock()
	parked := e.dtls.parked
	e.mu.Unlock()
	_ = conn.Close()
	if !parked {
		e.life.hangUp()
		e.End(cdn.ErrPeerLost)
	}
}

// parkLocked sets the DTLS connection aside: it would hold three goroutines and
// most of an endpoint's memory.
func (e *Endpoint) parkLocked() {
	if e.dtls.parked || e.life.stopped {
		return
	}
	e.dtls.pipe.Mute(true) // what it says on closing is for later
	state, ok := e.dtls.conn.ConnectionState()
	if !ok { // it is closing
		e.dtls.pipe.Mute(false)
		return
	}
	e.dtls.keys.state, e.dtls.parked, e.dtls.conn = state, true, nil
	_ = e.dtls.pipe.Close()
	e.dtls.pipe = nil
}
