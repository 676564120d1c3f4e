package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// limits is how one server did with more and more viewers.
type limits struct {
	kind  string
	busy  result // the first with busyLoad or more; none if there are no viewers
	clean result // the last with no more than cleanLoss
	lossy int    // steps with more since then
	least bool   // it could have been more: the load generator was the limit, or the steps
}

const (
	busyLoad  = 0.80 // of the server's core
	fullLoad  = 0.95 // the same, or of the load generator's
	cleanLoss = 0.001

	firstStep = 100 // viewers

	stepHeader = "| server | viewers | % of a core | loss % | shed | latency p50 / p99 ms | % of the generator's core |\n" +
		"|---|---|---|---|---|---|---|"
	limitHeader = "| server | viewers at 80 % of a core | latency there, p50 / p99 ms | viewers with a loss of at most 0.1 % |\n" +
		"|---|---|---|---|"
)

// saturate prints how long packets take on a busy server, and how many viewers
// it carries.
func (b *bench) saturate(ctx context.Context) error {
	fmt.Fprintln(b.out, stepHeader)
	var all []limits
	for _, kind := range b.kinds {
		l, err := b.fill(ctx, kind)
		if err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
		all = append(all, l)
	}
	fmt.Fprintf(b.out, "\n%s\n", limitHeader)
	for _, l := range all {
		fmt.Fprintln(b.out, l.row(all[0]))
	}
	return nil
}

// fill raises the number of a server's viewers until it loses packets twice in a
// row, or its core is full.
func (b *bench) fill(ctx context.Context, kind string) (limits, error) {
	found := limits{kind: kind}
	server, err := start(ctx, b.binary, kind)
	if err != nil {
		return found, err
	}
	defer server.stop()
	pubs, err := publishAll(ctx, server.url, b.load)
	defer pubs.close()
	if err != nil {
		return found, fmt.Errorf("publishing: %w", err)
	}
	time.Sleep(time.Second) // the tracks are known
	if err := pubs.pause(ctx); err != nil {
		return found, err
	}
	var all viewers
	defer func() { all.close() }()
	for n := b.after(found, result{}); n > 0; {
		more, err := join(ctx, server.view, len(all), n, b.load)
		all = append(all, more...)
		if err != nil {
			return found, fmt.Errorf("joining: %w", err)
		}
		r := result{kind: kind, viewers: n}
		if err := b.step(ctx, &r, server, pubs, all); err != nil {
			return found, fmt.Errorf("%d viewers: %w", n, err)
		}
		if found.note(r) {
			return found, nil
		}
		n = b.after(found, r)
	}
	found.least = true // there was no end to it yet
	return found, nil
}

// step measures what the viewers get, and prints it.
func (b *bench) step(ctx context.Context, r *result, server *process, pubs publishers, all viewers) error {
	if err := play(ctx, pubs, all, b.load); err != nil {
		return err
	}
	if err := r.fanOut(ctx, server, pubs, all, b.load); err != nil {
		return err
	}
	fmt.Fprintln(b.out, r.step())
	return nil
}

// play lets those who have joined get what they begin with, which ends with a
// keyframe at the latest, and pauses again.
func play(ctx context.Context, pubs publishers, all viewers, l load) error {
	pubs.resume()
	if err := wait(ctx, 2*l.settle); err != nil {
		return err
	}
	if err := pubs.pause(ctx); err != nil {
		return err
	}
	return all.drain(ctx)
}

// after returns how many viewers there are in the step after r; 0 if it was the
// last of given ones.
func (b *bench) after(found limits, r result) int {
	if found.lossy > 0 {
		return r.viewers // once more: it may have been the machine
	}
	if b.counts == nil {
		return next(r.viewers, r.load)
	}
	i := slices.IndexFunc(b.counts, func(n int) bool { return n > r.viewers })
	if i < 0 {
		return 0
	}
	return b.counts[i]
}

// next is the step after one with n viewers that took so much of a core: up to
// twice as many, to get to a little above busyLoad, and a fifteenth more from
// there on.
func next(n int, load float64) int {
	if n == 0 {
		return firstStep
	}
	more := n + max(n/15, 1)
	if load >= busyLoad {
		return more
	}
	return max(more, int(float64(n)*min(2, (busyLoad+0.02)/load)))
}

// note keeps what a step shows, and reports whether it was the last.
func (l *limits) note(r result) (over bool) {
	if l.busy.viewers == 0 && r.load >= busyLoad {
		l.busy = r
	}
	if r.loss > cleanLoss {
		l.lossy++
	} else {
		l.clean, l.lossy = r, 0
	}
	l.least = r.own >= fullLoad && r.load < fullLoad
	return l.lossy == 2 || r.load >= fullLoad || l.least
}

// step is the result's line of the table of steps.
func (r result) step() string {
	return fmt.Sprintf("| %s | %d | %.1f | %.3f | %d | %.2f / %.2f | %.1f |",
		r.kind, r.viewers, 100*r.load, 100*r.loss, r.shed, ms(r.p50), ms(r.p99), 100*r.own)
}

// row is the limits' line of the table, each figure with its ratio to first's.
func (l limits) row(first limits) string {
	cells := []string{l.kind, "-", "-", "-"}
	ratio := func(a, b float64) string { return l.clean.ratio(first.clean, a, b) }
	if l.busy.viewers > 0 {
		cells[1] = fmt.Sprintf("%d at %.0f %%", l.busy.viewers, 100*l.busy.load)
		cells[2] = fmt.Sprintf("%.2f%s / %.2f%s",
			ms(l.busy.p50), ratio(ms(l.busy.p50), ms(first.busy.p50)),
			ms(l.busy.p99), ratio(ms(l.busy.p99), ms(first.busy.p99)))
	}
	if n := l.clean.viewers; n > 0 {
		of := float64(first.clean.viewers)
		if first.least {
			of = 0 // there is nothing to compare with
		}
		cells[3] = fmt.Sprintf("%d%s at %.0f %%", n, ratio(float64(n), of), 100*l.clean.load)
		if l.least {
			cells[3] = "≥ " + cells[3]
		}
	}
	return "| " + strings.Join(cells, " | ") + " |"
}
