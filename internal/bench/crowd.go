package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A crowd is people who want to view, one after the other on each seat. Who is refused
// comes again when it was told that it may.
type crowd struct {
	pair  *pair
	load  load
	stay  time.Duration // of a viewer, in the mean; 0: for ever
	joins chan struct{} // has a place for each that joins at once
	ctx   context.Context
	stop  context.CancelFunc
	wg    sync.WaitGroup
	seats int

	refusals atomic.Int64 // answered with 503 and Retry-After

	mu       sync.Mutex
	begun    int               // visits so far
	playing  map[string]*visit // by their names, until it is known whether they were shed
	over     []*visit
	failures map[string]int // what else went wrong, and how often
}

// A visit is the time that one viewer plays.
type visit struct {
	name    string
	viewer  *viewer
	begun   time.Time
	atStart bool // it played when the measured window began
	left    bool
	got     flowCount     // when it left
	shedAt  time.Time     // when that was first seen
	shed    uint64        // how often the edge left something out for it
	known   chan struct{} // closed when shed is known for the whole of it
}

func newCrowd(p *pair, l load, stay time.Duration) *crowd {
	c := &crowd{pair: p, load: l, stay: stay, joins: make(chan struct{}, joinsAtOnce), playing: make(map[string]*visit), failures: make(map[string]int)}
	c.ctx, c.stop = context.WithCancel(context.Background())
	c.wg.Go(c.watch)
	return c
}

// close has all leave without a word.
func (c *crowd) close() {
	c.stop()
	c.wg.Wait()
}

// grow has people come until there are n, in so much time.
func (c *crowd) grow(ctx context.Context, n int, within time.Duration) {
	begun, more := time.Now(), n-c.seats
	for i := range more {
		if wait(ctx, time.Until(begun.Add(within*time.Duration(i)/time.Duration(more)))) != nil {
			return
		}
		decrypts := c.seats < full
		c.wg.Go(func() { c.seat(decrypts) })
		c.seats++
	}
}

// watch notes again and again who was shed.
func (c *crowd) watch() {
	for wait(c.ctx, time.Second) == nil {
		c.mu.Lock()
		var leaving []*visit
		for _, v := range c.playing {
			if v.left {
				leaving = append(leaving, v)
			}
		}
		c.mu.Unlock()
		if err := c.look(); err != nil {
			if c.ctx.Err() == nil {
				c.failed(err)
			}
			continue
		}
		for _, v := range leaving {
			close(v.known)
		}
		c.mu.Lock()
		for _, v := range leaving {
			delete(c.playing, v.name)
			c.over = append(c.over, v)
		}
		c.mu.Unlock()
	}
}

func (c *crowd) look() error {
	st, err := c.pair.state(c.ctx)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, times := range st.Lossy {
		if v := c.playing[name]; v != nil {
			if v.shed == 0 {
				v.shedAt = time.Now()
			}
			v.shed = times
		}
	}
	return nil
}

func (c *crowd) failed(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failures[err.Error()]++
}

// seat has one viewer after another, until the crowd closes. Those of a seat that
// decrypts stay for ever.
func (c *crowd) seat(decrypts bool) {
	for c.ctx.Err() == nil {
		if err := c.visit(decrypts); err != nil && c.ctx.Err() == nil {
			c.failed(err)
			_ = wait(c.ctx, time.Second)
		}
	}
}

// visit returns when a viewer has left, or failed to come.
func (c *crowd) visit(decrypts bool) error {
	c.mu.Lock()
	c.begun++
	v := &visit{name: fmt.Sprintf("v%d", c.begun), known: make(chan struct{})}
	c.mu.Unlock()
	var err error
	if v.viewer, err = newViewer(decrypts, &flow{}, c.load); err != nil {
		return err
	}
	defer v.viewer.close()
	gone, err := c.arrive(v)
	if err != nil {
		return err
	}
	var leave <-chan time.Time
	if c.stay > 0 && !decrypts {
		leave = time.After(time.Duration(rand.ExpFloat64() * float64(c.stay)))
	}
	select {
	case <-leave:
	case <-gone:
		err = errors.New("a session ended by itself")
	case <-c.ctx.Done():
		return nil
	}
	c.mu.Lock()
	v.left, v.got = true, v.viewer.flow.count(time.Now())
	c.mu.Unlock()
	select {
	case <-v.known:
	case <-c.ctx.Done():
	}
	return errors.Join(err, v.viewer.session.end(c.ctx))
}

// arrive returns when the viewer plays. gone is closed when it does no more.
func (c *crowd) arrive(v *visit) (gone <-chan struct{}, err error) {
	o, err := offerOf(v.viewer.pc)
	if err != nil {
		return nil, err
	}
	for {
		err := c.join(v, o)
		var refused *refusedError
		switch {
		case err == nil:
			v.viewer.plays()
			c.mu.Lock()
			v.begun = time.Now()
			c.playing[v.name] = v
			c.mu.Unlock()
			return o.gone, nil
		case errors.As(err, &refused) && refused.status == http.StatusServiceUnavailable && refused.retry > 0:
			c.refusals.Add(1)
			if err := wait(c.ctx, refused.retry+rand.N(refused.retry)); err != nil {
				return nil, err
			}
		default:
			return nil, err
		}
	}
}

func (c *crowd) join(v *visit, o offered) (err error) {
	select {
	case c.joins <- struct{}{}:
	case <-c.ctx.Done():
		return c.ctx.Err()
	}
	defer func() { <-c.joins }()
	v.viewer.session, err = o.take(c.ctx, c.pair.edge.url+"/whep/"+stream(0), v.name)
	return err
}

// start begins the measured window: what was before it is forgotten, but for those who
// play.
func (c *crowd) start() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over, c.failures = nil, make(map[string]int)
	c.refusals.Store(0)
	for _, v := range c.playing {
		v.atStart = true
		if v.viewer.full {
			v.viewer.late()
		}
	}
}

// visits returns those of the window, and the latencies in it.
func (c *crowd) visits() (all []*visit, latency []time.Duration, err error) {
	c.mu.Lock()
	now := time.Now()
	for _, v := range c.playing {
		if !v.left {
			v.got = v.viewer.flow.count(now)
		}
	}
	all = slices.AppendSeq(slices.Clone(c.over), maps.Values(c.playing))
	c.mu.Unlock()
	for _, v := range all {
		if v.viewer.full {
			latency = append(latency, v.viewer.late()...)
		}
	}
	slices.Sort(latency)
	return all, latency, c.look()
}
