// Record records a live stream of a Delta network, or of any WHEP server, to files that
// ffmpeg plays: video (VP8, VP9 or AV1) to an IVF file and sound (Opus) to an Ogg file.
//
//	record -whep http://127.0.0.1:8081/whep -stream demo -for 10s
//	record -from https://o1.example.com -secret SECRET -stream demo
//	ffmpeg -i demo.ivf -i demo.ogg -c copy demo.webm
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/relay"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "record:", err)
		os.Exit(1)
	}
}

// giveUp is how long a recording waits for a stream that has broken off.
const giveUp = 3 * time.Second

// options are what is recorded, and from where.
type options struct {
	from, whep, stream, secret, to string
	length                         time.Duration
}

func parse(args []string) (o options, err error) {
	f := flag.NewFlagSet("record", flag.ContinueOnError)
	f.StringVar(&o.from, "from", "", "base `URL` of a node's signaling, that serves other nodes, such as http://127.0.0.1:8080")
	f.StringVar(&o.whep, "whep", "", "`URL` below which a server of another make has its WHEP endpoints")
	f.StringVar(&o.stream, "stream", "demo", "`name` of the stream")
	f.StringVar(&o.secret, "secret", "", "the secret that the network's nodes share")
	f.StringVar(&o.to, "to", "", "`path` of the files, without .ivf and .ogg (default: the stream's name)")
	f.DurationVar(&o.length, "for", 0, "how long to record (default: until the stream ends, or Ctrl-C)")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if (o.from == "") == (o.whep == "") {
		return o, errors.New("say -from or -whep")
	}
	if o.to == "" {
		o.to = o.stream
	}
	return o, nil
}

func run(ctx context.Context, args []string) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	node, err := cdn.Listen(cdn.Config{Trust: cdn.Trust{Secret: o.secret}})
	if err != nil {
		return err
	}
	defer node.Close()
	// A relay has any stream of the network, and fetches it when it is opened.
	c := relay.Config{Directory: cdn.Static(o.from), GiveUp: giveUp}
	if o.whep != "" {
		c = relay.Config{Directory: cdn.Static(o.whep), Fetcher: relay.NewPull(node, relay.PullConfig{}), GiveUp: giveUp}
	}
	up, err := relay.New(node, c)
	if err != nil {
		return err
	}
	sub, err := up.Open(ctx, cdn.Request{Stream: cdn.StreamID(o.stream)})
	if err != nil {
		return err
	}
	defer sub.Close()
	if err := sub.Stream().Ready(ctx); err != nil {
		return err
	}
	if o.length > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.length)
		defer cancel()
	}
	return record(ctx, sub.Stream(), o.to)
}
