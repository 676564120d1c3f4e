package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// tiny is a run whose figures mean nothing.
func tiny(t *testing.T) (*bench, *strings.Builder) {
	t.Helper()
	if _, err := os.Stat("/proc/self/schedstat"); err != nil {
		t.Skip("the benchmark reads the servers' meters in /proc: this needs Linux")
	}
	if _, err := exec.LookPath("taskset"); err != nil {
		t.Skip("the benchmark gives each side its own core by taskset, which is not installed")
	}
	var out strings.Builder
	return &bench{out: &out, kinds: []string{"pion", "delta"}, counts: []int{2}, load: load{
		window: 300 * time.Millisecond, settle: 300 * time.Millisecond, streams: 1,
	}}, &out
}

// rows returns the cells of the table's lines below its heading.
func rows(t *testing.T, out string) (all [][]string) {
	t.Helper()
	for i, line := range strings.Split(strings.TrimSpace(out), "\n") {
		if i < 2 {
			continue
		}
		var cells []string
		for _, c := range strings.Split(strings.Trim(line, "| "), "|") {
			cells = append(cells, strings.TrimSpace(c))
		}
		all = append(all, cells)
	}
	return all
}

func TestTable(t *testing.T) {
	t.Parallel()
	b, out := tiny(t)
	if err := b.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Log(out)
	got := rows(t, out.String())
	for i, kind := range []string{"pion", "delta", "floor"} {
		if i >= len(got) || got[i][0] != kind || len(got[i]) != strings.Count(header, "|")/2-1 {
			t.Fatalf("row %d is not %s's: %q", i, kind, got)
		}
	}
}

func TestJoins(t *testing.T) {
	t.Parallel()
	b, out := tiny(t)
	b.joins = 10
	if err := b.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Log(out)
	for i, row := range rows(t, out.String()) {
		if row[0] != b.kinds[i] || row[1] != "3" || row[2] != "0" {
			t.Errorf("not all joined: %q", row)
		}
	}
}
