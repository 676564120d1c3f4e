// Package tlsfiles serves a certificate from files, which may change while it runs.
package tlsfiles

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Files is a certificate and its key in two files (PEM). Its methods may be called
// concurrently.
type Files struct {
	log     *slog.Logger
	current atomic.Pointer[tls.Certificate]

	mu sync.Mutex
	names
	loaded state // of the files when they were last read
	failed state // of the files that could not be used
	warned state // of those of which a warning has been logged
	expiry time.Time
}

type names struct{ cert, key string }

// state tells whether files have changed.
type state struct {
	cert, key time.Time
	sizes     [2]int64
}

// Every is how often the files are looked at.
const Every = 2 * time.Second

// Open reads the files.
func Open(cert, key string, log *slog.Logger) (*Files, error) {
	f := &Files{log: log}
	return f, f.Use(cert, key)
}

// Certificate returns the certificate, for [tls.Config].GetCertificate.
func (f *Files) Certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return f.current.Load(), nil
}

// Leaf returns the node's own certificate.
func (f *Files) Leaf() *x509.Certificate { return f.current.Load().Leaf }

// Use reads the files now, which are those to watch from now on. If they are no
// certificate with its key, the old one and its files stay.
func (f *Files) Use(cert, key string) (err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	old := f.names
	f.names = names{cert, key}
	defer func() {
		if err != nil {
			f.names = old
		}
	}()
	s, err := f.stat()
	if err != nil {
		return err
	}
	return f.loadLocked(s)
}

func (f *Files) stat() (s state, err error) {
	for i, name := range []string{f.cert, f.key} {
		info, err := os.Stat(name)
		if err != nil {
			return s, err
		}
		s.sizes[i] = info.Size()
		if i == 0 {
			s.cert = info.ModTime()
		} else {
			s.key = info.ModTime()
		}
	}
	return s, nil
}

func (f *Files) loadLocked(s state) error {
	c, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil {
		f.failed = s
		var missing *os.PathError
		if errors.As(err, &missing) {
			return err
		}
		return fmt.Errorf("%s and %s: %w", f.cert, f.key, err)
	}
	if old := f.current.Load(); old != nil && !old.Leaf.Equal(c.Leaf) {
		f.log.Info("the certificate has changed", "file", f.cert, "until", c.Leaf.NotAfter)
	}
	f.current.Store(&c)
	f.loaded, f.failed = s, state{}
	return nil
}

// Watch looks at the files every now and then, until ctx ends.
func (f *Files) Watch(ctx context.Context, every time.Duration) {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		f.look(time.Now())
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// look reads the files if they have changed. The two are not written at one time, so
// that what cannot be used is tried again before a warning is logged.
func (f *Files) look(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, err := f.stat()
	again := err == nil && s == f.failed || err != nil && f.failed == state{sizes: [2]int64{-1, -1}}
	switch {
	case err == nil && s == f.loaded:
		f.failed = state{}
	case err != nil:
		s = state{sizes: [2]int64{-1, -1}}
		f.failed = s
	default:
		err = f.loadLocked(s)
	}
	if err != nil && again && f.warned != s {
		f.warned = s
		f.log.Warn("the certificate's files cannot be used; the old certificate stays", "err", err)
	}
	if err == nil {
		f.warned = state{}
	}
	f.warnExpiryLocked(now)
}

// warnExpiryLocked warns once a day of a certificate that nobody has renewed.
func (f *Files) warnExpiryLocked(now time.Time) {
	const early = 7 * 24 * time.Hour
	until := f.current.Load().Leaf.NotAfter
	if until.Sub(now) > early || now.Before(f.expiry) {
		return
	}
	f.expiry = now.Add(24 * time.Hour)
	if now.After(until) {
		f.log.Warn("the certificate has expired: browsers and other nodes refuse it; put a new one into the file", "file", f.cert, "until", until)
		return
	}
	f.log.Warn("the certificate expires soon; put a new one into the file", "file", f.cert, "until", until)
}
