// Command threenode runs a whole CDN in one process: an origin and two edges,
// with -relay two relays between them. They are nodes all the same: each has its
// own ports, and they find each other by points of entry and talk over sockets
// only. Open the addresses that it prints.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/deltacdn/delta/internal/demo"
	"github.com/deltacdn/delta/signal/whip"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "threenode:", err)
			os.Exit(1)
		}
	}
}

// options are the flags. Others script against them: keep them stable.
type options struct {
	origin, edge1, edge2, relayAddr, relay2Addr string
	relay, demo, kills, verbose                 bool
	public                                      netip.Addr
	tls                                         tlsFiles
	secret                                      string
}

type tlsFiles struct{ cert, key string }

func parse(args []string, output io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("threenode", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&o.origin, "origin", "127.0.0.1:8080", "`address` of the origin, for HTTP and UDP")
	f.StringVar(&o.edge1, "edge1", "127.0.0.1:8081", "`address` of the first edge")
	f.StringVar(&o.edge2, "edge2", "127.0.0.1:8082", "`address` of the second edge")
	f.StringVar(&o.relayAddr, "relay-addr", "127.0.0.1:8083", "`address` of the first relay")
	f.StringVar(&o.relay2Addr, "relay2-addr", "127.0.0.1:8084", "`address` of the second relay")
	f.BoolVar(&o.relay, "relay", false, "put two relays between the origin and the edges, each of which goes over to the other relay when its own is gone")
	f.BoolVar(&o.demo, "demo", true, "publish the built-in clip as stream \"demo\"")
	f.BoolVar(&o.kills, "kills", false, "let pages that are opened on other machines kill and restore nodes too")
	f.StringVar(&o.secret, "secret", "", "`text` by which the nodes know each other, and other nodes that fetch from them; if empty, a random one")
	f.BoolVar(&o.verbose, "v", false, "log what happens")
	public := f.String("public", "", "`IP` under which others reach this machine; nodes then listen on all addresses")
	f.StringVar(&o.tls.cert, "tls-cert", "", "certificate `file` (PEM), for https: browsers give pages from other machines a camera only then")
	f.StringVar(&o.tls.key, "tls-key", "", "key `file` (PEM) of the certificate")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			f.SetOutput(output)
			f.Usage()
		}
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if (o.tls.cert == "") != (o.tls.key == "") {
		return o, errors.New("-tls-cert and -tls-key go together")
	}
	if *public != "" {
		ip, err := netip.ParseAddr(*public)
		if err != nil {
			return o, fmt.Errorf("-public: %q is no IP address", *public)
		}
		o.public = ip
	}
	return o, nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stdout)
	if err != nil {
		return err
	}
	level := slog.LevelWarn
	if o.verbose {
		level = slog.LevelInfo
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))
	c, err := start(o, log)
	if err != nil {
		return err
	}
	defer c.close()
	c.announce(stdout, o)

	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if o.demo {
		wg.Go(func() {
			err := demo.Publish(ctx, demo.Config{
				URL: c.slots[0].url + "/whip/demo", Dialer: &whip.Client{HTTP: c.client}, Stream: "demo", Logger: log,
			})
			if err != nil {
				log.Error("the built-in clip", "err", err)
			}
		})
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-c.failed:
		return err
	}
}
