package endpoint

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/pion/dtls/v3"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/endpoint/dtlssrtp"
)

// dtlsState is the DTLS connection: before the handshake, while it is up, and
// parked until the goodbye.
type dtlsState struct {
	pipe    *dtlssrtp.Pipe // the connection's records; nil before the handshake and while parked
	keys    *keys          // nil before the handshake
	conn    *dtls.Conn
	parked  bool        // conn is set aside as keys.parked
	resumed *resumed    // conn made again for a moment; nil: it is not
	repeats *time.Timer // of our last flight; nil: it is not repeated

	// out is set before the owner is told that the peer is connected; established is
	// keys, for the port's reader, after that.
	out         atomic.Pointer[dtlssrtp.Sealer]
	established atomic.Pointer[keys]
}

// receiveRecord gives a DTLS record to the connection. The first one begins the
// handshake of a server, if its address is proved; otherwise it waits for that. While
// DTLS is parked, only alerts are read.
func (e *Endpoint) receiveRecord(now time.Time, record []byte, from netip.AddrPort) (connected bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.life.stopped || e.dtls.pipe == nil && !e.ice.addr.IsValid():
	case e.dtls.keys != nil && !dtlssrtp.Protected(record, !e.dtls.parked):
		// Anybody may have written it.
	case e.dtls.parked && record[0] == alertRecord:
		e.alertLocked(record)
	case e.dtls.parked:
	case e.config.Role.Client && dtlssrtp.IsClientHello(record):
		// The peer was about to begin a handshake of its own.
	case e.dtls.pipe != nil:
		if !dtlssrtp.IsClientHello(record) {
			e.ice.follow(from)
		}
		e.dtls.pipe.Put(record)
	case e.config.Role.Client: // it begins itself
	case e.ice.proved() && dtlssrtp.IsClientHello(record):
		e.handshakeLocked(record)
	default:
		if p := e.ice.keep(record, from); p != nil {
			time.AfterFunc(p.askAt.Sub(now), func() { e.askUntilProved(p) })
		}
	}
	return e.connectedLocked()
}

// connectedLocked reports whether the peer is known to be connected.
func (e *Endpoint) connectedLocked() bool {
	return e.dtls.parked || e.config.Role.Data != nil && e.dtls.keys != nil
}

// handshakeLocked begins the handshake, with the records that have arrived.
func (e *Endpoint) handshakeLocked(records ...[]byte) {
	p := dtlssrtp.NewPipe(e.send)
	e.dtls.pipe = p
	for _, record := range records {
		p.Put(record)
	}
	e.ice.forgetEarly()
	ctx := e.life.ctx
	e.life.work.Go(func() { e.dial(ctx, p) })
}

// send sends a DTLS record to the peer. A record that cannot be sent is like one that
// is lost on the way: DTLS sends it again.
func (e *Endpoint) send(record []byte) error {
	e.mu.Lock()
	to := e.ice.targets()
	e.mu.Unlock()
	for _, addr := range to {
		_ = e.config.Transport.Port.Send(record, addr)
	}
	return nil
}

// Write sends application data by DTLS, as one datagram. It fails unless the
// connection is up.
func (e *Endpoint) Write(datagram []byte) error {
	e.mu.Lock()
	conn := e.dtls.conn
	e.mu.Unlock()
	if conn == nil {
		return net.ErrClosed
	}
	_, err := conn.Write(datagram)
	return err
}

// dial is the goroutine of a handshake. Afterwards it reads the connection until
// that is closed or parked.
func (e *Endpoint) dial(ctx context.Context, p *dtlssrtp.Pipe) {
	conn, k, err := e.shake(ctx, p)
	if err != nil {
		e.End(err)
		return
	}
	if e.connected(conn, k) {
		if err := e.owner.Connected(); err != nil {
			e.End(err)
			_ = conn.Close()
			return
		}
		e.establish(k)
	}
	e.untilClosed(ctx, conn)
}

// shake is the handshake.
func (e *Endpoint) shake(ctx context.Context, p *dtlssrtp.Pipe) (*dtls.Conn, *keys, error) {
	r := e.config.Remote
	c := dtlssrtp.Config{
		Client: e.config.Role.Client, Certificate: e.config.Identity.Certificate, Peer: r.Fingerprints, Log: e.config.Log,
	}
	var refused error
	if r.Verify != nil {
		c.Peer = nil
		c.Verify = func(chain []*x509.Certificate) error {
			refused = r.Verify(chain)
			return refused
		}
	}
	conn, err := dtlssrtp.Handshake(ctx, p, c)
	switch {
	case refused != nil:
		return nil, nil, refused
	case errors.Is(err, dtlssrtp.ErrFingerprint):
		return nil, nil, fmt.Errorf("%w: %w", cdn.ErrInvalid, err)
	case err != nil:
		return nil, nil, fmt.Errorf("%w: DTLS: %w", cdn.ErrPeerLost, err)
	}
	k, err := export(conn, c.Client)
	if err != nil {
		_ = conn.Close()
		return nil, nil, fmt.Errorf("%w: DTLS: %w", cdn.ErrPeerLost, err)
	}
	return conn, k, nil
}

// connected notes that the handshake is over. It is false if the endpoint has ended.
func (e *Endpoint) connected(conn *dtls.Conn, k *keys) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.life.stopped {
		return false
	}
	e.dtls.keys, e.dtls.conn = k, conn
	e.config.Remote = Remote{Mid: e.config.Remote.Mid} // the rest was for the handshake
	e.dtls.out.Store(k.out)
	e.ice.heard = time.Now()
	switch {
	case e.config.Role.Data != nil: // the peer asks for a lost flight soon
		e.dtls.pipe.Complete()
		k.pace = rate{burst: 1}
	case !e.config.Role.Client: // a client's last flight is answered
		e.dtls.repeats = time.AfterFunc(firstRepeat, func() { e.repeat(firstRepeat) })
	}
	return true
}

// Accept has packets go to the owner ahead of the end of its Connected, which calls it:
// for an owner that asks the peer for media there.
func (e *Endpoint) Accept() { e.establish(e.agreed()) }

// establish has packets go to the owner, which has accepted the peer.
func (e *Endpoint) establish(k *keys) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.life.stopped {
		e.ice.connected()
		e.dtls.established.Store(k)
	}
}

// Nobody answers our last flight: if it were lost, the peer would miss it after a
// second or so. It is sent again until the peer's first report arrives.
const (
	firstRepeat = 60 * time.Millisecond
	lastRepeat  = 4 * firstRepeat
)

// stopRepeats ends them. A timer that is over is no use either, and takes memory.
func (d *dtlsState) stopRepeats() {
	if d.repeats != nil {
		d.repeats.Stop()
		d.repeats = nil
	}
}

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

const (
	// maxBadReads in a row end the reading of a connection. A record that cannot be
	// read is no reason to end.
	maxBadReads = 64
	maxDatagram = 2048 // bytes of application data
)

// untilClosed reads conn until it is closed: by the peer, by us because the
// endpoint ends, or because it is parked.
func (e *Endpoint) untilClosed(ctx context.Context, conn *dtls.Conn) {
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = conn.Close()
		close(closed)
	})
	defer func() {
		if !stop() {
			<-closed
		}
	}()
	e.readData(conn)
	e.mu.Lock()
	parked := e.dtls.parked
	e.mu.Unlock()
	_ = conn.Close()
	if !parked {
		if e.config.Role.Data != nil {
			e.config.Role.Data(time.Now(), nil)
		}
		e.hangUp()
		e.End(cdn.ErrPeerLost)
	}
}

// readData reads application data until conn is closed. Clients send none.
func (e *Endpoint) readData(conn *dtls.Conn) {
	data := e.config.Role.Data
	buf := make([]byte, 64)
	if data != nil {
		buf = make([]byte, maxDatagram)
	}
	for bad := 0; bad < maxBadReads; bad++ {
		n, err := conn.Read(buf)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed), errors.Is(err, dtls.ErrConnClosed):
			return
		case err == nil && data != nil:
			data(time.Now(), buf[:n])
			bad = -1
		}
	}
}

// parkLocked parks the DTLS connection, which would hold three goroutines and most of an
// endpoint's memory.
func (e *Endpoint) parkLocked() {
	if e.dtls.parked || e.life.stopped || e.config.Role.Data != nil {
		return
	}
	e.dtls.pipe.Mute(true) // what it says on closing is for later
	parked, ok := dtlssrtp.Park(e.dtls.conn)
	if !ok {
		e.dtls.pipe.Mute(false)
		return
	}
	e.dtls.keys.parked, e.dtls.parked, e.dtls.conn = parked, true, nil
	_ = e.dtls.pipe.Close()
	e.dtls.pipe = nil
	e.dtls.stopRepeats()
	e.life.ctx, e.life.cancel = nil, nil // which were for the handshake and the reading
}
