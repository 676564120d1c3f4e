package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A variant is one of the ways to serve viewers that are compared.
type variant struct {
	name     string
	kind     string // of the server
	signals  signals
	numbered float64 // share of the packets that have transport-wide numbers
	most     marks
}

// marks are the bars that a variant is held to, against the first.
type marks struct {
	cpu        float64       // ratio of the CPU time a packet
	memory     float64       // KiB a viewer above
	goroutines int           // of the whole server above
	jitter     time.Duration // above
}

const mostJitter = 2 * time.Millisecond

// variants are what -adapting compares.
//
//   - off: the viewers send receiver reports and nothing else, so that no path is estimated
//     by more than those, and bursts leave at once.
//   - dozing: the viewers offer and send what Chromium does, and have the best there is. Packets
//     have abs-send-time, and the estimators doze.
//   - adapting: besides, a report in five tells of a loss, which keeps the estimators
//     awake. Packets have transport-wide numbers, and feedback comes 20 times a second.
var variants = []variant{
	{name: "off", kind: "delta-unpaced"},
	{name: "dozing", kind: "delta-paced", signals: signals{chromium: true}, most: marks{cpu: 1.03, memory: 0.5, jitter: mostJitter}},
	{name: "adapting", kind: "delta-paced", signals: signals{chromium: true, losses: true}, numbered: 1, most: marks{cpu: 1.15, memory: 5, jitter: mostJitter}},
}

const (
	dozesAfter  = 12 * time.Second // of playing without trouble, an estimator dozes
	dozesWithin = time.Minute      // whatever the trouble was when the viewers came
)

// mostTries is how often a variant is measured until its estimators have done what they should:
// where the machine stalls for a moment, one awakes.
const mostTries = 3

var errNumbers = errors.New("estimators were awake, or dozed, that should not")

// adapted is how a server did with one variant.
type adapted struct {
	result
	kib        float64 // of heap and stacks a viewer
	goroutines int     // of the server, for all viewers
}

// costs are the rounds of one measurement, each with a result for each of the variants.
type costs struct {
	viewers int
	rounds  [][]adapted
}

const adaptingHeader = "| round | viewers | CPU µs a packet | packets a message | wakes a second | KiB a viewer | goroutines | packets with numbers, % | RTCP messages of a viewer a second | jitter of sound p99 ms | latency p50 / p99 ms | loss % | shed | % of a core | % of the generator's |\n" +
	"|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|"

// adaptingTable prints what it costs to estimate viewers' paths, in so many rounds. Each
// round measures all variants, one after the other, in an order that changes.
func (b *bench) adaptingTable(ctx context.Context, rounds int) error {
	before := b.binary
	if b.against != "" {
		other, remove, err := buildAt(ctx, b.against, filepath.Dir(b.binary))
		if err != nil {
			return err
		}
		defer remove()
		before = other
	}
	for _, n := range b.counts {
		c := costs{viewers: n}
		fmt.Fprintln(b.out, adaptingHeader)
		for i := range rounds {
			round, err := b.adaptingRound(ctx, before, i, n)
			if err != nil {
				return fmt.Errorf("round %d with %d viewers: %w", i+1, n, err)
			}
			c.rounds = append(c.rounds, round)
			for _, r := range round {
				fmt.Fprintln(b.out, r.row(i))
			}
		}
		fmt.Fprintf(b.out, "\n%s\n", c.summary())
	}
	return nil
}

// adaptingRound measures each variant once. The first has a server of its own where it is
// another commit's.
func (b *bench) adaptingRound(ctx context.Context, before string, i, n int) ([]adapted, error) {
	round := make([]adapted, len(variants))
	for k := range variants {
		at := (i + k) % len(variants)
		v, binary := variants[at], b.binary
		if at == 0 && before != b.binary {
			binary, v.kind = before, "delta"
		}
		var err error
		for try := 1; try <= mostTries; try++ {
			if round[at], err = b.adapts(ctx, binary, v, n); !errors.Is(err, errNumbers) {
				break
			}
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", v.name, err)
		}
	}
	return round, nil
}

// adapts measures one variant.
func (b *bench) adapts(ctx context.Context, binary string, v variant, n int) (adapted, error) {
	r := adapted{result: result{kind: v.name, viewers: n}}
	l := b.load
	l.signals, l.stamps = v.signals, true
	server, err := start(ctx, binary, v.kind)
	if err != nil {
		return r, err
	}
	defer server.stop()
	pubs, err := publishAll(ctx, server.url, l)
	defer pubs.close()
	if err != nil {
		return r, fmt.Errorf("publishing: %w", err)
	}
	if err := wait(ctx, time.Second+2*l.settle); err != nil { // the server keeps as much then as it will
		return r, err
	}
	if err := pubs.pause(ctx); err != nil {
		return r, err
	}
	empty, err := server.idleMeters(ctx)
	if err != nil {
		return r, err
	}
	all, err := join(ctx, server.view, 0, n, l)
	defer all.close()
	if err != nil {
		return r, fmt.Errorf("joining: %w", err)
	}
	if err := v.warm(ctx, pubs, all, l.warm); err != nil {
		return r, err
	}
	if err := r.fanOut(ctx, server, pubs, all, l); err != nil {
		return r, err
	}
	if r.jitter == 0 {
		return r, errors.New("no sound was found to be the publisher's")
	}
	full, err := server.idleMeters(ctx)
	if err != nil {
		return r, err
	}
	r.kib = float64(int64(full.Bytes-empty.Bytes)) / 1024 / float64(n)
	r.goroutines = full.Goroutines - empty.Goroutines
	if err := b.profile(ctx, server, pubs, v.name, l.window); err != nil {
		return r, err
	}
	return r, v.check(r.numbered)
}

// profile has the paused publishers publish for a while, and adds a CPU profile of the server
// to the files of -profiles. It is no part of what is measured: to take it costs time, too.
func (b *bench) profile(ctx context.Context, server *process, pubs publishers, name string, window time.Duration) (err error) {
	if b.profiles == "" {
		return nil
	}
	pubs.resume()
	defer func() { err = errors.Join(err, pubs.pause(ctx)) }()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/debug/pprof/profile?seconds=%d", server.url, max(1, int(window.Seconds()))), http.NoBody)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the server gives no profile: %s", resp.Status)
	}
	f, err := os.CreateTemp(b.profiles, name+"-*.pprof")
	if err != nil {
		return err
	}
	_, err = io.Copy(f, resp.Body)
	return errors.Join(err, f.Close())
}

// warm has the viewers play for so long at least, and until the estimators do what the
// variant says.
func (v variant) warm(ctx context.Context, pubs publishers, all viewers, least time.Duration) error {
	pubs.resume()
	if err := wait(ctx, least); err != nil {
		return err
	}
	for begun := time.Now(); ; {
		counted, packets := all.counted(), all.packets()
		if err := wait(ctx, time.Second); err != nil {
			return err
		}
		err := v.check(float64(all.counted().numbered-counted.numbered) / float64(max(all.packets()-packets, 1)))
		if err == nil {
			break
		}
		if time.Since(begun) > dozesWithin {
			return err
		}
	}
	if err := pubs.pause(ctx); err != nil {
		return err
	}
	return all.drain(ctx)
}

// check fails if not so many packets have transport-wide numbers as should: then the
// estimators do not doze, or do, and the measurement says nothing.
func (v variant) check(numbered float64) error {
	const slack = 0.01
	if numbered < v.numbered-slack || numbered > v.numbered+slack {
		return fmt.Errorf("%w: %.1f %% of the packets have transport-wide numbers, not %.0f %%", errNumbers, 100*numbered, 100*v.numbered)
	}
	return nil
}

func (r adapted) row(round int) string {
	return fmt.Sprintf("| %d | %d %s | %.3f | %.1f | %.0f | %.2f | %d | %.1f | %.1f | %.2f | %.2f / %.2f | %.3f | %d | %.1f | %.1f |",
		round+1, r.viewers, r.kind, r.cpu, r.batch, r.wakes, r.kib, r.goroutines, 100*r.numbered, r.messages,
		ms(r.jitter), ms(r.p50), ms(r.p99), 100*r.loss, r.shed, 100*r.load, 100*r.own)
}

// over returns the median over the rounds of a figure of variant k, which may be a comparison
// with the first.
func (c *costs) over(k int, of func(r, first adapted) float64) float64 {
	var all []float64
	for _, round := range c.rounds {
		all = append(all, of(round[k], round[0]))
	}
	return share(all, 0.5)
}

// summary is the medians, with what misses its bar in bold.
func (c *costs) summary() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d viewers, median of %d rounds:\n\n", c.viewers, len(c.rounds))
	b.WriteString("| viewers | CPU a packet against off (quartiles) | KiB a viewer above off | goroutines of the server above off | jitter of sound p99 ms | above off |\n|---|---|---|---|---|---|\n")
	for k, v := range variants {
		var ratios []float64
		for _, round := range c.rounds {
			ratios = append(ratios, round[k].cpu/round[0].cpu)
		}
		memory := c.over(k, func(r, first adapted) float64 { return r.kib - first.kib })
		goroutines := c.over(k, func(r, first adapted) float64 { return float64(r.goroutines - first.goroutines) })
		jitter := c.over(k, func(r, first adapted) float64 { return ms(r.jitter) - ms(first.jitter) })
		bar := func(is bool) bool { return k > 0 && is }
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %.2f | %s |\n", v.name,
			bold(spreadOf(ratios), bar(share(ratios, .5) > v.most.cpu)),
			bold(fmt.Sprintf("%+.2f", memory), bar(memory > v.most.memory)),
			bold(fmt.Sprintf("%+.0f", goroutines), bar(goroutines > float64(v.most.goroutines))),
			c.over(k, func(r, _ adapted) float64 { return ms(r.jitter) }),
			bold(fmt.Sprintf("%+.2f", jitter), bar(jitter > ms(v.most.jitter))))
	}
	return b.String()
}

// bold marks a figure if it misses its bar.
func bold(figure string, misses bool) string {
	if misses {
		return "**" + figure + "**"
	}
	return figure
}
