package main

import (
	"fmt"
	"time"
)

// result is what one server did with one number of viewers.
type result struct {
	kind    string
	viewers int
	cpu     float64 // µs of the server for a delivered packet
	fanout  float64 // the same without what publishing costs
	load    float64 // share of a core
	own     float64 // share of a core that the load generator takes
	ingest  float64 // share of a core that the publishers take
	idle    float64 // share of a core that the sessions take without media
	loss    float64 // share of what was published
	shed    uint64  // times that Delta left something out
	memory  float64 // KiB of resident memory a viewer
	live    float64 // KiB of heap and stacks a viewer, after a garbage collection
	total   float64 // MiB of resident memory of the whole server
	join    float64 // ms of the server's CPU, with the keyframe that a viewer begins with
	wakes   float64 // of the server's threads a second
	batch   float64 // packets to a kernel message; 0: there are no batches
	p50     time.Duration
	p99     time.Duration

	jitter   time.Duration // see viewers.jitter
	numbered float64       // share of the packets with transport-wide numbers
	messages float64       // of RTCP, a second of a viewer
}

const header = "| server | viewers | CPU µs a packet | of them fan-out | viewers a core | packets a message | loss % | shed | KiB a viewer | CPU ms a join | joins/s a core | idle % of a core | latency p50 / p99 ms |\n" +
	"|---|---|---|---|---|---|---|---|---|---|---|---|---|"

// row is the result's line of the table, each figure with its ratio to first.
func (r result) row(first result) string {
	ratio := func(a, b float64) string { return r.ratio(first, a, b) }
	batch := "-"
	if r.batch > 0 {
		batch = fmt.Sprintf("%.1f", r.batch)
	}
	return fmt.Sprintf("| %s | %d | %.2f%s | %.2f%s | %.0f%s | %s | %.3f | %d | %.0f%s | %.2f%s | %.0f%s | %.2f%s | %.2f%s / %.2f%s |",
		r.kind, r.viewers,
		r.cpu, ratio(r.cpu, first.cpu), r.fanout, ratio(r.fanout, first.fanout),
		r.carries(), ratio(r.carries(), first.carries()),
		batch, 100*r.loss, r.shed,
		r.memory, ratio(r.memory, first.memory),
		r.join, ratio(r.join, first.join),
		1000/r.join, ratio(1/r.join, 1/first.join),
		100*r.idle, ratio(r.idle, first.idle),
		ms(r.p50), ratio(ms(r.p50), ms(first.p50)), ms(r.p99), ratio(ms(r.p99), ms(first.p99)))
}

// floorRow is the same for the floor, which has but a few of the figures.
func (r result) floorRow(first result) string {
	return fmt.Sprintf("| %s | %d | %.2f%s | %.2f%s | %.0f%s | - | - | - | - | - | - | - | - |",
		r.kind, r.viewers,
		r.cpu, r.ratio(first, r.cpu, first.cpu), r.fanout, r.ratio(first, r.fanout, first.fanout),
		r.carries(), r.ratio(first, r.carries(), first.carries()))
}

// ratio is what stands in brackets behind a figure, but for first's own.
func (r result) ratio(first result, a, b float64) string {
	if r.kind == first.kind || b == 0 {
		return ""
	}
	return fmt.Sprintf(" (%.2f)", a/b)
}

// carries is how many viewers would take a whole core.
func (r result) carries() float64 { return float64(r.viewers) / r.load }
