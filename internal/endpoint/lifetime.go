package endpoint

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/endpoint/dtlssrtp"
)

// lifetime is the end of an endpoint, and what waits for it.
type lifetime struct {
	// static
	begun time.Time
	done  chan struct{}
	work  sync.WaitGroup // the goroutines that handshake and read DTLS

	// guarded by the endpoint's mu
	ctx     context.Context // ends with the endpoint; nil while DTLS is parked
	cancel  context.CancelFunc
	stopped bool
	hungUp  bool          // the peer has said goodbye
	gone    chan struct{} // closed when it has; nil: nobody waits for that
	err     error
}

func (l *lifetime) begin(now time.Time) {
	l.begun, l.done = now, make(chan struct{})
	l.ctx, l.cancel = context.WithCancel(context.Background())
}

// missed returns why the endpoint has to end now, nil if it may go on.
func (e *Endpoint) missed(now time.Time) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch connected := e.dtls.keys != nil; {
	case connected && now.Sub(e.ice.heard) >= silence:
		return cdn.ErrPeerLost
	case !connected && now.Sub(e.life.begun) >= connectTimeout:
		return fmt.Errorf("%w: no connection within %v", cdn.ErrTimeout, connectTimeout)
	}
	return nil
}

// Done is closed when the endpoint is over.
func (e *Endpoint) Done() <-chan struct{} { return e.life.done }

// Err returns why the endpoint ends or ended, nil while it lives.
func (e *Endpoint) Err() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.life.err
}

// End has the endpoint end for the reason given, and does not wait. The first
// reason stays.
func (e *Endpoint) End(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.life.stopped {
		return
	}
	e.life.stopped, e.life.err = true, err
	go e.finish()
}

// Close ends the endpoint for a client that says goodbye, and waits for its end. It may
// be called more than once.
func (e *Endpoint) Close() error {
	e.End(cdn.ErrLeft)
	<-e.life.done
	return nil
}

// finish says goodbye and releases what the endpoint holds.
func (e *Endpoint) finish() {
	e.config.Watch.remove(e)
	e.mu.Lock()
	e.dtls.stopRepeats()
	keys := e.dtls.keys
	e.mu.Unlock()
	bye, ended := e.owner.Ending(e.Err())
	if keys != nil {
		e.goodbye(keys, bye)
	}
	e.mu.Lock()
	if e.life.cancel != nil {
		e.life.cancel()
	}
	if e.dtls.pipe != nil {
		_ = e.dtls.pipe.Close()
	}
	e.ice.release()
	e.mu.Unlock()
	e.life.work.Wait()
	ended()
	close(e.life.done)
}

// byeHeadStart is how long ahead of the DTLS close a BYE goes out.
const byeHeadStart = 20 * time.Millisecond

// hangUp notes that the peer has said goodbye.
func (e *Endpoint) hangUp() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.life.hungUp && e.life.gone != nil {
		close(e.life.gone)
	}
	e.life.hungUp = true
}

// awaitGoodbye returns what is closed when the peer says goodbye; nil: it has said it. One
// goroutine calls it.
func (e *Endpoint) awaitGoodbye() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.life.hungUp {
		return nil
	}
	e.life.gone = make(chan struct{})
	return e.life.gone
}

// goodbye sends the owner's RTCP and a close_notify, unless the peer said goodbye.
func (e *Endpoint) goodbye(k *keys, bye []byte) {
	gone := e.awaitGoodbye()
	if gone == nil {
		return
	}
	if bye != nil {
		e.SendRTCP(bye)
		select {
		case <-gone:
			return
		case <-time.After(byeHeadStart):
		}
	}
	e.mu.Lock()
	parked := e.dtls.parked
	e.mu.Unlock()
	if !parked {
		return // the connection's reader closes it, which says goodbye
	}
	out := dtlssrtp.NewPipe(e.send)
	k.sayGoodbye(out, e.config.Identity.Certificate, e.config.Log)
	_ = out.Close()
}
