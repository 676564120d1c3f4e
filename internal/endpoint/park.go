package endpoint

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/pion/dtls/v3"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/endpoint/dtlssrtp"
)

const (
	alertRecord = 21 // RFC 6347 section 4.1
	// resumeFor is how long a resumed connection waits for an alert to be read. A forged
	// alert is never read.
	resumeFor = 100 * time.Millisecond
	// maxWaiting bounds the alerts that wait for the connection to be resumed.
	maxWaiting = 16
)

// A resumed is the parked DTLS connection, made again to read alerts: an authentic
// close_notify is the peer's goodbye. Anybody can forge alerts, so there is one resumed
// connection at a time for all that arrive.
type resumed struct {
	pipe    *dtlssrtp.Pipe
	waiting [][]byte // until the connection is open
	open    bool
	fresh   bool // more alerts arrived since it began to wait
}

// alertLocked takes an alert, which may be the peer's goodbye.
func (e *Endpoint) alertLocked(record []byte) {
	switch t := e.dtls.resumed; {
	case t == nil:
		t = &resumed{pipe: dtlssrtp.NewPipe(func([]byte) error { return nil }), waiting: [][]byte{append([]byte(nil), record...)}}
		e.dtls.resumed = t
		k := e.dtls.keys
		e.life.work.Go(func() { e.listen(t, k) })
	case t.open:
		t.pipe.Put(record)
		t.fresh = true
	case len(t.waiting) < maxWaiting:
		t.waiting = append(t.waiting, append([]byte(nil), record...))
	}
}

// listen is the goroutine of a resumed connection.
func (e *Endpoint) listen(t *resumed, k *keys) {
	defer func() { _ = t.pipe.Close() }()
	conn, err := k.parked.Resume(t.pipe, e.config.Identity.Certificate, e.config.Log)
	if err != nil {
		e.mu.Lock()
		e.dtls.resumed = nil
		e.mu.Unlock()
		return
	}
	for e.pending(t) {
		if saysGoodbye(conn) {
			e.hangUp()
			e.End(cdn.ErrPeerLost)
			break
		}
	}
	_ = conn.Close()
}

// pending reports whether there are alerts to read. If not, the next alert is for
// another resumed connection.
func (e *Endpoint) pending(t *resumed) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	more := t.fresh || !t.open
	for _, record := range t.waiting {
		t.pipe.Put(record)
	}
	t.waiting, t.open, t.fresh = nil, true, false
	if !more {
		e.dtls.resumed = nil
	}
	return more
}

// saysGoodbye reports whether a close_notify is read in time.
func saysGoodbye(conn *dtls.Conn) bool {
	_ = conn.SetReadDeadline(time.Now().Add(resumeFor))
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
