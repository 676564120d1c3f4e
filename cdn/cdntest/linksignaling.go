package cdntest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/signal"
)

// TestLinkDialer tests that a protocol carries the offers of links between a
// [signal.LinkDialer] and a [signal.LinkHandler], as their documentation says.
// setup makes h reachable and returns what dials it, at which base URL; for a nil h
// it returns the URL of a server that knows no links.
func TestLinkDialer(t *testing.T, setup func(t *testing.T, h signal.LinkHandler) (signal.LinkDialer, string)) {
	t.Run("offer and answer", func(t *testing.T) { testLinkOffer(t, setup) })
	t.Run("errors", func(t *testing.T) { testLinkErrors(t, setup) })
	t.Run("no links", func(t *testing.T) { testNoLinks(t, setup) })
	t.Run("cancel", func(t *testing.T) { testLinkCancel(t, setup) })
	t.Run("at once", func(t *testing.T) { testLinksAtOnce(t, setup) })
}

type linkSetup func(t *testing.T, h signal.LinkHandler) (signal.LinkDialer, string)

// linkFunc is a LinkHandler.
type linkFunc func(ctx context.Context, o signal.LinkOffer) ([]byte, error)

func (f linkFunc) Link(ctx context.Context, o signal.LinkOffer) ([]byte, error) { return f(ctx, o) }

// linkText returns JSON with what a careless protocol could change, of n bytes or
// some more.
func linkText(n int) []byte {
	return []byte("{\"x\": \"é%&+<>\\u0000\",\r\n\"y\":\t\"" + strings.Repeat("y", n) + "\"}\n")
}

func testLinkOffer(t *testing.T, setup linkSetup) {
	var got signal.LinkOffer
	var answer []byte
	d, url := setup(t, linkFunc(func(_ context.Context, o signal.LinkOffer) ([]byte, error) {
		got = signal.LinkOffer{Body: bytes.Clone(o.Body), RemoteAddr: o.RemoteAddr}
		return answer, nil
	}))
	for _, n := range []int{0, 1000, 30 << 10} {
		for _, slash := range []string{"", "/"} {
			offer := linkText(n)
			answer = linkText(n / 2)
			back, err := d.DialLink(t.Context(), strings.TrimSuffix(url, "/")+slash, offer)
			if err != nil {
				t.Fatalf("DialLink of %d bytes: %v", len(offer), err)
			}
			if !bytes.Equal(got.Body, offer) || !bytes.Equal(back, answer) {
				t.Errorf("%d bytes arrived as %.100q, and %d back as %.100q", len(offer), got.Body, len(answer), back)
			}
			if _, _, err := net.SplitHostPort(got.RemoteAddr); got.RemoteAddr != "" && err != nil {
				t.Errorf("the node that asks is at %q, which is no host:port", got.RemoteAddr)
			}
		}
	}
}

func testLinkErrors(t *testing.T, setup linkSetup) {
	var refusal error
	d, url := setup(t, linkFunc(func(context.Context, signal.LinkOffer) ([]byte, error) { return nil, refusal }))
	for _, want := range []error{
		cdn.ErrUnauthorized, cdn.ErrForbidden, cdn.ErrOverLimit, cdn.ErrInvalid, cdn.ErrLoop, cdn.ErrClosed, cdn.ErrTimeout,
	} {
		refusal = &cdn.Error{Op: "test", Err: fmt.Errorf("%w: said so", want), RetryAfter: 3 * time.Second}
		_, err := d.DialLink(t.Context(), url, linkText(10))
		if !errors.Is(err, want) || errors.Is(err, cdn.ErrUnsupported) {
			t.Errorf("%v arrived as %v", want, err)
			continue
		}
		var e *cdn.Error
		if !errors.As(err, &e) || e.RetryAfter != 3*time.Second {
			t.Errorf("%v arrived without when to try again: %v", want, err)
		}
	}
	refusal = errors.New("the database password is swordfish")
	_, err := d.DialLink(t.Context(), url, linkText(10))
	if err == nil || errors.Is(err, cdn.ErrUnsupported) {
		t.Errorf("an unknown error arrived as %v", err)
	}
}

func testNoLinks(t *testing.T, setup linkSetup) {
	d, url := setup(t, nil)
	if _, err := d.DialLink(t.Context(), url, linkText(10)); !errors.Is(err, cdn.ErrUnsupported) {
		t.Errorf("a server that knows no links: %v", err)
	}
}

func testLinkCancel(t *testing.T, setup linkSetup) {
	entered := make(chan struct{})
	left := make(chan struct{})
	d, url := setup(t, linkFunc(func(ctx context.Context, _ signal.LinkOffer) ([]byte, error) {
		close(entered)
		<-ctx.Done()
		close(left)
		return nil, ctx.Err()
	}))
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() {
		_, err := d.DialLink(ctx, url, linkText(10))
		failed <- err
	}()
	wait := func(what <-chan struct{}, otherwise string) {
		select {
		case <-what:
		case <-time.After(signalingPatience):
			t.Fatal(otherwise)
		}
	}
	wait(entered, "the offer did not arrive")
	cancel()
	select {
	case err := <-failed:
		if err == nil {
			t.Error("a dial that was given up succeeded")
		}
	case <-time.After(signalingPatience):
		t.Fatal("a dial that was given up goes on")
	}
	wait(left, "the other node goes on with an offer that was given up")
}

func testLinksAtOnce(t *testing.T, setup linkSetup) {
	d, url := setup(t, linkFunc(func(_ context.Context, o signal.LinkOffer) ([]byte, error) {
		return append([]byte("to "), o.Body...), nil
	}))
	var dials sync.WaitGroup
	for i := range 16 {
		dials.Go(func() {
			offer := fmt.Sprintf(`{"offer": %d}`, i)
			answer, err := d.DialLink(t.Context(), url, []byte(offer))
			if err != nil || string(answer) != "to "+offer {
				t.Errorf("%s was answered %q, %v", offer, answer, err)
			}
		})
	}
	dials.Wait()
}
