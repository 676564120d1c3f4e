package delta_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/signal/whep"
	"github.com/deltacdn/delta/signal/whip"
)

// flood is 250 POSTs a second from one address, for a time, while viewers from
// another address join and leave.
type flood struct {
	lasts    time.Duration
	latest   time.Duration // that a join's answer may come; 0: time is not looked at, nor what viewers lose
	limits   cdn.Limits
	running  int // viewers
	joinEach time.Duration
}

// Over HTTP and on real sockets, in brief: every join is answered. How late it may
// be, and what viewers lose, is looked at in virtual time (safety_test.go), and by the long
// form, on a machine that does nothing else.
func TestAFloodOfPOSTs(t *testing.T) {
	testFlood(t, flood{
		lasts: 2 * time.Second, limits: cdn.Limits{Sessions: 150, HalfOpen: 100},
		running: 2, joinEach: 100 * time.Millisecond,
	})
}

// from returns an HTTP client that comes from an address of this machine.
func from(t *testing.T, ip string) *http.Client {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
	transport := &http.Transport{DialContext: d.DialContext, MaxIdleConnsPerHost: 100}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func testFlood(t *testing.T, f flood) {
	const rate = 250
	n, err := cdn.Listen(cdn.Config{Addr: "127.0.0.1:0", Limits: f.limits})
	require.NoError(t, err)
	defer func() { require.NoError(t, n.Close()) }()
	live, err := origin.New(n, origin.Config{})
	require.NoError(t, err)
	view, err := edge.New(n, edge.Config{Source: live})
	require.NoError(t, err)
	in, err := whip.New(live, whip.Config{})
	require.NoError(t, err)
	out, err := whep.New(view, whep.Config{})
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.Handle("/whip/", in)
	mux.Handle("/whep/", out)
	server := httptest.NewServer(mux)
	defer server.Close()

	ctx, cancel := context.WithTimeout(t.Context(), f.lasts+2*time.Minute)
	defer cancel()
	quiet := from(t, "127.0.0.1")
	p, err := cdntest.NewPublisher(ctx, cdntest.PublisherConfig{Dialer: &whip.Client{HTTP: quiet}, URL: server.URL + "/whip/live"})
	require.NoError(t, err)
	defer func() { _ = p.Stop(ctx) }()
	require.NoError(t, p.WaitConnected(ctx))
	join := func() (*cdntest.Viewer, error) {
		return cdntest.NewViewer(ctx, cdntest.ViewerConfig{Dialer: &whep.Client{HTTP: quiet}, URL: server.URL + "/whep/live"})
	}
	var running []*cdntest.Viewer
	for range f.running {
		v, err := join()
		require.NoError(t, err)
		defer func() { require.NoError(t, v.Close()) }()
		require.NoError(t, v.WaitFrames(ctx, 10))
		running = append(running, v)
	}

	offer := recordedOffer(t, "chromium-video-audio.sdp", false)
	stranger := from(t, "127.0.0.2")
	var posts, answered atomic.Int64
	var work sync.WaitGroup
	over := make(chan struct{})
	work.Go(func() {
		defer close(over)
		begun := time.Now()
		for at := time.Duration(0); at < f.lasts; at += time.Second / rate {
			time.Sleep(time.Until(begun.Add(at)))
			work.Go(func() {
				posts.Add(1)
				resp, err := stranger.Post(server.URL+"/whep/live", "application/sdp", strings.NewReader(offer))
				if err == nil {
					_ = resp.Body.Close()
					if resp.StatusCode == http.StatusCreated {
						answered.Add(1)
					}
				}
			})
		}
	})
	var worst time.Duration
	joins := 0
	for flooding := true; flooding; joins++ {
		begun := time.Now()
		v, err := join()
		if !assert.NoError(t, err, "after %d joins", joins) {
			break
		}
		worst = max(worst, time.Since(begun))
		assert.NoError(t, v.WaitFrames(ctx, 1))
		assert.NoError(t, v.Close())
		select {
		case <-over:
			flooding = false
		case <-time.After(f.joinEach):
		}
	}
	work.Wait()
	t.Logf("%d POSTs, %d answered; %d joins, the latest answer after %v", posts.Load(), answered.Load(), joins, worst)
	require.Greater(t, answered.Load(), int64(f.limits.HalfOpen), "or nothing was full")
	for _, v := range running {
		r := v.Report().Video()
		require.Zero(t, r.FaultCount, r.Faults)
		if f.latest > 0 {
			require.Zero(t, r.Missing+r.Undecodable())
		}
	}
	if f.latest > 0 {
		require.Less(t, worst, f.latest)
	}
}
