//go:build long

package clients

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/internal/netem"
	"github.com/deltacdn/delta/internal/netem/emu"
	"github.com/deltacdn/delta/internal/netem/plans"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/signal/whep"
)

// A watcher is a client that plays at home and notes what it sees.
type watcher interface {
	// ready starts what has to run ahead of the plan.
	ready(t *testing.T, h *home)
	watch(t *testing.T)
	seen(t *testing.T) seen
}

// seen is what a watcher noted.
type seen struct {
	Samples []sample
	Frames  []float64 // when each was shown, in ms since the epoch
}

// A sample is what getStats said at a time. The counters are since the start.
type sample struct {
	T            float64 // ms since the epoch
	State        string
	Height       int
	Bytes        uint64
	Packets      int
	Lost         int
	Decoded      int
	Dropped      int
	Freezes      int
	Frozen       float64 // s
	Nacks        int
	Plis         int
	Repeated     int
	Buffer       float64 // ms, the mean
	RTT          float64 // ms
	AudioPackets int
	AudioLost    int
	AudioBuffer  float64 // ms, the mean
	Concealed    int     // samples
	Samples      int
}

// home is a viewer's network behind a path to the node's.
type home struct {
	viewer, node *emu.Namespace
	path         *emu.Path
	url          string
	edge         *edge.Edge

	mu    sync.Mutex
	ended []error
}

const (
	nodeAddress   = "10.9.0.1"
	viewerAddress = "10.9.0.2"
	stream        = "clip"
)

// requirePaths skips where paths cannot be emulated.
func requirePaths(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("skipped: network namespaces take root")
	}
}

// newHome starts a node that is origin and edge, and publishes the clip there.
func newHome(t *testing.T, c *clip) *home {
	h := &home{}
	for _, n := range []**emu.Namespace{&h.viewer, &h.node} {
		var err error
		*n, err = emu.NewNamespace()
		require.NoError(t, err)
		t.Cleanup((*n).Close)
	}
	var err error
	h.path, err = emu.Join(
		emu.End{Namespace: h.node, Device: "viewer", Addr: netip.MustParseAddr(nodeAddress)},
		emu.End{Namespace: h.viewer, Device: "tun0", Addr: netip.MustParseAddr(viewerAddress), Default: true}, 1)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.path.Close()) })

	mux := http.NewServeMux()
	server := httptest.NewUnstartedServer(mux)
	_ = server.Listener.Close()
	server.Listener, err = h.node.Listen(nodeAddress + ":0")
	require.NoError(t, err)
	server.Start()
	t.Cleanup(server.Close)
	t.Cleanup(server.CloseClientConnections)
	h.url = server.URL

	var node *cdn.Node
	require.NoError(t, h.node.Do(func() (err error) {
		node, err = cdn.Listen(cdn.Config{ID: "node", Addr: nodeAddress + ":0", URL: h.url, OnEvent: h.event})
		return err
	}))
	t.Cleanup(func() { require.NoError(t, node.Close()) })
	live, err := origin.New(node, origin.Config{})
	require.NoError(t, err)
	h.edge, err = edge.New(node, edge.Config{Source: live})
	require.NoError(t, err)
	viewers, err := whep.New(h.edge, whep.Config{})
	require.NoError(t, err)
	mux.Handle("/whep/", viewers)
	mux.Handle("/", http.FileServer(http.Dir("page")))
	c.publish(t, live, stream)
	return h
}

func (h *home) event(e cdn.Event) {
	if e, ok := e.(cdn.SessionEnded); ok && e.Action == cdn.ActionPlay {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.ended = append(h.ended, e.Err)
	}
}

// A run is what happened to a viewer in a plan.
type run struct {
	plan    plans.Plan
	clip    *clip
	begun   time.Time
	length  time.Duration // that it took
	layers  []layerAt     // as the node says
	packets []emu.Packet  // to the viewer
	late    time.Duration // by which the emulator had packets arrive, on average
	stalled time.Duration // the most by which the publisher was late
	seen    seen
	ended   []error
}

// layerAt is what the node sent from a time on: the index of a layer, -1 for none.
type layerAt struct {
	at    time.Duration
	layer int
}

const (
	warmUp  = 6 * time.Second       // of the publisher, ahead of the viewer
	lookAt  = 20 * time.Millisecond // how often the node is asked
	traceAt = 250 * time.Millisecond
)

// runPlan has a viewer watch in a plan.
func runPlan(t *testing.T, p plans.Plan, c *clip, w watcher, trace *tracer) *run {
	h := newHome(t, c)
	published := time.Now()
	w.ready(t, h)
	time.Sleep(time.Until(published.Add(warmUp)))
	c.late.Store(0)
	r := &run{plan: p, clip: c, begun: time.Now()}
	h.path.Observe(func(p emu.Packet) { r.packets = append(r.packets, p) }, nil)
	var set plans.World
	step := func(at time.Duration) {
		if now := p.At(at); now != set {
			set = now
			h.path.Set(now.Path, now.Back)
			trace.say(at, "path", now)
		}
	}
	step(0)
	w.watch(t)
	var traced time.Duration
	for at := time.Duration(0); at < p.Length; at = time.Since(r.begun) {
		step(at)
		stats := h.edge.Stats()
		r.note(at, stats)
		if at-traced >= traceAt {
			traced = at
			there, back := h.path.Stats()
			trace.say(at, "node", stats.Sessions)
			trace.say(at, "there", there)
			trace.say(at, "back", back)
		}
		time.Sleep(lookAt)
	}
	r.length = time.Since(r.begun)
	r.stalled = time.Duration(c.late.Load())
	h.path.Observe(nil, nil)
	if there, _ := h.path.Stats(); there.Passed > 0 {
		r.late = there.Late / time.Duration(there.Passed)
	}
	h.path.Set(netem.Path{}, netem.Path{})
	h.mu.Lock() // ahead of the client's own end
	r.ended = append(r.ended, h.ended...)
	h.mu.Unlock()
	r.seen = w.seen(t)
	trace.packets(r)
	for _, s := range r.seen.Samples {
		trace.say(r.since(s.T), "client", s)
	}
	trace.say(r.length, "frames", r.seen.Frames)
	trace.say(r.length, "ended", fmt.Sprint(r.ended))
	return r
}

// since returns how long after the start a time is, which is in ms since the epoch.
func (r *run) since(t float64) time.Duration {
	return time.UnixMicro(int64(t * 1000)).Sub(r.begun)
}

// note notes which layer is sent.
func (r *run) note(at time.Duration, s edge.Stats) {
	layer := -1
	for _, v := range s.Sessions {
		if v.Paused || v.Packets == 0 {
			continue
		}
		layer = 0
		for i, name := range r.clip.names() {
			if v.Layer == name {
				layer = i
			}
		}
	}
	if n := len(r.layers); n == 0 || r.layers[n-1].layer != layer {
		r.layers = append(r.layers, layerAt{at, layer})
	}
}

// A tracer keeps everything about a run, a line of JSON each, if it is told where.
type tracer struct{ out bytes.Buffer }

func (tr *tracer) say(at time.Duration, what string, value any) {
	text, err := json.Marshal(value)
	if err != nil {
		text = fmt.Appendf(nil, "%q", err)
	}
	fmt.Fprintf(&tr.out, `{"s":%.2f,"%s":%s}`+"\n", at.Seconds(), what, text)
}

// packets sums up what entered the path towards the viewer in each tenth of a second.
func (tr *tracer) packets(r *run) {
	type tenth struct {
		Kbits, Packets, Lost, Dropped int
		Queue                         float64 // ms, the most
	}
	var all []tenth
	for _, p := range r.packets {
		i := int(p.At.Sub(r.begun) / (100 * time.Millisecond))
		for len(all) <= i {
			all = append(all, tenth{})
		}
		x := &all[i]
		x.Packets++
		x.Kbits += p.Size * 8 / 100
		x.Queue = max(x.Queue, p.Wait.Seconds()*1000)
		switch p.Fate {
		case netem.Lost:
			x.Lost++
		case netem.QueueFull:
			x.Dropped++
		case netem.Passed:
		}
	}
	for i, x := range all {
		tr.say(time.Duration(i)*100*time.Millisecond, "sent", x)
	}
}

// keep writes the trace into the directory that DELTA_PATHS_TRACE names.
func (tr *tracer) keep(t *testing.T, name string) {
	dir := os.Getenv("DELTA_PATHS_TRACE")
	if dir == "" {
		return
	}
	require.NoError(t, os.MkdirAll(dir, 0o755))
	name = strings.Map(func(r rune) rune {
		if strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-", r) {
			return r
		}
		return '_'
	}, name)
	require.NoError(t, os.WriteFile(filepath.Join(dir, name+".jsonl"), tr.out.Bytes(), 0o644))
}
