package main

import (
	"context"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/internal/freeport"
	"github.com/deltacdn/delta/signal/whep"
	"github.com/deltacdn/delta/signal/whip"
)

// publish publishes a stream at a node until the test ends.
func (p *process) publish(ctx context.Context, t *testing.T) *cdntest.Publisher {
	pub, err := cdntest.NewPublisher(ctx, cdntest.PublisherConfig{Dialer: &whip.Client{}, URL: p.url + "/whip/live"})
	require.NoError(t, err)
	t.Cleanup(pub.Kill)
	require.NoError(t, pub.WaitConnected(ctx))
	return pub
}

// view plays the stream at a node until the test ends.
func (p *process) view(ctx context.Context, t *testing.T) *cdntest.Viewer {
	v, err := cdntest.NewViewer(ctx, cdntest.ViewerConfig{Dialer: &whep.Client{}, URL: p.url + "/whep/live"})
	require.NoError(t, err)
	t.Cleanup(v.Kill)
	require.NoError(t, v.WaitFrames(ctx, 30))
	return v
}

// terminate has a node leave: it says so at once, though it still serves.
func (p *process) terminate(t *testing.T) {
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	require.Eventually(t, func() bool {
		code, body := get(t, p.url+"/readyz")
		return code == http.StatusServiceUnavailable && strings.Contains(body, "draining")
	}, patience, 5*time.Millisecond)
	code, body := get(t, p.url+"/healthz")
	require.Equal(t, http.StatusOK, code)
	require.Equal(t, "ok\n", body)
}

// exit waits for a node's end, with 0, and returns how long that took.
func (p *process) exit(t *testing.T) time.Duration {
	begun := time.Now()
	require.NoError(t, p.Wait())
	return time.Since(begun)
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// A relay leaves while viewers play behind it: their edge has the stream from the other
// one, without a frame missing, and the relay ends as soon as it has.
func TestARelayLeaves(t *testing.T) {
	ctx := within(t, time.Minute)
	o := launch(t, "-roles", "origin", "-name", "o")
	relays := map[string]*process{}
	var entry []string
	for _, name := range []string{"r1", "r2"} {
		r := launch(t, "-roles", "relay", "-name", name, "-entry", o.url, "-drain", "2m")
		relays[r.url] = r
		entry = append(entry, r.url)
		r.waitReady(t)
	}
	e := launch(t, "-roles", "edge", "-name", "e", "-entry", strings.Join(entry, ","))
	e.waitLinks(t, "r1", "r2") // otherwise it begins with the one that it has
	o.publish(ctx, t)
	var viewers []*cdntest.Viewer
	for range 5 {
		viewers = append(viewers, e.view(ctx, t))
	}
	used := e.upstream(t)
	require.Contains(t, entry, used)
	other := entry[1-slices.Index(entry, used)]                      // on a busy machine either may seem nearer
	require.NoError(t, relays[used].Process.Signal(syscall.SIGTERM)) // it may be gone ahead of a question
	require.Less(t, relays[used].exit(t), time.Minute, "it does not wait for the deadline")
	require.Equal(t, other, e.upstream(t))
	var shown []int // since it has gone
	for _, v := range viewers {
		shown = append(shown, len(v.Report().Video().Frames))
	}
	for i, v := range viewers {
		require.NoError(t, v.WaitFrames(ctx, shown[i]+60))
		video := v.Report().Video()
		require.Zero(t, video.FaultCount, video.Faults)
		require.Zero(t, video.Missing+video.Duplicates)
		t.Logf("the longest pause was %v", video.Gap()) // internal/e2e/drain_static_test.go bounds it, in virtual time
	}
}

// What comes through the only relay that can be reached comes through it until there is
// another, or until the deadline; the viewers see no more than a node's death, if at all.
func TestTheOnlyRelayLeaves(t *testing.T) {
	ctx := within(t, time.Minute)
	o := launch(t, "-roles", "origin", "-name", "o")
	r := launch(t, "-roles", "relay", "-name", "r", "-entry", o.url, "-drain", "3s")
	r.waitReady(t)
	addr := freeport.Addr(t)
	e := launch(t, "-roles", "edge", "-name", "e", "-entry", r.url+",http://"+addr)
	e.waitReady(t)
	o.publish(ctx, t)
	v := e.view(ctx, t)
	begun := time.Now()
	r.terminate(t)
	time.Sleep(time.Second)
	next := launch(t, "-roles", "relay", "-name", "next", "-entry", o.url, "-http", addr)
	r.exit(t)
	require.NoError(t, v.WaitFrames(ctx, len(v.Report().Video().Frames)+60))
	require.Equal(t, next.url, e.upstream(t))
	t.Logf("left after %v; the longest pause was %v", time.Since(begun), v.Report().Video().Gap())
}

// An edge that leaves has nowhere to send its viewers, since it knows no other: they stay
// until the deadline, and are told goodbye then. Nobody new is let in.
func TestAnEdgeLeaves(t *testing.T) {
	ctx := within(t, time.Minute)
	n := launch(t, "-name", "n", "-drain", "3s")
	pub := n.publish(ctx, t)
	v := n.view(ctx, t)
	begun := time.Now()
	n.terminate(t)

	for _, refused := range []func() error{
		func() error {
			_, err := cdntest.NewViewer(ctx, cdntest.ViewerConfig{Dialer: &whep.Client{}, URL: n.url + "/whep/live"})
			return err
		},
		func() error {
			_, err := cdntest.NewPublisher(ctx, cdntest.PublisherConfig{Dialer: &whip.Client{}, URL: n.url + "/whip/other"})
			return err
		},
	} {
		err := refused()
		require.ErrorIs(t, err, cdn.ErrDraining)
		var e *cdn.Error
		require.ErrorAs(t, err, &e)
		require.Positive(t, e.RetryAfter)
	}
	require.NoError(t, v.WaitBye(ctx))
	require.GreaterOrEqual(t, time.Since(begun), 3*time.Second, "they stay until then")
	n.exit(t)
	for _, done := range []<-chan struct{}{v.Done(), pub.Done()} {
		select {
		case <-done:
		case <-ctx.Done():
			t.Fatal("a session is left")
		}
	}
	require.Zero(t, v.Report().Video().FaultCount, v.Report().Video().Faults)
}

// A node that stops leaves its viewers their time, though an operator has it stay, or has
// it leave by another time, meanwhile.
func TestAnOperatorDoesNotEndALeavingNode(t *testing.T) {
	ctx := within(t, time.Minute)
	n := launch(t, "-name", "n", "-drain", "3s")
	n.publish(ctx, t)
	v := n.view(ctx, t)
	begun := time.Now()
	n.terminate(t)
	for _, change := range [][2]string{{"drain", "{}"}, {"undrain", ""}, {"drain", `{"timeout_seconds": 0.5}`}} {
		time.Sleep(200 * time.Millisecond)
		resp, err := http.Post(n.admin+"/api/v1/nodes/n/"+change[0], "application/json", strings.NewReader(change[1]))
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, 2, resp.StatusCode/100, resp.Status)
	}
	require.NoError(t, v.WaitBye(ctx))
	require.GreaterOrEqual(t, time.Since(begun), 3*time.Second)
	n.exit(t)
}

// A node whose last viewer goes is gone before the deadline.
func TestAnEmptyNodeEnds(t *testing.T) {
	ctx := within(t, time.Minute)
	n := launch(t, "-name", "n", "-drain", "2m")
	pub := n.publish(ctx, t)
	v := n.view(ctx, t)
	n.terminate(t)
	require.NoError(t, v.Close())
	pub.Stop(ctx)
	require.Less(t, n.exit(t), time.Minute)
}

// Who does not want to wait says so again.
func TestASecondSignalEndsAtOnce(t *testing.T) {
	for _, second := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		ctx := within(t, time.Minute)
		n := launch(t, "-name", "n", "-drain", "2m")
		n.publish(ctx, t)
		v := n.view(ctx, t)
		n.terminate(t)
		require.NoError(t, n.Process.Signal(second))
		require.Less(t, n.exit(t), time.Minute)
		<-v.Done()
	}
}

// Without time to leave, or at an interrupt, a node ends at once.
func TestNoTimeToLeave(t *testing.T) {
	for _, c := range []struct {
		drain  string
		signal os.Signal
	}{{"0", syscall.SIGTERM}, {"2m", os.Interrupt}} {
		ctx := within(t, time.Minute)
		n := launch(t, "-name", "n", "-drain", c.drain)
		n.publish(ctx, t)
		v := n.view(ctx, t)
		require.NoError(t, n.Process.Signal(c.signal))
		require.Less(t, n.exit(t), time.Minute)
		<-v.Done()
	}
}
