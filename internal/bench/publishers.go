package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// sending is how many publishers send media while packets are counted: so many that
// what is read together is more than one packet.
const sending = 40

// publishing is what one way to receive publishers takes.
type publishing struct {
	kind       string
	publishers int
	join       float64 // ms of the server's CPU, without media
	memory     float64 // KiB of heap and stacks a publisher, its stream apart
	goroutines float64 // a publisher, that of its stream apart
	cpu        float64 // µs of the server for a packet that came
}

// meters are what a server tells of its memory, after a garbage collection.
type meters struct {
	Bytes      uint64 // of heap and stacks in use
	Goroutines int
}

const publishersHeader = "| publishers by | publishers | CPU µs a packet | KiB a publisher | goroutines a publisher | CPU ms a join |\n|---|---|---|---|---|---|"

func (p publishing) row(first publishing) string {
	ratio := func(a, b float64) string {
		if p.kind == first.kind || b == 0 {
			return ""
		}
		return fmt.Sprintf(" (%.2f)", a/b)
	}
	return fmt.Sprintf("| %s | %d | %.2f%s | %.1f%s | %.2f%s | %.2f%s |", p.kind, p.publishers, p.cpu, ratio(p.cpu, first.cpu),
		p.memory, ratio(p.memory, first.memory), p.goroutines, ratio(p.goroutines, first.goroutines), p.join, ratio(p.join, first.join))
}

// publisherTable prints what publishers take that are received by PeerConnections,
// and by sessions of Delta's own. Nobody views.
func (b *bench) publisherTable(ctx context.Context, n int) error {
	fmt.Fprintln(b.out, publishersHeader)
	var first publishing
	for i, kind := range []string{"delta-publishers-pc", "delta"} {
		r, err := measurePublishers(ctx, b.binary, kind, n, b.load)
		if err != nil {
			return fmt.Errorf("%s with %d publishers: %w", kind, n, err)
		}
		if i == 0 {
			first = r
		}
		fmt.Fprintln(b.out, r.row(first))
	}
	return nil
}

func measurePublishers(ctx context.Context, binary, kind string, n int, l load) (r publishing, err error) {
	r = publishing{kind: kind, publishers: n}
	server, err := start(ctx, binary, kind)
	if err != nil {
		return r, err
	}
	defer server.stop()
	var all publishers
	defer func() { all.close() }()
	join := func(i int) error {
		p, err := publish(ctx, fmt.Sprintf("%s/whip/s%d", server.url, i), 0)
		if err != nil {
			return err
		}
		p.paused.Store(true)
		p.sendSound(0)
		all = append(all, p)
		return nil
	}
	for i := range sending { // the first of a process costs more
		if err := join(i); err != nil {
			return r, err
		}
	}
	time.Sleep(l.settle)
	bare, err := server.meters(ctx, http.MethodPost, fmt.Sprintf("/streams?n=%d", n))
	if err != nil {
		return r, err
	}
	before, err := server.meters(ctx, http.MethodGet, "/meters")
	if err != nil {
		return r, err
	}
	at, err := server.read()
	if err != nil {
		return r, err
	}
	for i := range n {
		if err := join(sending + i); err != nil {
			return r, err
		}
	}
	then, err := server.read()
	if err != nil {
		return r, err
	}
	r.join = float64((then.cpu - at.cpu).Microseconds()) / 1000 / float64(n)
	for _, p := range all {
		p.sendSound(1) // what shows that the handshake is over may have overtaken its end
	}
	time.Sleep(l.settle)
	after, err := server.meters(ctx, http.MethodGet, "/meters")
	if err != nil {
		return r, err
	}
	r.memory = float64(int64(after.Bytes-before.Bytes-bare.Bytes)) / 1024 / float64(n)
	r.goroutines = float64(after.Goroutines-before.Goroutines-bare.Goroutines) / float64(n)

	count := func() (packets uint64) {
		for _, p := range all[:sending] {
			packets += p.sound.sent.Load() + p.video.sent.Load()
		}
		return packets
	}
	all[:sending].pause(false)
	time.Sleep(l.settle)
	sent := count()
	if at, err = server.read(); err != nil {
		return r, err
	}
	time.Sleep(l.window)
	if then, err = server.read(); err != nil {
		return r, err
	}
	if sent = count() - sent; sent == 0 {
		return r, fmt.Errorf("nothing was sent in %v", l.window)
	}
	r.cpu = float64((then.cpu - at.cpu).Microseconds()) / float64(sent)
	return r, nil
}

func (p *process) meters(ctx context.Context, method, path string) (m meters, err error) {
	req, err := http.NewRequestWithContext(ctx, method, p.url+path, http.NoBody)
	if err != nil {
		return m, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return m, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return m, fmt.Errorf("%s: %s", path, resp.Status)
	}
	return m, json.NewDecoder(resp.Body).Decode(&m)
}
