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
	settle time.Duration // before each measurement
	warm   time.Duration // with -adapting, the viewers play so long before that
	spread time.Duration
	hogs   int
	// streams are published; the viewers are spread over them.
	streams int
	// sound: the viewers take nothing else.
	sound bool
	// gro: they take whole messages from the system, as does who receives the floor.
	gro     bool
	signals signals // of the viewers
	// stamps: the system says when packets come to the viewers, and their sound is noted.
	stamps bool
	key    int // packets of a keyframe; 0: as many as other frames have
}

const (
	joinsAtOnce = 8
	full        = 4 // viewers, spread evenly over all, that decrypt everything, for the latency
)

// measure starts a server, has the viewers join while no media flows, and then measures
// the fan-out. All of a join counts: with the keyframe that each viewer begins with.
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
	// The tracks are known then, and the server keeps as much of them as it will.
	time.Sleep(time.Second + 2*l.settle)
	if r.ingest, err = loadFor(ctx, server, l.settle); err != nil {
		return r, err
	}
	if err := pubs.pause(ctx); err != nil {
		return r, err
	}
	empty, err := warm(ctx, server, l)
	if err != nil {
		return r, err
	}
	viewers, err := r.joins(ctx, server, empty, l)
	defer viewers.close()
	if err != nil {
		return r, err
	}
	time.Sleep(l.settle)
	if r.idle, err = loadFor(ctx, server, l.window); err != nil {
		return r, err
	}
	stop, err := hogs(ctx, binary, l.hogs)
	if err != nil {
		return r, err
	}
	defer stop()
	if err := r.fanOut(ctx, server, pubs, viewers, l); err != nil {
		return r, err
	}
	live, err := server.live(ctx)
	if err != nil {
		return r, err
	}
	r.share(empty.reading, live)
	return r, nil
}

// An emptyServer is what a server without viewers takes.
type emptyServer struct {
	reading
	idle float64 // share of a core
}

// warm has a few viewers join and leave, since the first of a process cost more, and returns
// what the server takes then.
func warm(ctx context.Context, server *process, l load) (empty emptyServer, err error) {
	few, err := join(ctx, server.view, 0, 2*joinsAtOnce, l)
	defer few.close()
	if err != nil {
		return empty, fmt.Errorf("joining: %w", err)
	}
	if err := few.drain(ctx); err != nil {
		return empty, err
	}
	for _, v := range few {
		err = errors.Join(err, v.session.end(ctx))
	}
	if err != nil {
		return empty, err
	}
	if empty.idle, err = loadFor(ctx, server, l.settle); err != nil {
		return empty, err
	}
	live, err := server.live(ctx)
	if err != nil {
		return empty, err
	}
	empty.reading, err = server.read() // what it takes to read live is no part of the joins
	empty.live = live
	return empty, err
}

// joins has the viewers join and measures what that takes, beyond what the server did before.
func (r *result) joins(ctx context.Context, server *process, empty emptyServer, l load) (viewers, error) {
	all, err := join(ctx, server.view, 0, r.viewers, l)
	if err != nil {
		return all, fmt.Errorf("joining: %w", err)
	}
	if err := all.drain(ctx); err != nil {
		return all, err
	}
	joined, err := server.read()
	if err != nil {
		return all, err
	}
	r.join = (ms(joined.cpu-empty.cpu) - empty.idle*ms(joined.at.Sub(empty.at))) / float64(r.viewers)
	return all, nil
}

// share computes what a viewer costs in memory, of what the server had with and without
// them.
func (r *result) share(empty reading, live float64) {
	n := float64(r.viewers)
	r.total = r.memory / 1024
	r.memory = (r.memory - empty.memory) / n
	r.live = (live - empty.live) / n
}

// fanOut has the paused publishers publish, measures what the viewers get, and
// pauses them again. What is lost or shed it counts from pause to pause, so that nothing
// on its way is taken for lost; all else in the window between.
func (r *result) fanOut(ctx context.Context, server *process, pubs publishers, all viewers, l load) error {
	expected, got := all.expected(pubs, l), all.packets()
	begun, err := server.stats()
	if err != nil {
		return err
	}
	pubs.resume()
	time.Sleep(l.settle)
	all.late()
	all.forgetSound()
	first, err := server.read()
	if err != nil {
		return err
	}
	before, counted := all.packets(), all.counted()
	if err := wait(ctx, l.window); err != nil {
		return err
	}
	last, err := server.read()
	if err != nil {
		return err
	}
	after, latency := all.packets(), all.late()
	r.countReception(counted, all.counted(), after-before, l.window)
	if err := pubs.pause(ctx); err != nil {
		return err
	}
	r.jitter = all.jitter(pubs)
	if err := all.drain(ctx); err != nil {
		return err
	}
	ended, err := server.stats()
	if err != nil {
		return err
	}
	r.shed = ended.Viewers.Shed - begun.Viewers.Shed
	if after == before || len(latency) == 0 {
		return errors.New("nothing was delivered")
	}
	r.between(first, last, after-before)
	expected, got = all.expected(pubs, l)-expected, all.packets()-got
	r.loss = max(0, 1-float64(got)/float64(expected))
	slices.Sort(latency)
	r.p50, r.p99 = quantile(latency, 50), quantile(latency, 99)
	return nil
}

// between notes what the server took to deliver the packets.
func (r *result) between(first, last reading, delivered uint64) {
	cpu, took := last.cpu-first.cpu, last.at.Sub(first.at)
	r.cpu = ms(cpu) * 1000 / float64(delivered)
	r.fanout = (ms(cpu) - r.ingest*ms(took)) * 1000 / float64(delivered)
	r.load = cpu.Seconds() / took.Seconds()
	r.wakes = float64(last.wakes-first.wakes) / took.Seconds()
	r.own = (last.own - first.own).Seconds() / took.Seconds()
	if n := last.stats.Egress.Messages - first.stats.Egress.Messages; n > 0 {
		r.batch = float64(last.stats.Egress.Datagrams-first.stats.Egress.Datagrams) / float64(n)
	}
	r.memory = last.memory
}

// countReception notes what the viewers counted in the window.
func (r *result) countReception(first, last receptionCount, packets uint64, window time.Duration) {
	r.numbered = float64(last.numbered-first.numbered) / float64(max(packets, 1))
	r.messages = float64(last.messages-first.messages) / window.Seconds() / float64(r.viewers)
}

// quantile is that of sorted durations.
func quantile(sorted []time.Duration, percent int) time.Duration {
	return sorted[min(len(sorted)*percent/100, len(sorted)-1)]
}

// loadFor returns the share of a core that a server takes during the window.
func loadFor(ctx context.Context, server *process, window time.Duration) (float64, error) {
	first, err := server.read()
	if err != nil {
		return 0, err
	}
	if err := wait(ctx, window); err != nil {
		return 0, err
	}
	last, err := server.read()
	return (last.cpu - first.cpu).Seconds() / max(last.at.Sub(first.at), 1).Seconds(), err
}

// wait returns earlier if the context ends.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func ms(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }

// stream names are live0, live1, ...
func stream(i int) string { return fmt.Sprintf("live%d", i) }

type viewers []*viewer

// packets returns how many have come to all of them together.
func (all viewers) packets() (n uint64) {
	for _, v := range all {
		n += v.got.Load()
	}
	return n
}

// counted returns what all of them have counted.
func (all viewers) counted() (sum receptionCount) {
	for _, v := range all {
		one := v.reception.counted()
		sum.numbered += one.numbered
		sum.messages += one.messages
	}
	return sum
}

// expected returns how many should have, had they been there from the beginning.
func (all viewers) expected(pubs publishers, l load) (n uint64) {
	for i := range all {
		n += pubs.sent(i, l.sound)
	}
	return n
}

// late returns the latencies that were noted since it was last called.
func (all viewers) late() (latency []time.Duration) {
	for _, v := range all {
		latency = append(latency, v.late()...)
	}
	return latency
}

// drain waits until nothing comes any more.
func (all viewers) drain(ctx context.Context) error {
	const quiet, longest = 500 * time.Millisecond, 20 * time.Second
	for begun, n := time.Now(), all.packets(); time.Since(begun) < longest; {
		if err := wait(ctx, quiet); err != nil {
			return err
		}
		now := all.packets()
		if now == n {
			return nil
		}
		n = now
	}
	return nil
}

func (all viewers) close() {
	for _, v := range all {
		v.close()
	}
}

// join has the viewers from first to n join.
func join(ctx context.Context, url string, first, n int, l load) (viewers, error) {
	all := make(viewers, n-first)
	var g errgroup.Group
	g.SetLimit(joinsAtOnce)
	for k := range all {
		g.Go(func() (err error) {
			i := first + k
			all[k], err = view(ctx, url+"/whep/"+stream(i%l.streams), isFull(first, k, n), l)
			return err
		})
	}
	err := g.Wait()
	return slices.DeleteFunc(all, func(v *viewer) bool { return v == nil }), err
}

// isFull reports whether the viewer that joins as number k behind the first ones, of n in all,
// is a full one. So there are as many as there can be up to full, also where the first ones
// joined earlier, and those that join together are spread evenly.
func isFull(first, k, n int) bool {
	missing := min(n, full) - min(first, full)
	return k*missing%(n-first) < missing
}
