package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// joining is how long viewers of one server waited, sorted.
type joining struct {
	kind     string
	failed   int
	last     error           // of those that failed
	answer   []time.Duration // from the POST to its answer
	keyframe []time.Duration // from the POST to the first packet of a keyframe, decrypted
	whole    []time.Duration // to its last packet
}

const (
	joinsHeader = "| server | joins | failed | POST to answer, ms: p50 / p95 / p99 / max | POST to keyframe, ms: p50 / p95 / p99 / max | to the whole of it |\n" +
		"|---|---|---|---|---|---|"
	patience = 10 * time.Second // of one who joins
)

// joinTable prints how long viewers wait who join a stream that others watch, so
// many a second.
func (b *bench) joinTable(ctx context.Context, rate int) error {
	fmt.Fprintln(b.out, joinsHeader)
	var first joining
	for i, kind := range b.kinds {
		j, err := measureJoins(ctx, b.binary, kind, rate, b.load)
		if err != nil {
			return fmt.Errorf("%s with %d joins a second: %w", kind, rate, err)
		}
		if i == 0 {
			first = j
		}
		fmt.Fprintln(b.out, j.row(first))
		if j.failed > 0 {
			fmt.Fprintf(b.out, "\nThe last of %d that failed: %v\n\n", j.failed, j.last)
		}
	}
	return nil
}

func measureJoins(ctx context.Context, binary, kind string, rate int, l load) (joining, error) {
	j := joining{kind: kind}
	server, err := start(ctx, binary, kind)
	if err != nil {
		return j, err
	}
	defer server.stop()
	pubs, err := publishAll(ctx, server.url, l)
	defer pubs.close()
	if err != nil {
		return j, fmt.Errorf("publishing: %w", err)
	}
	time.Sleep(time.Second) // the tracks are known
	watching, err := join(ctx, server.url, 0, 1, l)
	defer watching.close()
	if err != nil {
		return j, err
	}
	time.Sleep(2 * l.settle) // there has been a keyframe
	err = j.storm(ctx, server.url+"/whep/"+stream(0), rate, l)
	slices.Sort(j.answer)
	slices.Sort(j.keyframe)
	slices.Sort(j.whole)
	return j, err
}

// storm has viewers join at even distances during the window.
func (j *joining) storm(ctx context.Context, url string, rate int, l load) error {
	var mu sync.Mutex
	var wg sync.WaitGroup
	begun, every := time.Now(), time.Second/time.Duration(rate)
	for n := 0; time.Duration(n)*every < l.window && ctx.Err() == nil; n++ {
		time.Sleep(time.Until(begun.Add(time.Duration(n) * every)))
		wg.Go(func() {
			one, err := joinOnce(ctx, url, l)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				j.failed, j.last = j.failed+1, err
				return
			}
			j.answer, j.keyframe, j.whole = append(j.answer, one.answer), append(j.keyframe, one.keyframe), append(j.whole, one.whole)
		})
	}
	wg.Wait()
	if len(j.keyframe) > 0 {
		return ctx.Err()
	}
	return errors.Join(errors.New("nobody got a keyframe"), j.last)
}

// joined is how long one viewer waited, from the POST on: see joining.
type joined struct{ answer, keyframe, whole time.Duration }

// joinOnce has a viewer join, and leave as soon as it has a keyframe.
func joinOnce(ctx context.Context, url string, l load) (one joined, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	v, err := view(ctx, url, true, l)
	if err != nil {
		return one, err
	}
	defer v.close()
	defer func() { err = errors.Join(err, v.session.end(context.WithoutCancel(ctx))) }()
	select {
	case at := <-v.whole:
		begun := v.session.posted
		return joined{v.session.answered.Sub(begun), (<-v.keyframe).Sub(begun), at.Sub(begun)}, nil
	case <-ctx.Done():
		return one, errors.New("no keyframe in time")
	}
}

// row is the line of the table, each figure with its ratio to first.
func (j joining) row(first joining) string {
	same := j.kind == first.kind
	return fmt.Sprintf("| %s | %d | %d | %s | %s | %s |", j.kind, len(j.keyframe)+j.failed, j.failed,
		quantiles(j.answer, first.answer, same), quantiles(j.keyframe, first.keyframe, same), quantiles(j.whole, first.whole, same))
}

// quantiles are those of sorted durations, with their ratios to first's.
func quantiles(sorted, first []time.Duration, same bool) string {
	var cells []string
	for _, percent := range []int{50, 95, 99, 100} {
		cell := fmt.Sprintf("%.1f", ms(quantile(sorted, percent)))
		if !same {
			cell += fmt.Sprintf(" (%.2f)", ms(quantile(sorted, percent))/ms(quantile(first, percent)))
		}
		cells = append(cells, cell)
	}
	return strings.Join(cells, " / ")
}

// pacedJoins compares join times with and without pacing, in so many rounds.
func (b *bench) pacedJoins(ctx context.Context, rate, rounds int) error {
	fmt.Fprintln(b.out, joinsHeader)
	kinds := []string{"delta-unpaced", "delta-paced"}
	l := b.load
	l.signals.chromium = true
	var keyframe, whole []float64 // ratios of the medians
	for i := range rounds {
		var round [2]joining
		for k := range kinds {
			at := (i + k) % len(kinds) // neither is always the first
			var err error
			if round[at], err = measureJoins(ctx, b.binary, kinds[at], rate, l); err != nil {
				return fmt.Errorf("round %d, %s: %w", i+1, kinds[at], err)
			}
		}
		for _, j := range round {
			fmt.Fprintln(b.out, j.row(round[0]))
		}
		keyframe = append(keyframe, medians(round[1].keyframe, round[0].keyframe))
		whole = append(whole, medians(round[1].whole, round[0].whole))
	}
	fmt.Fprintf(b.out, "\nPaced against unpaced, median of %d rounds (quartiles): to the keyframe %s, to the whole of it %s\n",
		rounds, spreadOf(keyframe), spreadOf(whole))
	return nil
}

// medians returns the ratio of the medians of sorted durations.
func medians(a, b []time.Duration) float64 { return ms(quantile(a, 50)) / ms(quantile(b, 50)) }

// spreadOf is the median of ratios, with their quartiles.
func spreadOf(ratios []float64) string {
	return fmt.Sprintf("%.3f (%.3f to %.3f)", share(ratios, .5), share(ratios, .25), share(ratios, .75))
}
