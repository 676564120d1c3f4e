package redisdir

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/deltacdn/delta/cdn/replica"
)

// keepFeed receives what is published, and connects anew as long as the directory is
// open.
func (d *Directory) keepFeed() {
	err := d.feed.Subscribe(d.ctx, d.channel()) // Receive connects again, if need be
	for d.ctx.Err() == nil {
		for err == nil {
			err = d.receiveOne()
		}
		d.mu.Lock()
		d.state.up = false
		d.mu.Unlock()
		if d.ctx.Err() != nil {
			return
		}
		d.lost(d.failed(err))
		d.kick()
		select {
		case <-time.After(100*time.Millisecond + rand.N(400*time.Millisecond)):
		case <-d.ctx.Done():
		}
		err = nil
	}
}

func (d *Directory) receiveOne() error {
	m, err := d.feed.Receive(d.ctx)
	if err != nil {
		return err
	}
	text := ""
	switch m := m.(type) {
	case *redis.Subscription:
		d.mu.Lock()
		d.state.up = true
		d.state.times++
		d.mu.Unlock()
		d.kick()
		return nil
	case *redis.Pong:
		text = pongMark + m.Payload
	case *redis.Message:
		text = m.Payload
	}
	select {
	case d.inbox <- text:
	case <-d.ctx.Done():
	}
	return nil
}

// pongMark begins what is in the inbox for a PING that was answered. No announcement
// does.
const pongMark = "\x00"

// receive takes what comes until the directory is closed.
func (d *Directory) receive() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-d.ctx.Done():
			return
		case text := <-d.inbox:
			d.takeText(text)
		case <-timer.C:
		}
		timer.Reset(d.object())
	}
}

func (d *Directory) takeText(text string) {
	if len(text) > 0 && text[:1] == pongMark {
		select {
		case d.pongs <- text[1:]:
		default: // nobody waits for it any more
		}
		return
	}
	if deaf := d.config.deaf; deaf != nil && deaf.Load() {
		return
	}
	d.mu.Lock()
	d.stats.Received++
	d.mu.Unlock()
	d.take(text, true)
}

// take takes an announcement. Fresh: it was announced now, and not read later.
func (d *Directory) take(raw string, fresh bool) {
	v, err := replica.Decode([]byte(raw))
	if err == nil && v.Seen != "" {
		if fresh {
			d.objected(v)
		}
		return
	}
	outcome := replica.Known
	if err == nil {
		outcome, err = d.set.Take(v)
	}
	if err != nil {
		d.refuse(err)
		return
	}
	if outcome == replica.Old && fresh {
		d.objections.Old(v.Key(), d.set.Seq(v.Key()))
	}
}

func (d *Directory) refuse(err error) {
	d.mu.Lock()
	d.stats.Refused++
	first := d.stats.Refused == 1
	d.mu.Unlock()
	if first { // Stats counts the others
		d.config.Logger.Warn("the directory cannot take an announcement", "err", err)
	}
}

// object sends the objections that are due, and returns in what time the next one is.
func (d *Directory) object() time.Duration {
	due, next := d.objections.Due()
	if len(due) > 0 && d.away() == nil {
		d.work.Go(func() { d.sendObjections(due) })
	}
	return next
}

func (d *Directory) sendObjections(due []replica.Value) {
	ctx, cancel := context.WithTimeout(d.ctx, readWithin)
	defer cancel()
	for _, v := range due {
		raw, err := v.Encode()
		if err == nil {
			err = d.client.Publish(ctx, d.channel(), raw).Err()
		}
		if err != nil {
			d.config.Logger.Debug("an objection cannot be sent", "err", err)
			return
		}
	}
}

// objected takes an objection. What this node has announced uses higher numbers from
// now on, and is announced anew.
func (d *Directory) objected(v replica.Value) {
	d.objections.Heard(v)
	mine := d.set.OwnOf(v.Seen)
	if len(mine) == 0 || !d.set.Raise(v.Seq) {
		return
	}
	d.config.Logger.Info("others know later announcements of this node: its clock may have been set back", "node", string(v.Seen))
	d.work.Go(func() {
		for _, v := range mine {
			if err := d.store(d.ctx, v); err != nil {
				return // it is announced again anyway
			}
		}
	})
}
