// Command deltanode is one node of a CDN: an origin, a relay, an edge, or several of
// them at once.
//
//	deltanode -roles origin -name o1 -http 127.0.0.1:8080
//	deltanode -roles relay -name r1 -http 127.0.0.1:8081 -entry http://127.0.0.1:8080
//	deltanode -roles edge -name e1 -http 127.0.0.1:8082 -entry http://127.0.0.1:8081,http://127.0.0.1:8080
//
// An origin takes publishers at /whip/, an edge viewers at /whep/; origins and
// relays take other nodes at /link/. Relays and edges fetch from the nodes at
// -entry, of which the first that has a stream gives it, and the next one when
// that is lost; or from those that they find by -directory. /healthz answers while
// the process serves, /readyz when it can do its work; / has
// pages to publish and to play. docs/deltanode.md has all settings.
//
// At SIGTERM the node leaves: it is not ready, accepts no new sessions, and ends when it
// serves nobody any more, after -drain at most (30 s). Those who are left then are told
// goodbye. A second signal, or an interrupt, ends it at once. Give it a little more time
// than -drain before it is killed: "docker stop" waits for 10 s, unless -t says
// otherwise, and Kubernetes for terminationGracePeriodSeconds (30).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/deltacdn/delta/examples/deltanode/config"
	"github.com/deltacdn/delta/examples/deltanode/ctl"
	"github.com/deltacdn/delta/examples/deltanode/mint"
)

// The exit codes.
const (
	exitFailed = 1
	exitUsage  = 2
)

func main() { os.Exit(command(os.Args[1:])) }

// command runs what the command line says, and returns the exit code.
func command(args []string) int {
	if len(args) > 0 {
		switch args[0] {
		case "ctl":
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return ctl.Run(ctx, args[1:], os.Getenv, os.Stdout, os.Stderr)
		case "token":
			return exit(mint.Token(args[1:], os.Stdout))
		case "sign-url":
			return exit(mint.SignURL(args[1:], os.Stdout))
		}
	}
	return serve(args)
}

// exit tells of a command line that is wrong.
func exit(err error) int {
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return 0
	}
	fmt.Fprintln(os.Stderr, "deltanode:", err)
	return exitUsage
}

// serve runs a node, and returns the exit code.
func serve(args []string) int {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	load := func() (config.Config, config.Command, error) { return config.Load(args, os.Environ(), os.Stdout) }
	c, cmd, err := load()
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(os.Stderr, "deltanode:", err)
		return exitUsage
	case cmd.Version:
		fmt.Println(version())
		return 0
	}
	if cmd.Check {
		return say(os.Stdout, c)
	}
	r := runner{signals: signals, stdout: os.Stdout, stderr: os.Stderr, reload: func() (config.Config, error) {
		c, _, err := load()
		return c, err
	}}
	if err := r.run(c); err != nil {
		fmt.Fprintln(os.Stderr, "deltanode:", err)
		return exitFailed
	}
	return 0
}
