package natsdir

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/replica"
)

// state is what is known of the engine. Directory.mu guards it.
type state struct {
	away       bool
	suspected  bool // an announcement has not come back since it last answered
	alone      bool // it answers, but has no way to other nodes
	since      time.Time
	why        error // of away
	reconnects uint64
	dropped    int
	lapsed     time.Time // when the replica was last looked through while away
}

// A proof says that the engine has answered a PING that was sent at a time: all that it
// had for this node until then is in the inbox, or was dropped.
type proof struct {
	sent       time.Time
	reconnects uint64
	dropped    int
	done       chan struct{} // closed when the proof has been taken
}

// askAt is how long after the first connection the others are asked. Who has answered
// does not answer again; in a cluster that is being formed, not all hear the first.
var askAt = []time.Duration{0, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second}

// keepEngine looks after the engine until the directory is closed.
func (d *Directory) keepEngine() {
	var connected time.Time // for the first time
	asked := 0
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-d.ctx.Done():
			return
		case <-d.kicked:
		case <-timer.C:
		}
		if connected.IsZero() && d.nc.IsConnected() {
			connected = time.Now()
		}
		if !connected.IsZero() && asked < len(askAt) && time.Since(connected) >= askAt[asked] {
			d.ask()
			asked++
		}
		if !connected.IsZero() && time.Since(connected) >= startsFor {
			d.started()
		}
		begun := time.Now()
		d.probe()
		next := d.nextProbe(begun)
		if !connected.IsZero() {
			if asked < len(askAt) {
				next = earlier(next, connected.Add(askAt[asked]))
			}
			if time.Since(connected) < startsFor {
				next = earlier(next, connected.Add(startsFor))
			}
		}
		timer.Reset(time.Until(next))
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// nextProbe returns when the engine is to be asked again, after it was at a time: in a
// second, when the next lease ends, or soon if it is away.
func (d *Directory) nextProbe(last time.Time) time.Time {
	const soon = 100 * time.Millisecond
	d.mu.Lock()
	away := d.state.away
	d.mu.Unlock()
	now := time.Now()
	if away {
		return now.Add(soon)
	}
	next := now.Add(probeEvery)
	if due, ok := d.set.Due(); ok && due.After(last) { // or it is held
		next = earlier(next, due)
	}
	return next
}

// kick has the engine looked at now.
func (d *Directory) kick() {
	select {
	case d.kicked <- struct{}{}:
	default:
	}
}

// probe finds out whether the engine is there.
func (d *Directory) probe() {
	p := proof{sent: time.Now(), reconnects: d.nc.Stats().Reconnects, done: make(chan struct{})}
	if err := d.connected(); err != nil {
		d.lost(err)
		return
	}
	ctx, cancel := context.WithTimeout(d.ctx, patience)
	err := d.nc.FlushWithContext(ctx)
	cancel()
	if d.ctx.Err() != nil {
		return
	}
	if err == nil {
		err = d.connected()
	}
	if err == nil && d.nc.Stats().Reconnects != p.reconnects {
		err = nats.ErrDisconnected
	}
	if err != nil {
		d.lost(fmt.Errorf("%w: no answer: %w", replica.ErrAway, err))
		return
	}
	for _, sub := range d.subs {
		n, _ := sub.Dropped() // of a subscription that stands
		p.dropped += n
	}
	select {
	case d.proofs <- p:
		<-p.done
	case <-d.ctx.Done():
	}
}

// connected returns why there is no connection, nil: there is one.
func (d *Directory) connected() error {
	switch status := d.nc.Status(); status {
	case nats.CONNECTED:
		return nil
	case nats.CLOSED:
		return fmt.Errorf("%w: the connection is %w", replica.ErrAway, cdn.ErrClosed)
	default:
		return fmt.Errorf("%w: the connection is %s", replica.ErrAway, status)
	}
}

// away returns why the engine takes no announcements, nil: it does.
func (d *Directory) away() error {
	if err := d.connected(); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.state.away:
		return d.state.why
	case d.state.suspected:
		return fmt.Errorf("%w: announcements do not come back", replica.ErrAway)
	}
	return nil
}

// suspect stops announcements until the engine has answered again. A server that is frozen
// would deliver them all at once when it resumes.
func (d *Directory) suspect() {
	d.mu.Lock()
	d.state.suspected = true
	d.mu.Unlock()
	d.kick()
}

// lost says that the engine is away.
func (d *Directory) lost(why error) {
	d.mu.Lock()
	if !d.state.away {
		d.state.away, d.state.since = true, time.Now()
		d.config.Logger.Warn("the directory's engine is away: what is known serves", "err", why)
	}
	d.state.why = why
	look := time.Since(d.state.lapsed) >= probeEvery
	if look {
		d.state.lapsed = time.Now()
	}
	d.mu.Unlock()
	if look {
		d.set.Lapse(time.Time{})
	}
}

// prove takes a proof, once all has been taken that had come by then.
func (d *Directory) prove(p proof) {
	defer close(p.done)
	alone := d.config.Reaches != nil && !d.config.Reaches()
	d.mu.Lock()
	defer d.mu.Unlock()
	s := &d.state
	s.suspected = false
	gap := s.away || s.alone || s.reconnects != p.reconnects || s.dropped != p.dropped
	switch {
	case s.away:
		d.config.Logger.Info("the directory's engine is back", "after", time.Since(s.since))
		s.away, s.since, s.why = false, time.Now(), nil
	case s.dropped != p.dropped:
		d.config.Logger.Warn("the directory dropped messages: this node is too slow for them", "messages", p.dropped-s.dropped)
	}
	if alone != s.alone {
		d.config.Logger.Info("other nodes' directories", "reached", !alone)
	}
	s.alone, s.reconnects, s.dropped = alone, p.reconnects, p.dropped
	if alone {
		d.set.Lapse(time.Time{})
		return
	}
	if gap {
		d.set.Excuse()
		d.payLocked()
	}
	d.set.Lapse(p.sent)
}
