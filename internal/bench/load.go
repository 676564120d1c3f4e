package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// load is what every server gets.
type load struct {
	window time.Duration
	spread time.Duration
	hogs   int
	// streams are published; the viewers are spread over them.
	streams int
	// sound: the viewers take nothing else.
	sound bool
}

const (
	settle      = 2 * time.Second
	joinsAtOnce = 8
	full        = 4 // viewers that decrypt everything, for the latency
)

// measure starts a server, has the viewers join while no media flows (but for
// what they begin with, which is not counted), and then measures the fan-out.
func measure(ctx context.Context, binary, kind string, n int, l load) (result, error) {
	r := result{kind: kind, viewers: n}
	server, err := start(ctx, binary, kind)
	if err != nil {
		return r, err
	}
	defer server.stop()
	pubs, err := publishAll(ctx, server.url, l)
	defer pubs.close()
	if err != nil {
		return r, fmt.Errorf("publishing: %w", err)
	}
	time.Sleep(time.Second) // the tracks are known
	if r.ingest, err = loadFor(ctx, server, settle); err != nil {
		return r, err
	}
	pubs.pause(true)
	time.Sleep(settle)
	empty, err := server.read()
	if err != nil {
		return r, err
	}
	viewers, err := join(ctx, server.url, n, l)
	defer viewers.close()
	if err != nil {
		return r, fmt.Errorf("joining: %w", err)
	}
	joined, err := server.read()
	if err != nil {
		return r, err
	}
	r.join = ms(joined.cpu-empty.cpu) / float64(n)
	opening := viewers.packets() / float64(n)
	time.Sleep(settle)
	if r.idle, err = loadFor(ctx, server, l.window); err != nil {
		return r, err
	}
	stop, err := hogs(ctx, binary, l.hogs)
	if err != nil {
		return r, err
	}
	defer stop()
	pubs.pause(false)
	time.Sleep(settle)
	err = r.fanOut(ctx, server, viewers, empty.memory, l.window)
	if n > 1 { // one viewer's packets cost more than those that a join brings
		r.join -= opening * r.fanout / 1000 // a viewer begins with what was published last
	}
	return r, err
}

// fanOut measures what the viewers get during the window, and what it takes.
func (r *result) fanOut(ctx context.Context, server *process, all viewers, memory float64, window time.Duration) error {
	for _, v := range all {
		v.reset()
	}
	first, last, err := during(ctx, server, window)
	if err != nil {
		return err
	}
	var delivered, expected uint64
	var latency []time.Duration
	for _, v := range all {
		got, of, late := v.counts()
		delivered, expected, latency = delivered+got, expected+of, append(latency, late...)
	}
	if delivered == 0 || len(latency) == 0 {
		return errors.New("nothing was delivered")
	}
	cpu, took := last.cpu-first.cpu, last.at.Sub(first.at)
	r.cpu = ms(cpu) * 1000 / float64(delivered)
	r.fanout = (ms(cpu) - r.ingest*ms(took)) * 1000 / float64(delivered)
	r.load = cpu.Seconds() / took.Seconds()
	r.loss = max(0, 1-float64(delivered)/float64(expected))
	slices.Sort(latency)
	r.p50, r.p99 = latency[len(latency)/2], latency[len(latency)*99/100]
	if n := last.egress.Messages - first.egress.Messages; n > 0 {
		r.batch = float64(last.egress.Datagrams-first.egress.Datagrams) / float64(n)
	}
	r.memory = (last.memory - memory) / float64(len(all))
	return nil
}

// loadFor returns the share of a core that a server takes during the window.
func loadFor(ctx context.Context, server *process, window time.Duration) (float64, error) {
	first, last, err := during(ctx, server, window)
	return (last.cpu - first.cpu).Seconds() / max(last.at.Sub(first.at), 1).Seconds(), err
}

// during reads the server's meters before and after the window.
func during(ctx context.Context, server *process, window time.Duration) (first, last reading, err error) {
	if first, err = server.read(); err != nil {
		return first, last, err
	}
	select {
	case <-time.After(window):
	case <-ctx.Done():
		return first, last, ctx.Err()
	}
	last, err = server.read()
	return first, last, err
}

func ms(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }

// stream names are live0, live1, ...
func stream(i int) string { return fmt.Sprintf("live%d", i) }

type viewers []*viewer

// packets returns how many have come since reset.
func (all viewers) packets() (n float64) {
	for _, v := range all {
		got, _, _ := v.counts()
		n += float64(got)
	}
	return n
}

func (all viewers) close() {
	for _, v := range all {
		v.close()
	}
}

func join(ctx context.Context, url string, n int, l load) (viewers, error) {
	all := make(viewers, n)
	var g errgroup.Group
	g.SetLimit(joinsAtOnce)
	for i := range all {
		g.Go(func() (err error) {
			all[i], err = view(ctx, url+"/whep/"+stream(i%l.streams), i < full, l.sound)
			return err
		})
	}
	err := g.Wait()
	return slices.DeleteFunc(all, func(v *viewer) bool { return v == nil }), err
}
