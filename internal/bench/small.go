package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os/exec"
	"sync"
	"time"
)

// A small run has an edge on a machine of half a core or less: as many viewers as fit,
// and then people who are twice as many and come and go.
type small struct {
	machine machine
	people  int           // who want to view; 0: twice as many as are found to fit
	step    time.Duration // that a number of viewers is looked at
	warm    time.Duration // in which people come
	window  time.Duration // that is measured
	stay    time.Duration // that a viewer stays, in the mean
	bars    bars
}

const (
	halfCore  = 0.5
	twoGiB    = 2 << 30
	cfsPeriod = 100 * time.Millisecond // the default of the kernel, and of containers
)

// longRun is measured for a minute or more. One moment in which the machine itself stands
// still leaves most of those out who are there, so one is allowed for.
func longRun(core float64, window time.Duration) small {
	return small{
		machine: machine{core, cfsPeriod, twoGiB}, step: 6 * time.Second,
		warm: time.Minute, window: window, stay: 2 * time.Minute, bars: bars{kept: 0.8},
	}
}

// shortRun is for tests: a tenth of a core, and as many people as it cannot have room for.
// Its periods are short, too, since so small a share is used up for most of a long one.
func shortRun() small {
	return small{
		machine: machine{0.1, cfsPeriod / 5, twoGiB}, people: 300,
		warm: 14 * time.Second, window: 10 * time.Second, stay: 20 * time.Second, bars: bars{kept: 0.1, playing: 20, stalled: 40 * time.Millisecond},
	}
}

// edgeState is what an edge tells of itself and its viewers; see the server.
type edgeState struct {
	Load    float64
	Shed    uint64
	Viewers int
	Lossy   map[string]uint64
}

// pair is an origin with all it needs, and an edge on a small machine.
type pair struct {
	origin, edge *process
	group        *cgroup
	log          *bytes.Buffer // of the edge; for when it has stopped
	pub          *publisher
}

// startPair starts both on the first core, and publishes a stream.
func startPair(ctx context.Context, binary string, m machine) (p *pair, err error) {
	p = &pair{log: &bytes.Buffer{}}
	defer func() {
		if err != nil {
			p.stop()
		}
	}()
	if p.group, err = newCgroup(m); err != nil {
		return p, err
	}
	if p.origin, err = startCommand(command(ctx, binary, "-kind", "origin", "-http", "127.0.0.1:0")); err != nil {
		return p, err
	}
	cmd := command(ctx, binary, "-kind", "edge", "-from", p.origin.url, "-http", "127.0.0.1:0")
	args := p.group.wrap(cmd.Args...)
	limited := exec.CommandContext(ctx, args[0], args[1:]...)
	limited.Env, limited.Stderr = cmd.Env, p.log
	if p.edge, err = startCommand(limited); err != nil {
		return p, err
	}
	p.pub, err = publish(ctx, p.origin.url+"/whip/"+stream(0), load{})
	return p, err
}

func (p *pair) stop() {
	if p.pub != nil {
		p.pub.close()
	}
	for _, server := range []*process{p.edge, p.origin} {
		if server != nil {
			server.stop()
		}
	}
	if p.group != nil {
		_ = p.group.remove()
	}
}

// state asks the edge.
func (p *pair) state(ctx context.Context) (st edgeState, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.edge.url+"/edge", http.NoBody)
	if err != nil {
		return st, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return st, fmt.Errorf("the edge does not answer: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return st, err
	}
	return st, json.Unmarshal(b, &st)
}

// small prints how an edge on a small machine does, and fails if it does not as it
// should.
func (b *bench) small(ctx context.Context, s small) error {
	back, err := ahead()
	if err != nil {
		return err
	}
	defer back()
	if s.people == 0 {
		fits, err := b.fits(ctx, s)
		if err != nil {
			return err
		}
		fmt.Fprintf(b.out, "\n%d viewers fit.\n", fits)
		s.people, s.bars.playing = 2*fits, float64(fits)*leastPlaying
	}
	fmt.Fprintf(b.out, "\n%d people want to view, %v each in the mean; measured for %v after %v.\n\n", s.people, s.stay, s.window, s.warm)
	err = b.overload(ctx, s)
	if errors.Is(err, errNotJudged) {
		fmt.Fprint(b.out, "Once more, since the machine had other work.\n\n")
		err = b.overload(ctx, s)
	}
	return err
}

const (
	firstViewers = 200 // that the search begins with, for each core
	joinRate     = 40  // viewers that come in a second of the search; it is not about crowds
	leastPlaying = 0.7 // of the viewers that fit, who have to be let in when more want to
)

// fits returns how many viewers the edge carries without leaving anything out and
// without refusing anybody.
func (b *bench) fits(ctx context.Context, s small) (fits int, err error) {
	p, err := startPair(ctx, b.binary, s.machine)
	if err != nil {
		return 0, err
	}
	defer p.stop()
	fmt.Fprintln(b.out, "| viewers | edge, % of its share | throttled % | load that it tells | shed | refused | generator, % of its core |\n|---|---|---|---|---|---|---|")
	c := newCrowd(p, b.load, 0)
	defer c.close()
	for n := int(firstViewers * s.machine.core); ; {
		c.grow(ctx, n, max(s.step/2, time.Duration(n-c.seats)*time.Second/joinRate))
		if err := wait(ctx, s.step); err != nil {
			return 0, err
		}
		before, err := p.meter(ctx)
		if err != nil {
			return 0, err
		}
		if err := wait(ctx, s.step); err != nil {
			return 0, err
		}
		m, err := p.meterSince(ctx, before)
		if err != nil {
			return 0, err
		}
		refused := c.refusals.Load()
		fmt.Fprintf(b.out, "| %d | %.0f | %.0f | %.2f | %d | %d | %.0f |\n",
			n, 100*m.cpu/s.machine.core, 100*m.throttled, m.state.Load, m.state.Shed, refused, 100*m.own)
		if m.state.Shed > 0 || refused > 0 {
			break
		}
		if m.own > mostOwn {
			return 0, fmt.Errorf("the load generator is the limit: it takes %.0f %% of its core", 100*m.own)
		}
		fits = n
		n = next(n, m.cpu/s.machine.core)
	}
	if fits == 0 {
		return 0, errors.New("not even the first viewers fit")
	}
	return fits, nil
}

// metered is what both sides took over some time.
type metered struct {
	reading
	state     edgeState
	waited    time.Duration // throttled, so far
	cpu       float64       // of a core that the edge took
	own       float64       // of a core that the load generator took
	throttled float64       // share of the time
}

func (p *pair) meter(ctx context.Context) (m metered, err error) {
	if m.state, err = p.state(ctx); err != nil {
		return m, err
	}
	m.waited = p.group.throttled()
	m.reading, err = p.edge.readSystem()
	return m, err
}

func (p *pair) meterSince(ctx context.Context, before metered) (metered, error) {
	m, err := p.meter(ctx)
	took := m.at.Sub(before.at).Seconds()
	m.cpu = (m.reading.cpu - before.reading.cpu).Seconds() / took
	m.own = (m.reading.own - before.reading.own).Seconds() / took
	m.throttled = (m.waited - before.waited).Seconds() / took
	return m, err
}

// overload has so many people come and go, and prints what became of them.
func (b *bench) overload(ctx context.Context, s small) error {
	p, err := startPair(ctx, b.binary, s.machine)
	if err != nil {
		return err
	}
	defer p.stop()
	c := newCrowd(p, b.load, s.stay)
	defer c.close()
	w := newWitness()
	stalled := sync.OnceValue(w.close)
	defer stalled()
	begun := time.Now()
	c.grow(ctx, s.people, s.warm*3/4)
	if err := wait(ctx, time.Until(begun.Add(s.warm))); err != nil {
		return err
	}
	c.start()
	r := outcome{core: s.machine.core}
	if r.first, err = p.meter(ctx); err != nil {
		return err
	}
	if err := b.progress(ctx, s, p, c, &r); err != nil {
		return fmt.Errorf("%w; the edge's log:\n%s", err, p.log)
	}
	if r.visits, r.latency, err = c.visits(); err != nil {
		return err
	}
	if r.last, err = p.meterSince(ctx, r.first); err != nil {
		return err
	}
	r.stalled = stalled()
	r.refused = c.refusals.Load()
	c.mu.Lock()
	r.failures = maps.Clone(c.failures)
	c.mu.Unlock()
	fmt.Fprintln(b.out, r.String())
	return r.check(s.bars)
}

// progress prints a line for each twentieth of the window.
func (b *bench) progress(ctx context.Context, s small, p *pair, c *crowd, r *outcome) error {
	fmt.Fprintln(b.out, "| second | playing | load that it tells | edge, % of its share | throttled % | RSS MiB | refused | shed | generator, % of its core |\n|---|---|---|---|---|---|---|---|---|")
	const lines = 20
	before := r.first
	for i := range lines {
		if err := wait(ctx, time.Until(r.first.at.Add(s.window*time.Duration(i+1)/lines))); err != nil {
			return err
		}
		m, err := p.meterSince(ctx, before)
		if err != nil {
			return err
		}
		fmt.Fprintf(b.out, "| %.0f | %d | %.2f | %.0f | %.0f | %.0f | %d | %d | %.0f |\n", m.at.Sub(r.first.at).Seconds(), m.state.Viewers, m.state.Load,
			100*m.cpu/s.machine.core, 100*m.throttled, m.memory/1024, c.refusals.Load(), m.state.Shed-r.first.state.Shed, 100*m.own)
		r.playing += float64(m.state.Viewers) / lines
		r.memory = max(r.memory, m.memory)
		before = m
	}
	return nil
}
