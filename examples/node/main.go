// Command node is one node of a CDN: an origin, a relay, an edge, or several of
// them at once.
//
//	node -roles origin -name o1 -http 127.0.0.1:8080
//	node -roles relay -name r1 -http 127.0.0.1:8081 -entry http://127.0.0.1:8080
//	node -roles edge -name e1 -http 127.0.0.1:8082 -entry http://127.0.0.1:8081,http://127.0.0.1:8080
//
// An origin takes publishers at /whip/, an edge viewers at /whep/; origins and
// relays take other nodes at /link/. Relays and edges fetch from the nodes at
// -entry, of which the first that has a stream gives it, and the next one when
// that is lost. /healthz answers while the process serves, /readyz when it can do
// its work, /status tells what runs; / has pages to publish and to play.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

// The exit codes.
const (
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	o, err := parse(os.Args[1:], os.Stdout)
	if err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return
		}
		fmt.Fprintln(os.Stderr, "node:", err)
		os.Exit(exitUsage)
	}
	if err := run(ctx, o, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "node:", err)
		os.Exit(exitFailed)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, o options, stdout, stderr io.Writer) error {
	level := slog.LevelWarn
	if o.verbose {
		level = slog.LevelInfo
	}
	n, err := start(o, slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level})))
	if err != nil {
		return err
	}
	defer n.close()
	fmt.Fprintf(stdout, "serving name=%s http=%s udp=%s roles=%s\n", n.node.ID(), n.url, n.node.Addr(), o.roles)
	select {
	case <-ctx.Done():
		return nil
	case err := <-n.failed:
		return err
	}
}
