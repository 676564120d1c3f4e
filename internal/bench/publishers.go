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

// floorRow is the same for the floor, which has one figure.
func (p publishing) floorRow(first publishing) string {
	return fmt.Sprintf("| %s | %d | %.2f (%.2f) | - | - | - |", p.kind, p.publishers, p.cpu, p.cpu/first.cpu)
}

// publisherTable prints what publishers take that are received by PeerConnections,
// and by sessions of Delta's own, and what it takes at the least to read and open their
// packets. Nobody views.
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
	least, err := ingestFloor(ctx, b.binary, b.load)
	if err != nil {
		return fmt.Errorf("floor: %w", err)
	}
	fmt.Fprintln(b.out, least.floorRow(first))
	return nil
}

func measurePublishers(ctx context.Context, binary, kind string, n int, l load) (r publishing, err error) {
	server, err := start(ctx, binary, kind)
	if err != nil {
		return r, err
	}
	defer server.stop()
	m := ingestMeter{server: server, load: l, r: publishing{kind: kind, publishers: n}}
	defer func() { m.all.close() }()
	if err := m.join(ctx, sending); err != nil { // the first of a process costs more
		return r, err
	}
	time.Sleep(l.settle)
	if err := m.measureJoins(ctx, n); err != nil {
		return r, err
	}
	return m.r, m.measureMedia()
}

// An ingestMeter measures what publishers take at a server.
type ingestMeter struct {
	server *process
	load   load
	all    publishers // the first of them send media
	r      publishing
}

// join has n more publishers join, which send no media.
func (m *ingestMeter) join(ctx context.Context, n int) error {
	for range n {
		p, err := publish(ctx, fmt.Sprintf("%s/whip/s%d", m.server.url, len(m.all)), load{})
		if err != nil {
			return err
		}
		p.paused.Store(true)
		p.sendSound(0)
		m.all = append(m.all, p)
	}
	return nil
}

// measureJoins has n publishers join and measures what that takes, and what they hold
// beside their streams.
func (m *ingestMeter) measureJoins(ctx context.Context, n int) error {
	bare, err := m.server.meters(ctx, http.MethodPost, fmt.Sprintf("/streams?n=%d", n))
	if err != nil {
		return err
	}
	before, err := m.server.meters(ctx, http.MethodGet, "/meters")
	if err != nil {
		return err
	}
	cpu, err := m.cpuOf(func() error { return m.join(ctx, n) })
	if err != nil {
		return err
	}
	m.r.join = ms(cpu) / float64(n)
	for _, p := range m.all {
		p.sendSound(1) // what shows that the handshake is over may have overtaken its end
	}
	time.Sleep(m.load.settle)
	after, err := m.server.meters(ctx, http.MethodGet, "/meters")
	if err != nil {
		return err
	}
	m.r.memory = float64(int64(after.Bytes-before.Bytes-bare.Bytes)) / 1024 / float64(n)
	m.r.goroutines = float64(after.Goroutines-before.Goroutines-bare.Goroutines) / float64(n)
	return nil
}

// measureMedia has the first publishers send media and measures what a packet takes, once
// as much of their streams is kept as ever is: until then the system gives the server new
// memory for what comes, which costs a tenth more.
func (m *ingestMeter) measureMedia() error {
	senders := m.all[:sending]
	packets := func() (sum uint64) {
		for _, p := range senders {
			sum += p.sound.sent.Load() + p.video.sent.Load()
		}
		return sum
	}
	senders.resume()
	time.Sleep(4 * m.load.settle)
	sent := packets()
	cpu, err := m.cpuOf(func() error {
		time.Sleep(m.load.window)
		return nil
	})
	if err != nil {
		return err
	}
	if sent = packets() - sent; sent == 0 {
		return fmt.Errorf("nothing was sent in %v", m.load.window)
	}
	m.r.cpu = float64(cpu.Microseconds()) / float64(sent)
	return nil
}

// cpuOf returns the CPU time that the server takes while f runs.
func (m *ingestMeter) cpuOf(f func() error) (time.Duration, error) {
	before, err := m.server.read()
	if err != nil {
		return 0, err
	}
	if err := f(); err != nil {
		return 0, err
	}
	after, err := m.server.read()
	return after.cpu - before.cpu, err
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
