package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// The servers of the hop table. The first is what the hops are compared with.
var hopKinds = []string{
	kindBeside,
	kindHop,
	kindProcesses,
	kindExample,
	kindPion,
}

const (
	kindBeside    = "delta"     // an origin and an edge on one node
	kindHop       = "hop"       // an origin node and an edge node in one process
	kindProcesses = "processes" // an origin and an edge, each a process
	kindExample   = "threenode" // examples/threenode, viewed at an edge
	kindPion      = "pion"      // a textbook fan-out on one node
)

// The bars that an edge behind a hop is held to.
const (
	mostAdded   = 0.08 // CPU a packet, in units of sealing and sending one
	mostSlower  = 1.3  // p99 latency against the edge beside its publisher
	leastShare  = 0.85 // viewers a core against the same
	mostOfPion  = 0.35 // CPU a packet against pion, where packets are received one by one
	mostWithGRO = 0.2  // the same, where receivers take whole messages
)

// hops are the rounds of one measurement, by the kind of server.
type hops struct {
	viewers int
	gro     bool
	rounds  []map[string]result
}

const hopHeader = "| round | server | CPU µs a packet | in units of the floor | packets a message | wakes a second | loss % | latency p50 / p99 ms | % of a core |\n" +
	"|---|---|---|---|---|---|---|---|---|"

// hopTable prints what it costs that an edge fetches from another node, which is of
// the same process or not, in so many rounds. Each round measures all servers and the
// floor, one after the other, in an order that changes.
func (b *bench) hopTable(ctx context.Context, rounds int) error {
	for _, n := range b.counts {
		h := hops{viewers: n, gro: b.load.gro}
		fmt.Fprintln(b.out, hopHeader)
		for i := range rounds {
			round, err := b.hopRound(ctx, i, n)
			if err != nil {
				return fmt.Errorf("round %d with %d viewers: %w", i+1, n, err)
			}
			h.rounds = append(h.rounds, round)
			for _, kind := range hopKinds {
				fmt.Fprintln(b.out, hopRow(i, round[kind], round["floor"]))
			}
		}
		fmt.Fprintf(b.out, "\n%s\n", h.summary())
	}
	return nil
}

// hopRound measures each kind of server once.
func (b *bench) hopRound(ctx context.Context, i, n int) (map[string]result, error) {
	kinds := slices.Concat(hopKinds[i%len(hopKinds):], hopKinds[:i%len(hopKinds)])
	round := make(map[string]result, len(kinds)+1)
	for _, kind := range kinds {
		r, err := b.hop(ctx, kind, n)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", kind, err)
		}
		round[kind] = r
	}
	least, err := floor(ctx, b.binary, n, b.load)
	if err != nil {
		return nil, fmt.Errorf("floor: %w", err)
	}
	round["floor"] = least
	return round, nil
}

// hop measures one server, as far as the hop table needs it.
func (b *bench) hop(ctx context.Context, kind string, n int) (result, error) {
	r := result{kind: kind, viewers: n}
	server, err := start(ctx, b.binary, kind)
	if err != nil {
		return r, err
	}
	defer server.stop()
	pubs, err := publishAll(ctx, server.url, b.load)
	defer pubs.close()
	if err != nil {
		return r, fmt.Errorf("publishing: %w", err)
	}
	if err := wait(ctx, time.Second); err != nil { // the tracks are known
		return r, err
	}
	if err := pubs.pause(ctx); err != nil {
		return r, err
	}
	viewers, err := join(ctx, server.view, 0, n, b.load)
	defer viewers.close()
	if err != nil {
		return r, fmt.Errorf("joining: %w", err)
	}
	if err := play(ctx, pubs, viewers, b.load); err != nil {
		return r, err
	}
	return r, r.fanOut(ctx, server, pubs, viewers, b.load)
}

func hopRow(i int, r, least result) string {
	batch := "-"
	if r.batch > 0 {
		batch = fmt.Sprintf("%.1f", r.batch)
	}
	return fmt.Sprintf("| %d | %s | %.2f | %.2f | %s | %.0f | %.3f | %.2f / %.2f | %.1f |",
		i+1, r.kind, r.cpu, r.cpu/least.cpu, batch, r.wakes, 100*r.loss, ms(r.p50), ms(r.p99), 100*r.load)
}

// over returns the median over the rounds of a figure of one kind of server, which may
// be a comparison with the others of its round.
func (h *hops) over(of func(round map[string]result) float64) float64 {
	var all []float64
	for _, round := range h.rounds {
		all = append(all, of(round))
	}
	return share(all, 0.5)
}

// A hopFigure is what the summary says of one kind of server.
type hopFigure struct {
	added   float64 // CPU a packet above that of kindBeside, in units of the floor
	slower  float64 // p99 latency against it
	viewers float64 // a core, against it
	ofPion  float64 // CPU a packet against pion's
}

func (h *hops) figure(kind string) hopFigure {
	return hopFigure{
		added: h.over(func(r map[string]result) float64 {
			return (r[kind].cpu - r[kindBeside].cpu) / r["floor"].cpu
		}),
		slower:  h.over(func(r map[string]result) float64 { return ms(r[kind].p99) / ms(r[kindBeside].p99) }),
		viewers: h.over(func(r map[string]result) float64 { return r[kind].carries() / r[kindBeside].carries() }),
		ofPion:  h.over(func(r map[string]result) float64 { return r[kind].cpu / r[kindPion].cpu }),
	}
}

// summary is the medians, with what misses its bar in bold.
func (h *hops) summary() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d viewers, median of %d rounds (bars: at most %.2f, %.1f; at least %.2f; at most %.2f):\n\n",
		h.viewers, len(h.rounds), mostAdded, mostSlower, leastShare, h.mostOfPion())
	b.WriteString("| server | CPU a packet above that beside the publisher, in units of the floor | latency p99 against it | viewers a core against it | CPU a packet against pion |\n|---|---|---|---|---|\n")
	for _, kind := range hopKinds[:len(hopKinds)-1] {
		f := h.figure(kind)
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", kind,
			marked(f.added, f.added > mostAdded), marked(f.slower, f.slower > mostSlower),
			marked(f.viewers, f.viewers < leastShare), marked(f.ofPion, f.ofPion > h.mostOfPion()))
	}
	return b.String()
}

func (h *hops) mostOfPion() float64 {
	if h.gro {
		return mostWithGRO
	}
	return mostOfPion
}

func marked(x float64, bad bool) string {
	if bad {
		return fmt.Sprintf("**%.2f**", x)
	}
	return fmt.Sprintf("%.2f", x)
}
