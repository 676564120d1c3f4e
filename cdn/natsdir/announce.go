package natsdir

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/replica"
)

// announce sends v to all, and returns when it has come back.
func (d *Directory) announce(ctx context.Context, v replica.Value) error {
	if err := d.ended(ctx); err != nil {
		return err
	}
	if v.Entry != nil {
		if err := d.set.Check(*v.Entry); err != nil {
			return err
		}
	}
	d.mu.Lock()
	delete(d.owed, v.Key()) // it is not gone
	d.mu.Unlock()
	if err := d.away(); err != nil {
		return err
	}
	w, err := d.send(v)
	if err != nil {
		return err
	}
	if err := d.wait(ctx, w); err != nil {
		return err
	}
	if v.Entry != nil {
		return d.set.Check(*v.Entry) // another node may have been ahead
	}
	return nil
}

// withdraw sends that something is gone to all, and returns when it has come back. What
// cannot be sent now is owed.
func (d *Directory) withdraw(ctx context.Context, g replica.Gone) error {
	if err := d.ended(ctx); err != nil {
		return err
	}
	v := replica.Value{Lease: goneFor, Gone: &g}
	err := d.away()
	if err == nil {
		var w wait
		if w, err = d.send(v); err == nil {
			err = d.wait(ctx, w)
		}
	}
	if err != nil {
		d.owe(v)
	}
	return err
}

// send publishes v with a number of its own, and has it counted here.
func (d *Directory) send(v replica.Value) (wait, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	raw, err := d.numberLocked(&v)
	if err != nil {
		return wait{}, err
	}
	w := wait{v.Key(), v.Seq}
	d.waits[w] = make(chan struct{})
	if err := d.publishLocked(d.subject(announceSubject), raw); err != nil {
		delete(d.waits, w)
		return wait{}, err
	}
	return w, nil
}

// numberLocked gives v a number, takes it into the set, and returns its JSON.
func (d *Directory) numberLocked(v *replica.Value) ([]byte, error) {
	for {
		v.Seq = d.set.Next(v.Key())
		raw, err := v.Encode()
		if err != nil {
			return nil, err
		}
		keep, err := replica.Decode(raw) // as others see it
		if err != nil {
			return nil, err
		}
		outcome, err := d.set.Keep(keep, raw)
		switch {
		case err != nil:
			return nil, err
		case outcome == replica.Took:
			return raw, nil
		case outcome == replica.Stale:
			if err := d.set.Check(*v.Entry); err != nil {
				return nil, err
			}
		}
		// Another writer of the key has been faster, or a higher epoch is gone again.
	}
}

// publishLocked sends a message if there is a connection. What would wait in the buffer
// of a connection that is lost would be old news when it leaves.
func (d *Directory) publishLocked(subject string, lines ...[]byte) error {
	if err := d.connected(); err != nil {
		return err
	}
	if err := d.nc.PublishRequest(subject, d.inboxOf(d.id), join(lines)); err != nil {
		return fmt.Errorf("%w: %w", replica.ErrAway, err)
	}
	d.stats.Sent++
	return nil
}

// wait returns when the announcement has come back.
func (d *Directory) wait(ctx context.Context, w wait) error {
	d.mu.Lock()
	back := d.waits[w]
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		delete(d.waits, w)
		d.mu.Unlock()
	}()
	if back == nil { // already
		return nil
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-back:
		return nil
	case <-timer.C:
		d.suspect()
		return fmt.Errorf("%w: an announcement has not come back for %v (is %s allowed?)", replica.ErrAway, patience, d.subject(">"))
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			d.suspect()
		}
		return ctx.Err()
	case <-d.ctx.Done():
		return cdn.ErrClosed
	}
}

// arrivedLocked wakes who waits for an announcement.
func (d *Directory) arrivedLocked(w wait) {
	if back := d.waits[w]; back != nil {
		close(back)
		delete(d.waits, w)
	}
}

// owe has a withdrawal counted here, and sent when the engine is back.
func (d *Directory) owe(v replica.Value) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.numberLocked(&v); err != nil || len(d.owed) >= maxOwed {
		return // its lease ends
	}
	d.owed[v.Key()] = v
}

// payLocked sends the withdrawals that could not be sent, many to a message.
func (d *Directory) payLocked() {
	var lines [][]byte
	for k, v := range d.owed {
		delete(d.owed, k)
		if raw, err := d.numberLocked(&v); err == nil {
			lines = append(lines, raw)
		}
	}
	for _, part := range parts(lines, d.mostBytes()) {
		if err := d.publishLocked(d.subject(announceSubject), part...); err != nil {
			d.config.Logger.Warn("withdrawals are left to expire", "err", err)
			return
		}
	}
}
