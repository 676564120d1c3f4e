package lite

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/pion/dtls/v3"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/dtlssrtp"
)

const (
	alertRecord = 21 // RFC 6347 section 4.1
	// thawFor is how long the connection that was made again for an alert waits
	// for it: no longer than it takes to be read. A forgery says nothing.
	thawFor = 100 * time.Millisecond
	// maxWaiting bounds the alerts that wait for it to be made.
	maxWaiting = 16
)

// A thaw is the DTLS connection that was set aside, made again to see what alerts
// say: if one is authentic, the viewer hangs up. Anybody may have written them, so
// there is one at a time, which all that come meanwhile are for.
type thaw struct {
	pipe    *dtlssrtp.Pipe
	waiting [][]byte // until the connection is there
	open    bool     // it is
	fresh   bool     // more came since it began to wait
}

// alertLocked takes what may be the viewer's goodbye.
func (s *Session) alertLocked(record []byte) {
	switch t := s.dtls.thaw; {
	case t == nil:
		t = &thaw{pipe: dtlssrtp.NewPipe(func([]byte) error { return nil }), waiting: [][]byte{append([]byte(nil), record...)}}
		s.dtls.thaw = t
		k := s.dtls.keys
		s.life.work.Go(func() { s.listen(t, k) })
	case t.open:
		t.pipe.Put(record)
		t.fresh = true
	case len(t.waiting) < maxWaiting:
		t.waiting = append(t.waiting, append([]byte(nil), record...))
	}
}

// listen is the goroutine of a thaw.
func (s *Session) listen(t *thaw, k *keys) {
	defer func() { _ = t.pipe.Close() }()
	conn, err := k.resume(t.pipe, s.config.Transport.Certificate, s.config.Log)
	if err != nil {
		s.mu.Lock()
		s.dtls.thaw = nil
		s.mu.Unlock()
		return
	}
	for s.comes(t) {
		if saysGoodbye(conn) {
			s.life.hangUp()
			s.End(cdn.ErrPeerLost)
			break
		}
	}
	_ = conn.Close()
}

// comes reports whether there is something to wait for. Otherwise the next alert
// is another thaw's.
func (s *Session) comes(t *thaw) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	more := t.fresh || !t.open
	for _, record := range t.waiting {
		t.pipe.Put(record)
	}
	t.waiting, t.open, t.fresh = nil, true, false
	if !more {
		s.dtls.thaw = nil
	}
	return more
}

// saysGoodbye reports whether a close_notify comes in time.
func saysGoodbye(conn *dtls.Conn) bool {
	_ = conn.SetReadDeadline(time.Now().Add(thawFor))
	buf := make([]byte, 64)
	for range maxBadReads {
		_, err := conn.Read(buf)
		switch {
		case errors.Is(err, io.EOF):
			return true
		case errors.Is(err, context.DeadlineExceeded):
			return false
		}
	}
	return false
}
