package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

// compare measures this tree's server and that of another commit in turn, pair by
// pair, and prints the median of the pairs' ratios with its quartiles. A machine
// that changes its speed from one minute to the next changes both of a pair.
func (b *bench) compare(ctx context.Context, commit string, pairs int) error {
	other, remove, err := buildAt(ctx, commit, filepath.Dir(b.binary))
	if err != nil {
		return err
	}
	defer remove()
	for _, n := range b.counts {
		ours, theirs := make([]result, pairs), make([]result, pairs)
		for i := range pairs {
			runs := []run{{b.binary, &ours[i]}, {other, &theirs[i]}}
			if i%2 == 1 { // neither is always the first
				slices.Reverse(runs)
			}
			for _, r := range runs {
				if *r.result, err = measure(ctx, r.binary, b.kinds[len(b.kinds)-1], n, b.load); err != nil {
					return fmt.Errorf("pair %d with %d viewers: %w", i+1, n, err)
				}
			}
		}
		fmt.Fprintf(b.out, "%d viewers, %d pairs, this tree / %s:\n", n, pairs, commit)
		for _, f := range figures {
			fmt.Fprintln(b.out, f.row(ours, theirs))
		}
	}
	return nil
}

// A run is one measurement of a server.
type run struct {
	binary string
	result *result
}

// buildAt builds the servers of a commit.
func buildAt(ctx context.Context, commit, dir string) (binary string, remove func(), err error) {
	tree := filepath.Join(dir, "tree")
	if out, err := exec.CommandContext(ctx, "git", "worktree", "add", "--detach", tree, commit).CombinedOutput(); err != nil {
		return "", nil, fmt.Errorf("checking out %s: %w\n%s", commit, err, out)
	}
	remove = func() { _ = exec.Command("git", "worktree", "remove", "--force", tree).Run() } // the folder goes with dir
	binary = filepath.Join(dir, "other")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", binary, "./server")
	cmd.Dir, cmd.Env = filepath.Join(tree, "internal", "bench"), append(os.Environ(), "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		remove()
		return "", nil, fmt.Errorf("building %s: %w\n%s", commit, err, out)
	}
	return binary, remove, nil
}

// A figure is one of those that are compared.
type figure struct {
	name string
	of   func(result) float64
}

var figures = []figure{
	{"CPU µs a packet", func(r result) float64 { return r.cpu }},
	{"of them fan-out", func(r result) float64 { return r.fanout }},
	{"packets a message", func(r result) float64 { return r.batch }},
	{"KiB a viewer", func(r result) float64 { return r.memory }},
	{"of them live", func(r result) float64 { return r.live }},
	{"MiB of the server", func(r result) float64 { return r.total }},
	{"CPU ms a join", func(r result) float64 { return r.join }},
	{"idle, of a core", func(r result) float64 { return r.idle }},
	{"latency p50 ms", func(r result) float64 { return ms(r.p50) }},
	{"latency p99 ms", func(r result) float64 { return ms(r.p99) }},
	{"lost, of what was published", func(r result) float64 { return r.loss }},
}

// row compares a figure.
func (f figure) row(ours, theirs []result) string {
	var a, b, ratios []float64
	for i := range ours {
		x, y := f.of(ours[i]), f.of(theirs[i])
		a, b = append(a, x), append(b, y)
		if y != 0 {
			ratios = append(ratios, x/y)
		}
	}
	text := fmt.Sprintf("%-28s %9.3f / %9.3f", f.name, share(a, .5), share(b, .5))
	if len(ratios) > 0 {
		text += fmt.Sprintf("   ratio %.3f (quartiles %.3f to %.3f)", share(ratios, .5), share(ratios, .25), share(ratios, .75))
	}
	return text
}

// share returns the value below which that share of all lies.
func share(all []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(all))
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 == len(sorted) {
		return sorted[i]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}
