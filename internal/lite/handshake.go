package lite

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

// dtlsState is the DTLS connection: before the handshake, while it is up, and set
// aside until the goodbye.
type dtlsState struct {
	pipe    *dtlssrtp.Pipe // where records go while it is up; nil before and after
	keys    *keys          // nil before the handshake
	conn    *dtls.Conn
	frozen  bool        // conn is set aside as keys.state
	thaw    *thaw       // conn made again for a moment; nil: it is not
	repeats *time.Timer // nil before the handshake

	// established is keys, for the port's reader, once there is all it needs.
	established atomic.Pointer[keys]
}

// receiveRecord gives a DTLS record to the connection. The first one begins the
// handshake, but only towards an address that is proved; when DTLS is set aside,
// only an alert is of interest.
func (s *Session) receiveRecord(now time.Time, record []byte, from netip.AddrPort) (connected bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.life.stopped || !s.ice.addr.IsValid():
	case s.dtls.keys != nil && !dtlssrtp.Protected(record, !s.dtls.frozen):
		// Anybody may have written it.
	case s.dtls.frozen && record[0] == alertRecord:
		s.alertLocked(record)
	case s.dtls.frozen:
	case s.dtls.pipe != nil:
		s.dtls.pipe.Put(record)
	case s.ice.proved() && dtlssrtp.IsClientHello(record):
		s.handshakeLocked(record)
	default:
		if p := s.ice.keep(record, from); p != nil {
			time.AfterFunc(p.askAt.Sub(now), func() { s.askUntilProved(p) })
		}
	}
	return s.dtls.frozen
}

// handshakeLocked begins the handshake with what came first.
func (s *Session) handshakeLocked(records ...[]byte) {
	p := dtlssrtp.NewPipe(s.send)
	s.dtls.pipe = p
	for _, record := range records {
		p.Put(record)
	}
	s.ice.forgetEarly()
	s.life.work.Go(func() { s.dial(p) })
}

// send sends a DTLS record to where the viewer is.
func (s *Session) send(record []byte) error { return s.config.Transport.Port.Send(record, s.to()) }

// dial is the goroutine of a handshake. Afterwards it reads the connection, in
// which a viewer's goodbye comes, until that is set aside.
func (s *Session) dial(p *dtlssrtp.Pipe) {
	conn, k, err := s.shake(p)
	if err != nil {
		if errors.Is(err, dtlssrtp.ErrFingerprint) {
			err = fmt.Errorf("%w: %w", cdn.ErrInvalid, err)
		} else {
			err = fmt.Errorf("%w: DTLS: %w", cdn.ErrPeerLost, err)
		}
		s.End(err)
		return
	}
	s.connected(conn, k)
	s.untilClosed(conn)
}

// shake is the handshake, as DTLS server.
func (s *Session) shake(p *dtlssrtp.Pipe) (*dtls.Conn, *keys, error) {
	conn, err := dtlssrtp.Handshake(s.life.ctx, p, dtlssrtp.Config{
		Certificate: s.config.Transport.Certificate, Peer: s.remote.fingerprints, Log: s.config.Log,
	})
	if err != nil {
		return nil, nil, err
	}
	k, err := export(conn)
	if err != nil {
		_ = conn.Close()
		return nil, nil, err
	}
	return conn, k, nil
}

func (s *Session) connected(conn *dtls.Conn, k *keys) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.life.stopped {
		return
	}
	s.dtls.keys, s.dtls.conn = k, conn
	s.media.out, s.again.out = k.out, k.out
	s.dtls.established.Store(k)
	s.ice.heard = time.Now()
	s.dtls.repeats = time.AfterFunc(firstRepeat, func() { s.repeat(firstRepeat) })
	if s.said.stream != nil {
		s.startLocked()
	}
}

// startLocked begins to send: the stream is there, and the viewer.
func (s *Session) startLocked() {
	s.set.Start()
	s.life.detach = s.said.stream.AttachBatch(s)
}

// Our last flight is one that nobody answers: were it lost, the viewer would
// miss it after a second or so. Until its first report comes, it is sent again.
const (
	firstRepeat = 60 * time.Millisecond
	lastRepeat  = 4 * firstRepeat
)

func (s *Session) repeat(after time.Duration) {
	s.mu.Lock()
	p := s.dtls.pipe
	if s.life.stopped || p == nil {
		s.mu.Unlock()
		return
	}
	if after < lastRepeat {
		s.dtls.repeats = time.AfterFunc(2*after, func() { s.repeat(2 * after) })
	}
	s.mu.Unlock()
	p.Repeat()
}

const maxBadReads = 64

// untilClosed reads conn until it is closed: by the viewer, by us because the
// session ends, or because it is set aside.
func (s *Session) untilClosed(conn *dtls.Conn) {
	closed := make(chan struct{})
	stop := context.AfterFunc(s.life.ctx, func() {
		_ = conn.Close()
		close(closed)
	})
	defer func() {
		if !stop() {
			<-closed
		}
	}()
	// Nobody talks to us in DTLS. What is wrong with something that was said is no
	// reason to end.
	buf := make([]byte, 64)
	for range maxBadReads {
		_, err := conn.Read(buf)
		if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, dtls.ErrConnClosed) {
			break
		}
	}
	s.mu.Lock()
	frozen := s.dtls.frozen
	s.mu.Unlock()
	_ = conn.Close()
	if !frozen {
		s.life.hangUp()
		s.End(cdn.ErrPeerLost)
	}
}

// freezeLocked sets the DTLS connection aside: it would hold three goroutines and
// most of a session's memory.
func (s *Session) freezeLocked() {
	if s.dtls.frozen || s.life.stopped {
		return
	}
	s.dtls.pipe.Mute(true) // what it says on closing is for later
	state, ok := s.dtls.conn.ConnectionState()
	if !ok { // it is closing
		s.dtls.pipe.Mute(false)
		return
	}
	s.dtls.keys.state, s.dtls.frozen, s.dtls.conn = state, true, nil
	_ = s.dtls.pipe.Close()
	s.dtls.pipe = nil
}
