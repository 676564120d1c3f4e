// Command bench compares Delta's edge with a textbook fan-out on pion, under the
// same load in one run, and prints a table:
//
//	go -C internal/bench run .
//
// Each server has the first core for itself, the load generator the second. The
// floor is what the same packets cost at the least. Machines differ and change:
// read the ratios.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

func main() {
	viewers := flag.String("viewers", "1,50,100,200", "numbers of viewers, one table row each")
	kinds := flag.String("kinds", "pion,delta-pc,delta", "servers; the first is what the others are compared with")
	window := flag.Duration("for", 8*time.Second, "how long each measurement takes")
	spread := flag.Duration("spread", 0, "time over which the publisher spreads a frame's packets")
	streams := flag.Int("streams", 1, "streams over which the viewers are spread (not for pion, which has one)")
	sound := flag.Bool("sound", false, "viewers take only the sound")
	busy := flag.Int("hogs", 0, "other processes that keep the server's core busy: with 9 it is a tenth as fast")
	pinned := flag.Bool("pinned", false, "set by the command itself")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := pin(ctx, *pinned)
	if err == nil {
		err = run(ctx, strings.Split(*kinds, ","), *viewers, load{window: *window, settle: min(*window, 2*time.Second), spread: *spread, hogs: *busy, streams: *streams, sound: *sound})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
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
	if err := cmd.Run(); err != nil {
		return err
	}
	os.Exit(0)
	return nil
}

func run(ctx context.Context, kinds []string, viewers string, l load) error {
	dir, err := os.MkdirTemp("", "delta-bench")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary := filepath.Join(dir, "server")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, "./server").CombinedOutput(); err != nil {
		return fmt.Errorf("building the server: %w\n%s", err, out)
	}
	fmt.Println(header)
	for count := range strings.SplitSeq(viewers, ",") {
		n, err := strconv.Atoi(count)
		if err != nil || n < 1 {
			return fmt.Errorf("viewers: %q is no number above 0", count)
		}
		var first result
		for i, kind := range kinds {
			r, err := measure(ctx, binary, kind, n, l)
			if err != nil {
				return fmt.Errorf("%s with %d viewers: %w", kind, n, err)
			}
			if i == 0 {
				first = r
			}
			fmt.Println(r.row(first))
		}
		least, err := floor(ctx, binary, n, l)
		if err != nil {
			return fmt.Errorf("floor: %w", err)
		}
		fmt.Println(least.floorRow(first))
	}
	return nil
}
