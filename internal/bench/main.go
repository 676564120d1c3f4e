// Command bench compares Delta's edge with a textbook fan-out on pion, under the
// same load in one run, and prints a table:
//
//	go -C internal/bench run .
//
// or, with -joins, how long those wait who join, or, with -small, how an edge on half a
// core does with more viewers than fit, or, with -saturate, how many
// viewers a server carries, or, with -hops, what it costs that an edge is not the node
// of the publisher, or, with -publishers, what publishers take, or, with
// -adapting, what it costs to fit what viewers are sent to their paths, or, with
// -against, how this tree's server compares with that of another commit.
//
// Each server has the first core for itself, the load generator the second. The
// floor is what the same packets cost at the least. Machines differ and change:
// read the ratios.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

func main() {
	viewers := flag.String("viewers", "", "numbers of viewers, one table row each (default 1,50,100,200; with -hops 100; with -adapting 500; with -saturate as many as it needs)")
	kinds := flag.String("kinds", "pion,delta-pc,delta", "servers; the first is what the others are compared with")
	window := flag.Duration("for", 8*time.Second, "how long each measurement takes")
	spread := flag.Duration("spread", 0, "time over which the publisher spreads a frame's packets")
	streams := flag.Int("streams", 1, "streams over which the viewers are spread (not for pion, which has one)")
	sound := flag.Bool("sound", false, "viewers take only the sound")
	busy := flag.Int("hogs", 0, "other processes that keep the server's core busy: with 9 it is a tenth as fast")
	joins := flag.Int("joins", 0, "instead of the table: so many viewers a second join, and how long they wait for an answer and a keyframe")
	publishers := flag.Int("publishers", 0, "instead of the table: so many publishers, received by PeerConnections and by sessions of Delta's own, and what they take")
	saturate := flag.Bool("saturate", false, "instead of the table: more and more viewers, until packets get lost or the core is full")
	smallFor := flag.Duration("small", 0, "instead of the table: an edge with half a core and 2 GB by cgroup, as many viewers as fit, and then twice as many people who come and go for so long")
	core := flag.Float64("core", halfCore, "with -small: share of a core that the edge has")
	gro := flag.Bool("gro", false, "the viewers take whole messages from the system: so the load generator carries more, but the ratios are others")
	hops := flag.Int("hops", 0, "instead of the table: an edge that fetches from another node, in one process, in two and in examples/threenode, in so many rounds")
	adapting := flag.Int("adapting", 0, "instead of the table: viewers whose paths are not estimated, viewers that doze, and viewers whose paths are estimated, in so many rounds; with -against the first of them at that commit's server; with -joins so many viewers a second join, with and without pacing")
	key := flag.Int("key", 0, "packets of a keyframe (default as many as other frames have)")
	against := flag.String("against", "", "instead of the table: a commit whose server is measured in turn with this tree's")
	pairs := flag.Int("pairs", 9, "with -against: how many pairs")
	profiles := flag.String("profiles", "", "with -adapting: a directory for a CPU profile of the server of each variant and round, which is taken after the variant was measured")
	pinned := flag.Bool("pinned", false, "set by the command itself")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	b := bench{out: os.Stdout, kinds: strings.Split(*kinds, ","), joins: *joins, publishers: *publishers, full: *saturate, smallFor: *smallFor, core: *core, against: *against, pairs: *pairs, hops: *hops, adapting: *adapting, profiles: *profiles, load: load{
		window: *window, settle: min(*window, 2*time.Second), warm: dozesAfter,
		spread: *spread, hogs: *busy, streams: *streams, sound: *sound, gro: *gro, key: *key,
	}}
	if *viewers == "" && !*saturate && *smallFor == 0 && *publishers == 0 {
		*viewers = defaultViewers(*hops, *adapting)
	}
	var err error
	if b.counts, err = numbers(*viewers); err == nil {
		err = pin(ctx, *pinned)
	}
	if err == nil {
		err = b.run(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// defaultViewers are the numbers of viewers, if they are not given.
func defaultViewers(hops, adapting int) string {
	switch {
	case hops > 0:
		return "100"
	case adapting > 0:
		return "500"
	}
	return "1,50,100,200"
}

// pin runs the command again on the second core, and ends with it.
func pin(ctx context.Context, done bool) error {
	taskset, err := exec.LookPath("taskset")
	if done || err != nil {
		return nil
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, taskset, append([]string{"-c", "1", self, "-pinned"}, os.Args[1:]...)...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it cleans up
	if err := cmd.Run(); err != nil {
		return err
	}
	os.Exit(0)
	return nil
}

// bench is one run of the command.
type bench struct {
	out    io.Writer
	binary string // of the servers
	kinds  []string
	counts []int // of viewers
	joins  int   // a second; 0: they are not what is measured
	full   bool  // the servers are filled
	// smallFor is how long there is too much to do for an edge on a small machine, which
	// has so much of a core; 0: that is not what is measured.
	smallFor time.Duration
	core     float64
	// publishers are what is measured, if there are any.
	publishers int
	// against is a commit to compare with, in so many pairs; "": none.
	against string
	pairs   int
	hops    int // rounds; 0: that is not what is measured
	// adapting is rounds; 0: that is not what is measured.
	adapting int
	profiles string // directory; "": there are none
	load     load
}

// run builds the servers, and measures them.
func (b *bench) run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "delta-bench")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	b.binary = filepath.Join(dir, "server")
	if err := b.build(ctx); err != nil {
		return err
	}
	if b.joins > 0 && b.adapting > 0 {
		return b.pacedJoins(ctx, b.joins, b.adapting)
	}
	if b.joins > 0 {
		return b.joinTable(ctx, b.joins)
	}
	if b.publishers > 0 {
		return b.publisherTable(ctx, b.publishers)
	}
	if b.smallFor > 0 {
		return b.small(ctx, longRun(b.core, b.smallFor))
	}
	if b.full {
		return b.saturate(ctx)
	}
	if b.hops > 0 {
		return b.hopTable(ctx, b.hops)
	}
	if b.adapting > 0 {
		return b.adaptingTable(ctx, b.adapting)
	}
	if b.against != "" {
		return b.compare(ctx, b.against, b.pairs)
	}
	return b.table(ctx)
}

// build builds the servers.
func (b *bench) build(ctx context.Context) error {
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", b.binary, "./server").CombinedOutput(); err != nil {
		return fmt.Errorf("building the servers: %w\n%s", err, out)
	}
	if b.hops == 0 {
		return nil
	}
	const example = "github.com/deltacdn/delta/examples/threenode"
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", exampleBinary(b.binary), example).CombinedOutput(); err != nil {
		return fmt.Errorf("building %s: %w\n%s", example, err, out)
	}
	return nil
}

// table prints what each server takes to serve each number of viewers.
func (b *bench) table(ctx context.Context) error {
	fmt.Fprintln(b.out, header)
	for _, n := range b.counts {
		var first result
		for i, kind := range b.kinds {
			r, err := measure(ctx, b.binary, kind, n, b.load)
			if err != nil {
				return fmt.Errorf("%s with %d viewers: %w", kind, n, err)
			}
			if i == 0 {
				first = r
			}
			fmt.Fprintln(b.out, r.row(first))
		}
		least, err := floor(ctx, b.binary, n, b.load)
		if err != nil {
			return fmt.Errorf("floor: %w", err)
		}
		fmt.Fprintln(b.out, least.floorRow(first))
	}
	return nil
}

// numbers are those between commas.
func numbers(list string) (all []int, err error) {
	if list == "" {
		return nil, nil
	}
	for s := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%q is no number above 0", s)
		}
		all = append(all, n)
	}
	return all, nil
}
