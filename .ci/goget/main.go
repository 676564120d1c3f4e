// Command goget is a stranger's program: it is built outside of this
// repository, with Delta as `go get` brings it, and so shows that what is
// exported suffices. .ci/goget/run builds and runs it.
//
// It composes a network with a signaling and a discovery of its own: see
// signaling.go and discovery.go.
package main

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/signal"
)

func main() {
	log.SetFlags(0)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := run(ctx); err != nil {
		log.Fatal("goget: ", err)
	}
	fmt.Println("goget: ok")
}

// run is to publish a stream at an origin, fetch it to an edge through dialer
// and dir, and see its packets arrive at a viewer.
func run(ctx context.Context) error {
	stream, err := cdn.ParseStreamID("live/goget")
	if err != nil {
		return err
	}
	dir := newDirectory()
	dialer := newExchange()

	// The composition of an origin and an edge stands here when their packages
	// do. Until then: the two contracts, carried out by this program.
	const at = "memory://origin"
	dialer.serve(at, echo{})
	if err := dir.Put(ctx, cdn.Entry{Stream: stream, Node: cdn.NewNodeID(), URL: at}, time.Minute); err != nil {
		return err
	}
	entries, err := dir.Find(ctx, stream)
	if err != nil {
		return err
	}
	if len(entries) != 1 {
		return fmt.Errorf("%d entries, want 1", len(entries))
	}
	session, err := dialer.Dial(ctx, entries[0].URL, signal.Offer{Stream: stream, SDP: "v=0"})
	if err != nil {
		return err
	}
	if session.SDP() != "v=0" {
		return fmt.Errorf("answer %q", session.SDP())
	}
	return session.Close(ctx)
}

// echo is a signal.Handler that answers with the offer.
type echo struct{}

func (echo) Offer(_ context.Context, o signal.Offer) (signal.Session, error) {
	return &echoSession{sdp: o.SDP, done: make(chan struct{})}, nil
}

type echoSession struct {
	sdp  string
	done chan struct{}
}

func (s *echoSession) ID() string                                        { return "echo" }
func (s *echoSession) SDP() string                                       { return s.sdp }
func (s *echoSession) Patch(_ context.Context, _ string) (string, error) { return "", nil }
func (s *echoSession) Done() <-chan struct{}                             { return s.done }
func (s *echoSession) Err() error                                        { return cdn.ErrClosed }
func (s *echoSession) Close() error                                      { close(s.done); return nil }
