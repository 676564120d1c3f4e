package main

import (
	"context"
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

// measure starts a server, has the viewers join while no media flows, and then
// measures the fan-out.
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
	memory, err := server.resident()
	if err != nil {
		return r, err
	}
	idle, err := server.cpu()
	if err != nil {
		return r, err
	}
	viewers, err := join(ctx, server.url, n, l)
	defer func() {
		for _, v := range viewers {
			v.close()
		}
	}()
	if err != nil {
		return r, fmt.Errorf("joining: %w", err)
	}
	joined, err := server.cpu()
	if err != nil {
		return r, err
	}
	r.join = ms(joined-idle) / float64(n)
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
	for _, v := range viewers {
		v.reset()
	}
	before, err := server.cpu()
	if err != nil {
		return r, err
	}
	first, err := server.egress()
	if err != nil {
		return r, err
	}
	begun := time.Now()
	select {
	case <-time.After(l.window):
	case <-ctx.Done():
		return r, ctx.Err()
	}
	var delivered, expected uint64
	var latency []time.Duration
	for _, v := range viewers {
		got, of, late := v.counts()
		delivered, expected, latency = delivered+got, expected+of, append(latency, late...)
	}
	took := time.Since(begun)
	after, err := server.cpu()
	if err != nil {
		return r, err
	}
	last, err := server.egress()
	if err != nil {
		return r, err
	}
	if n := last.Messages - first.Messages; n > 0 {
		r.batch = float64(last.Datagrams-first.Datagrams) / float64(n)
	}
	after -= before
	if delivered == 0 || len(latency) == 0 {
		return r, fmt.Errorf("nothing was delivered")
	}
	r.cpu = ms(after) * 1000 / float64(delivered)
	r.fanout = (ms(after) - r.ingest*ms(took)) * 1000 / float64(delivered)
	r.load = after.Seconds() / took.Seconds()
	r.loss = max(0, 1-float64(delivered)/float64(expected))
	slices.Sort(latency)
	r.p50, r.p99 = latency[len(latency)/2], latency[len(latency)*99/100]
	resident, err := server.resident()
	r.memory = (resident - memory) / float64(n)
	return r, err
}

// loadFor returns the share of a core that a server takes during the window.
func loadFor(ctx context.Context, server *process, window time.Duration) (float64, error) {
	before, err := server.cpu()
	if err != nil {
		return 0, err
	}
	begun := time.Now()
	select {
	case <-time.After(window):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	after, err := server.cpu()
	return (after - before).Seconds() / time.Since(begun).Seconds(), err
}

func ms(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }

// stream names are live0, live1, ...
func stream(i int) string { return fmt.Sprintf("live%d", i) }

func join(ctx context.Context, url string, n int, l load) ([]*viewer, error) {
	viewers := make([]*viewer, n)
	var g errgroup.Group
	g.SetLimit(joinsAtOnce)
	for i := range viewers {
		g.Go(func() (err error) {
			viewers[i], err = view(ctx, url+"/whep/"+stream(i%l.streams), i < full, l.sound)
			return err
		})
	}
	err := g.Wait()
	return slices.DeleteFunc(viewers, func(v *viewer) bool { return v == nil }), err
}
