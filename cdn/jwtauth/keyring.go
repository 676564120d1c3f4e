package jwtauth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"

	"github.com/deltacdn/delta/cdn/internal/outbound"
)

// A keyring has the keys of one JWKS, and reads it again. The last set that could be
// read serves while a later one cannot.
type keyring struct {
	// static
	name    string // for the log
	load    func(context.Context) ([]byte, error)
	log     *slog.Logger
	refresh time.Duration
	between time.Duration
	timeout time.Duration

	wake chan struct{}   // holds one
	done <-chan struct{} // run is to end

	mu      sync.Mutex
	set     keyfunc.Keyfunc // nil: none yet
	last    time.Time       // when it was read, or tried to be
	err     error           // why it could not be, nil if it could
	reading chan struct{}   // closed when the reading that goes on is over; nil if none
}

func newKeyring(c Config, done <-chan struct{}, name string, load func(context.Context) ([]byte, error)) *keyring {
	return &keyring{
		err: errUnread, done: done,
		name: name, load: load, log: c.Logger, refresh: c.Refresh, between: c.Between, timeout: c.Timeout,
		wake: make(chan struct{}, 1), reading: make(chan struct{}),
	}
}

// urlLoader returns what gets the set from a URL.
func urlLoader(client *outbound.Client, u *url.URL) func(context.Context) ([]byte, error) {
	return func(ctx context.Context) ([]byte, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
		if err != nil {
			return nil, err
		}
		r.Header.Set("Accept", "application/jwk-set+json, application/json")
		resp, err := client.Do(r)
		if err != nil {
			return nil, err
		}
		defer outbound.Discard(resp.Body)
		if resp.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("the answer is %q", resp.Status)
		}
		return outbound.ReadAll(resp.Body, maxKeyFile)
	}
}

// run reads the set now and again until ctx is done.
func (k *keyring) run(ctx context.Context) {
	for failures := 0; ; {
		if k.read(ctx) == nil {
			failures = 0
		} else {
			failures++
		}
		timer := time.NewTimer(k.pause(failures))
		select {
		case <-timer.C:
		case <-k.wake:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return
		}
		k.begin()
	}
}

// pause is how long to wait after so many failures in a row.
func (k *keyring) pause(failures int) time.Duration {
	if failures == 0 {
		return k.refresh
	}
	return min(time.Second<<min(failures-1, 20), k.refresh)
}

// begin notes that a reading goes on, for which others can wait.
func (k *keyring) begin() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.reading == nil {
		k.reading = make(chan struct{})
	}
	select {
	case <-k.wake: // for a reading that this one does for
	default:
	}
}

// read reads the set, logs a change, and wakes all that wait for it: whoever was
// woken finds the line in the log.
func (k *keyring) read(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, k.timeout)
	defer cancel()
	var set keyfunc.Keyfunc
	data, err := k.load(bounded)
	if err == nil {
		set, err = parseSet(data)
	}
	k.mu.Lock()
	was := k.err
	k.last, k.err = time.Now(), err
	if err == nil {
		k.set = set
	}
	kept := k.set != nil
	reading := k.reading
	k.reading = nil
	k.mu.Unlock()
	defer close(reading)
	switch {
	case ctx.Err() != nil:
	case err != nil && (was == nil || errors.Is(was, errUnread)):
		k.log.Warn("the keys for tokens cannot be read: the last ones stay in use; tokens of new keys are refused",
			"jwks", k.name, "has_keys", kept, "err", err)
	case err == nil && was != nil && !errors.Is(was, errUnread):
		k.log.Info("the keys for tokens can be read again", "jwks", k.name)
	}
	return err
}

// errUnread is why there are no keys at the start.
var errUnread = errors.New("not read yet")

// wait waits until the reading that goes on, if any, is over.
func (k *keyring) wait(ctx context.Context) {
	k.mu.Lock()
	reading := k.reading
	k.mu.Unlock()
	if reading == nil {
		return
	}
	select {
	case <-reading:
	case <-ctx.Done():
	case <-k.done:
	}
}

// renew has the set read again, and waits for that, unless it was read lately.
func (k *keyring) renew(ctx context.Context) {
	k.mu.Lock()
	if k.reading == nil {
		if time.Since(k.last) < k.between {
			k.mu.Unlock()
			return
		}
		k.reading = make(chan struct{})
		select {
		case k.wake <- struct{}{}:
		default:
		}
	}
	k.mu.Unlock()
	k.wait(ctx)
}

// keys returns the keys that a token may have been signed with. known is false if
// nothing can be said, since the newest set could not be read.
func (k *keyring) keys(token *jwt.Token) (keys []jwt.VerificationKey, known bool) {
	k.mu.Lock()
	set, err := k.set, k.err
	k.mu.Unlock()
	if set == nil {
		return nil, false
	}
	switch got, lookup := set.Keyfunc(token); got := got.(type) {
	case jwt.VerificationKeySet:
		keys = fitting(token.Method.Alg(), got.Keys...)
	default:
		if lookup == nil {
			keys = fitting(token.Method.Alg(), got)
		}
	}
	return keys, err == nil
}
