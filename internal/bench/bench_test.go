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

func TestSaturate(t *testing.T) {
	t.Parallel()
	b, out := tiny(t)
	b.load.gro = true
	b.full, b.kinds, b.counts = true, []string{"delta"}, []int{1, 2}
	if err := b.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Log(out)
	if got := rows(t, out.String()); got[0][1] != "1" || got[1][1] != "2" {
		t.Errorf("steps: %q", got)
	}
}

// Viewers behind a hop get all that is published, however the two nodes are run.
func TestHops(t *testing.T) {
	t.Parallel()
	b, out := tiny(t)
	b.hops = 1
	if err := b.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Log(out)
	got := rows(t, out.String())
	for i, kind := range hopKinds {
		if i >= len(got) || got[i][1] != kind || got[i][6] != "0.000" {
			t.Fatalf("row %d is not %s's without a loss: %q", i, kind, got)
		}
	}
}

// What misses a bar is marked.
func TestHopSummary(t *testing.T) {
	t.Parallel()
	of := func(cpu float64, p99 time.Duration) result {
		return result{viewers: 100, cpu: cpu, load: cpu / 10, p99: p99}
	}
	h := hops{viewers: 100}
	for range 3 {
		h.rounds = append(h.rounds, map[string]result{
			kindBeside: of(2, 10*time.Millisecond), kindHop: of(2.2, 12*time.Millisecond),
			kindProcesses: of(2.5, 14*time.Millisecond), kindExample: of(4, 10*time.Millisecond),
			kindPion: of(8, time.Second), "floor": of(3, 0),
		})
	}
	for _, want := range []string{
		"| delta | 0.00 | 1.00 | 1.00 | 0.25 |", "| hop | 0.07 | 1.20 | 0.91 | 0.28 |",
		"| processes | **0.17** | **1.40** | **0.80** | 0.31 |", "| threenode | **0.67** | 1.00 | **0.50** | **0.50** |",
	} {
		if !strings.Contains(h.summary(), want) {
			t.Errorf("no %q in\n%s", want, h.summary())
		}
	}
	h.gro = true
	if want := "| hop | 0.07 | 1.20 | 0.91 | **0.28** |"; !strings.Contains(h.summary(), want) {
		t.Errorf("no %q in\n%s", want, h.summary())
	}
}

// Few viewers are full, however many there are, and whether they join at once or not.
func TestFullViewers(t *testing.T) {
	t.Parallel()
	for n := 1; n <= 100; n++ {
		for first := range n {
			var which []int
			for k := range n - first {
				if isFull(first, k, n) {
					which = append(which, first+k)
				}
			}
			if got, want := len(which), min(n, full)-min(first, full); got != want {
				t.Fatalf("%d full viewers of %d behind %d, and not %d: %v", got, n, first, want, which)
			}
			if first == 0 && n > full && which[full-1]-which[0] < n/2 {
				t.Fatalf("full viewers of %d: %v", n, which)
			}
		}
	}
}

func TestNext(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		viewers int
		load    float64
		want    int
	}{
		{0, 0, firstStep},
		{100, 0.1, 200},
		{400, 0.4, 800},
		{800, 0.8, 853},
		{1000, 0.75, 1093},
		{1000, 0.79, 1066}, // not 1037: it would be there as soon, with less to see
		{3, 0.9, 4},
	} {
		if got := next(c.viewers, c.load); got != c.want {
			t.Errorf("after %d viewers at %.2f: %d, want %d", c.viewers, c.load, got, c.want)
		}
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	var l limits
	steps := []result{{viewers: 100, load: 0.5}, {viewers: 160, load: 0.81}, {viewers: 170, load: 0.85}, {viewers: 180, load: 0.9, loss: 0.002}, {viewers: 180, load: 0.9, loss: 0.002}}
	for i, r := range steps {
		if over := l.note(r); over != (i == len(steps)-1) {
			t.Errorf("over after step %d: %t", i, over)
		}
	}
	if l.busy.viewers != 160 || l.clean.viewers != 170 || l.least {
		t.Errorf("found %+v", l)
	}
	first := limits{kind: "pion", busy: result{p50: 2 * time.Millisecond, p99: 4 * time.Millisecond}, clean: result{kind: "pion", viewers: 100}}
	l = limits{kind: "delta", busy: l.busy, clean: l.clean}
	l.clean.kind, l.busy.p50, l.busy.p99 = "delta", time.Millisecond, time.Millisecond
	if got, want := l.row(first), "| delta | 160 at 81 % | 1.00 (0.50) / 1.00 (0.25) | 170 (1.70) at 85 % |"; got != want {
		t.Errorf("row %q, want %q", got, want)
	}
	if l.note(result{viewers: 190, load: 0.7, own: 0.96}); !l.least {
		t.Error("the load generator's limit was taken for the server's")
	}
}

func TestPublishers(t *testing.T) {
	t.Parallel()
	b, out := tiny(t)
	b.publishers = 10
	if err := b.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Log(out)
	got := rows(t, out.String())
	if len(got) != 3 || got[0][0] != "delta-publishers-pc" || got[1][0] != "delta" || got[1][1] != "10" || got[2][0] != "floor" {
		t.Fatalf("no row for each: %q", got)
	}
	if goroutines, _, _ := strings.Cut(got[1][4], " "); goroutines > "0.3" && goroutines[0] != '-' {
		t.Errorf("a publisher has %s goroutines", goroutines)
	}
}
