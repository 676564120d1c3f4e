package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"strconv"
	"time"

	"github.com/pion/rtp"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/signal/whep"
	"github.com/deltacdn/delta/signal/whip"
)

// The kinds of an origin and an edge on one node.
const (
	asIs         = "delta"
	unpaced      = "delta-unpaced"       // bursts leave for viewers at once
	paced        = "delta-paced"         // as for viewers that are not near
	viewersPC    = "delta-pc"            // viewers by PeerConnections
	publishersPC = "delta-publishers-pc" // publishers by PeerConnections
)

// newDelta is an origin and an edge on one node.
func newDelta(udp, kind string) (http.Handler, func() error, error) {
	log := slog.New(slog.DiscardHandler)
	node, err := cdn.Listen(cdn.Config{ID: "bench", Addr: udp, Logger: log, Limits: cdn.Limits{Sessions: 100_000, Streams: 100_000}})
	if err != nil {
		return nil, nil, err
	}
	fail := func(err error) (http.Handler, func() error, error) {
		return nil, nil, fmt.Errorf("%w (closing: %w)", err, node.Close())
	}
	o, err := origin.New(node, origin.Config{PeerConnections: kind == publishersPC})
	if err != nil {
		return fail(err)
	}
	view := edge.Config{Source: o, PeerConnections: kind == viewersPC}
	switch kind {
	case unpaced:
		view.Adapt = func(cdn.StreamID) edge.Adapt { return edge.Adapt{StartBitrate: -1} }
	case paced:
		view.Adapt = func(cdn.StreamID) edge.Adapt { return edge.Adapt{StartBitrate: 5_000_000} }
	}
	e, err := edge.New(node, view)
	if err != nil {
		return fail(err)
	}
	in, err := whip.New(o, whip.Config{Prefix: "/whip/"})
	if err != nil {
		return fail(err)
	}
	out, err := whep.New(e, whep.Config{Prefix: "/whep/"})
	if err != nil {
		return fail(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/whip/", in)
	mux.Handle("/whep/", out)
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) {
		viewers := e.Stats()
		viewers.Sessions = nil
		_ = json.NewEncoder(w).Encode(struct {
			cdn.NodeStats
			Viewers edge.Stats
		}{node.Stats(), viewers})
	})
	mux.HandleFunc("GET /meters", func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(readMeters()) })
	mux.HandleFunc("POST /streams", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.FormValue("n"))
		m, err := bareStreams(node, n)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_ = json.NewEncoder(w).Encode(m)
	})
	return mux, node.Close, nil
}

// meters are what is in use of memory, after a garbage collection.
type meters struct {
	Bytes      uint64 // of heap and stacks
	Goroutines int
}

func readMeters() meters {
	runtime.GC()
	runtime.GC() // what finalizers have freed, too
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return meters{m.HeapAlloc + m.StackInuse, runtime.NumGoroutine()}
}

// bareStreams returns what so many streams take by themselves, as the benchmark's
// publishers have them: of two tracks, with two packets of sound.
func bareStreams(node *cdn.Node, n int) (m meters, err error) {
	before := readMeters()
	var all []*cdn.Stream
	for i := range n {
		s, err := node.NewStream(cdn.StreamID(fmt.Sprintf("bare%d", i)))
		if err != nil {
			return m, err
		}
		all = append(all, s)
		in, err := s.NewInput(cdn.InputConfig{})
		if err != nil {
			return m, err
		}
		if err := in.Start([]cdn.TrackInfo{
			{ID: "video", Kind: cdn.Video, Codec: cdn.Codec{MimeType: "video/VP8", ClockRate: 90000}},
			{ID: "audio", Kind: cdn.Audio, Codec: cdn.Codec{MimeType: "audio/opus", ClockRate: 48000, Channels: 2}},
		}); err != nil {
			return m, err
		}
		li, err := in.Layer(1, "", quiet{})
		if err != nil {
			return m, err
		}
		for seq := range uint16(2) {
			li.Write(time.Now(), &rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: seq}, Payload: make([]byte, 120)}, nil)
		}
	}
	after := readMeters()
	for _, s := range all {
		s.End(nil)
	}
	return meters{after.Bytes - before.Bytes, after.Goroutines - before.Goroutines}, nil
}

type quiet struct{}

func (quiet) RequestKeyframe() {}
func (quiet) Nack([]uint16)    {}
