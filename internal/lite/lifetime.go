package lite

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/dtlssrtp"
)

// lifetime is how long a session lasts, and what its end has to undo.
type lifetime struct {
	// static
	begun  time.Time
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{}
	gone   chan struct{} // closed when the viewer has hung up
	hangUp func()
	work   sync.WaitGroup // the goroutines that handshake and read DTLS

	// guarded by the session's mu
	expiry  *time.Timer
	unwatch func()
	detach  func()
	stopped bool
	err     error
}

func (l *lifetime) begin(now time.Time) {
	l.begun, l.done, l.gone = now, make(chan struct{}), make(chan struct{})
	l.hangUp = sync.OnceFunc(func() { close(l.gone) })
	l.ctx, l.cancel = context.WithCancel(context.Background())
}

// watch has the session end with its stream.
func (s *Session) watch(stream *cdn.Stream) {
	unwatch := stream.AfterEnd(s.End)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.life.stopped {
		unwatch()
		return
	}
	s.life.unwatch = unwatch
}

// missed returns why the session is to end now, nil: it may go on.
func (s *Session) missed(now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch connected := s.dtls.keys != nil; {
	case connected && now.Sub(s.ice.heard) >= silence:
		return cdn.ErrPeerLost
	case !connected && now.Sub(s.life.begun) >= connectTimeout:
		return fmt.Errorf("%w: no connection within %v", cdn.ErrTimeout, connectTimeout)
	}
	return nil
}

// Done is closed when the session is over.
func (s *Session) Done() <-chan struct{} { return s.life.done }

// Err returns why the session ends or ended, nil while it lives.
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.life.err
}

// End has the session end for the reason given, and does not wait. The first
// reason stays.
func (s *Session) End(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.life.stopped {
		return
	}
	s.life.stopped, s.life.err = true, err
	go s.finish()
}

// Close ends the session and waits for it. It is idempotent.
func (s *Session) Close() error {
	s.End(cdn.ErrClosed)
	<-s.life.done
	return nil
}

// finish says goodbye and gives back what the session has. Close waits for it.
func (s *Session) finish() {
	s.config.Watch.remove(s)
	s.mu.Lock()
	if s.life.expiry != nil {
		s.life.expiry.Stop()
	}
	if s.dtls.repeats != nil {
		s.dtls.repeats.Stop()
	}
	if s.life.unwatch != nil {
		s.life.unwatch()
	}
	detach, keys := s.life.detach, s.dtls.keys
	s.mu.Unlock()
	if detach != nil {
		detach()
	}
	s.set.Close()
	if keys != nil {
		s.goodbye(keys)
	}
	s.life.cancel()
	s.mu.Lock()
	if s.dtls.pipe != nil {
		_ = s.dtls.pipe.Close()
	}
	s.ice.release()
	s.mu.Unlock()
	s.life.work.Wait()
	if s.config.Ended != nil {
		s.config.Ended(s.Err(), s.Stats())
	}
	close(s.life.done)
}

// byeHeadStart is how long before the DTLS close a BYE goes out.
const byeHeadStart = 20 * time.Millisecond

// goodbye sends a BYE and a close_notify, unless the viewer did.
func (s *Session) goodbye(k *keys) {
	select {
	case <-s.life.gone:
		return
	default:
	}
	s.sendBye()
	select {
	case <-s.life.gone:
		return
	case <-time.After(byeHeadStart):
	}
	s.mu.Lock()
	frozen := s.dtls.frozen
	s.mu.Unlock()
	if !frozen {
		return // the connection's own reader closes it, and so says goodbye
	}
	out := dtlssrtp.NewPipe(s.send)
	k.sayGoodbye(out, s.config.Transport.Certificate, s.config.Log)
	_ = out.Close()
}
