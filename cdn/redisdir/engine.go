package redisdir

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/replica"
)

// state is what is known of Redis. Directory.mu guards it.
type state struct {
	away      bool
	suspected bool // it has let a call wait since it last answered
	since     time.Time
	why       error // of away
	// up: the feed is subscribed, for the times'th time.
	up     bool
	times  int
	proved int // times, at the last proof
	// failed are the streams whose last reading failed: up to maxFailed.
	failed map[cdn.StreamID]bool
	lapsed time.Time // when the replica was last looked through while away
}

const maxFailed = 1 << 14

var errFeed = errors.New("announcements do not come")

// keepEngine looks after Redis until the directory is closed.
func (d *Directory) keepEngine() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-d.ctx.Done():
			return
		case <-d.kicked:
		case <-timer.C:
		}
		begun := time.Now()
		more := d.probe()
		timer.Reset(time.Until(d.nextProbe(begun, more)))
	}
}

// nextProbe returns when Redis is to be asked again, after it was at a time: in a second,
// when the next lease ends, or soon if it is away or there is more to read.
func (d *Directory) nextProbe(last time.Time, more bool) time.Time {
	const soon = 100 * time.Millisecond
	now := time.Now()
	if more || d.away() != nil {
		return now.Add(soon)
	}
	next := now.Add(probeEvery)
	if due, ok := d.set.Due(); ok && due.After(last) && due.Before(next) {
		next = due
	}
	return next
}

// suspect stops all commands to Redis until it has answered a PING. A server that is frozen
// would carry them all out at once when it resumes.
func (d *Directory) suspect() {
	d.mu.Lock()
	d.state.suspected = true
	d.mu.Unlock()
	d.kick()
}

// kick has Redis looked at now.
func (d *Directory) kick() {
	select {
	case d.kicked <- struct{}{}:
	default:
	}
}

// mostRead is how many streams are read in one round trip.
const mostRead = 256

// probe finds out whether Redis is there, and looks after what has ended. It reports
// whether there is more of that.
func (d *Directory) probe() (more bool) {
	d.mu.Lock()
	up, times := d.state.up, d.state.times
	d.mu.Unlock()
	if !up {
		d.lost(fmt.Errorf("%w: %w", replica.ErrAway, errFeed))
		return false
	}
	ctx, cancel := context.WithTimeout(d.ctx, patience)
	defer cancel()
	err := d.ping(ctx)
	if err == nil {
		err = d.pingFeed(ctx)
	}
	if d.ctx.Err() != nil {
		return false
	}
	if err != nil {
		if !errors.Is(err, replica.ErrAway) {
			err = fmt.Errorf("%w: %w", replica.ErrAway, err)
		}
		d.lost(err)
		return false
	}
	d.prove(times)
	ended := d.set.Ended(mostRead)
	if len(ended) == 0 {
		return false
	}
	return d.read(ctx, ended...) == nil && len(ended) == mostRead
}

// ping has Redis answer, every master of a Cluster.
func (d *Directory) ping(ctx context.Context) error {
	var err error
	if c, ok := d.client.(*redis.ClusterClient); ok {
		err = c.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error { return c.Ping(ctx).Err() })
	} else {
		err = d.client.Ping(ctx).Err()
	}
	if err != nil {
		return d.failed(err)
	}
	return nil
}

// pingFeed has Redis answer on the connection by which announcements come, behind all
// that was published.
func (d *Directory) pingFeed(ctx context.Context) error {
	select {
	case <-d.pongs: // a late one
	default:
	}
	token := strconv.FormatInt(time.Now().UnixNano(), 36)
	if err := d.feed.Ping(ctx, token); err != nil {
		return d.failed(err)
	}
	for {
		select {
		case pong := <-d.pongs:
			if pong == token {
				return nil
			}
		case <-ctx.Done():
			return fmt.Errorf("%w: %w: no answer for %v", replica.ErrAway, errFeed, patience)
		}
	}
}

// lost says that Redis is away.
func (d *Directory) lost(why error) {
	d.mu.Lock()
	if !d.state.away {
		d.state.away, d.state.since = true, time.Now()
		d.config.Logger.Warn("the directory's engine is away: what is known serves", "err", why)
	}
	if d.state.why == nil || !errors.Is(why, errFeed) { // that says less than what is known
		d.state.why = why
	}
	look := time.Since(d.state.lapsed) >= probeEvery
	if look {
		d.state.lapsed = time.Now()
	}
	d.mu.Unlock()
	if look {
		d.set.Lapse(time.Time{})
	}
}

// prove says that Redis is there, with the feed subscribed for the times'th time.
func (d *Directory) prove(times int) {
	d.mu.Lock()
	s := &d.state
	s.suspected = false
	back := s.away
	gap := back || s.proved != times
	if gap {
		d.set.Excuse()
		clear(s.failed)
		d.unread.Store(true)
	}
	if back {
		d.config.Logger.Info("the directory's engine is there", "after", time.Since(s.since))
		s.away, s.since, s.why = false, time.Now(), nil
	}
	s.proved = times
	d.mu.Unlock()
	select {
	case <-d.begun:
	default:
		close(d.begun)
	}
	if gap {
		d.reread()
	}
}

// reread stores the withdrawals that are owed, and reads what is being watched, a little
// later than other nodes do, or earlier.
func (d *Directory) reread() {
	ids := d.set.Watched()
	if len(ids) > 0 {
		select {
		case <-time.After(rand.N(250 * time.Millisecond)):
		case <-d.ctx.Done():
			return
		}
	}
	d.pay()
	for part := range slices.Chunk(ids, mostRead) {
		ctx, cancel := context.WithTimeout(d.ctx, patience)
		err := d.read(ctx, part...)
		cancel()
		if err != nil {
			d.config.Logger.Debug("what is watched cannot be read", "err", err)
			return
		}
	}
}

// note notes whether reading a stream has failed, and reports whether it had the last
// time.
func (d *Directory) note(id cdn.StreamID, fails bool) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	failed := d.state.failed[id]
	switch {
	case !fails:
		delete(d.state.failed, id)
	case len(d.state.failed) < maxFailed:
		d.state.failed[id] = true
	}
	return failed
}

// lapse drops what has ended of a stream that was read after a time, unless Redis is
// away.
func (d *Directory) lapse(sent time.Time, id cdn.StreamID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.state.away {
		d.set.Lapse(sent, id)
	}
}
