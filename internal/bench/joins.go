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
	answer   []time.Duration // from the POST to its answer
	keyframe []time.Duration // from the POST to the first packet of a keyframe, decrypted
}

const (
	joinsHeader = "| server | joins | failed | POST to answer, ms: p50 / p95 / p99 / max | POST to keyframe, ms: p50 / p95 / p99 / max |\n" +
		"|---|---|---|---|---|"
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
	return j, err
}

// storm has viewers join at even distances during the window.
func (j *joining) storm(ctx context.Context, url string, rate int, l load) error {
	var mu sync.Mutex
	var wg sync.WaitGroup
	var failed error
	begun, every := time.Now(), time.Second/time.Duration(rate)
	for n := 0; time.Duration(n)*every < l.window && ctx.Err() == nil; n++ {
		time.Sleep(time.Until(begun.Add(time.Duration(n) * every)))
		wg.Go(func() {
			answer, keyframe, err := joinOnce(ctx, url, l)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = err
				j.failed++
				return
			}
			j.answer, j.keyframe = append(j.answer, answer), append(j.keyframe, keyframe)
		})
	}
	wg.Wait()
	if len(j.keyframe) > 0 {
		return ctx.Err()
	}
	return errors.Join(errors.New("nobody got a keyframe"), failed)
}

// joinOnce has a viewer join, and leave as soon as it has a keyframe.
func joinOnce(ctx context.Context, url string, l load) (answer, keyframe time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	v, err := view(ctx, url, true, l)
	if err != nil {
		return 0, 0, err
	}
	defer v.close()
	defer func() { err = errors.Join(err, v.session.end(context.WithoutCancel(ctx))) }()
	select {
	case at := <-v.keyframe:
		return v.session.answered.Sub(v.session.posted), at.Sub(v.session.posted), nil
	case <-ctx.Done():
		return 0, 0, errors.New("no keyframe in time")
	}
}

// row is the line of the table, each figure with its ratio to first.
func (j joining) row(first joining) string {
	return fmt.Sprintf("| %s | %d | %d | %s | %s |", j.kind, len(j.keyframe)+j.failed, j.failed,
		quantiles(j.answer, first.answer, j.kind == first.kind), quantiles(j.keyframe, first.keyframe, j.kind == first.kind))
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
