package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/deltacdn/delta/cdn"
)

// process is a server that is measured, with those beside it.
type process struct {
	cmd    *exec.Cmd
	url    string // where publishers are taken
	view   string // where viewers are served
	others []*process
}

// command runs the server binary on the first core.
func command(ctx context.Context, binary string, args ...string) *exec.Cmd {
	args = append([]string{binary}, args...)
	if taskset, err := exec.LookPath("taskset"); err == nil {
		args = append([]string{taskset, "-c", "0"}, args...)
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "PION_LOG_ERROR=none")
	return cmd
}

// hogs takes processor time from the servers, until stop.
func hogs(ctx context.Context, binary string, n int) (stop func(), err error) {
	var all []*exec.Cmd
	stop = func() {
		for _, cmd := range all {
			_ = cmd.Process.Kill()
			_ = cmd.Wait() // killed, as it was to be
		}
	}
	for range n {
		cmd := command(ctx, binary, "-kind", "hog")
		if err := cmd.Start(); err != nil {
			stop()
			return nil, err
		}
		all = append(all, cmd)
	}
	return stop, nil
}

func start(ctx context.Context, binary, kind string) (*process, error) {
	switch kind {
	case kindProcesses:
		return startTwo(ctx, binary)
	case kindExample:
		return startExample(ctx, exampleBinary(binary))
	}
	return startCommand(command(ctx, binary, "-kind", kind, "-http", "127.0.0.1:0"))
}

// startTwo starts an origin, and an edge that fetches from it.
func startTwo(ctx context.Context, binary string) (*process, error) {
	from, err := startCommand(command(ctx, binary, "-kind", "origin", "-http", "127.0.0.1:0"))
	if err != nil {
		return nil, err
	}
	to, err := startCommand(command(ctx, binary, "-kind", "edge", "-http", "127.0.0.1:0", "-from", from.url))
	if err != nil {
		from.stop()
		return nil, err
	}
	to.url, to.others = from.url, []*process{from}
	return to, nil
}

// idleMeters are the server's meters while nobody asks it for anything else.
func (p *process) idleMeters(ctx context.Context) (meters, error) {
	http.DefaultClient.CloseIdleConnections()
	if err := wait(ctx, 200*time.Millisecond); err != nil { // until the server has noticed
		return meters{}, err
	}
	return p.meters(ctx, http.MethodGet, "/meters")
}

// exampleBinary is the path of examples/threenode beside the servers' binary.
func exampleBinary(servers string) string { return filepath.Join(filepath.Dir(servers), kindExample) }

// startExample starts examples/threenode, whose second node serves the viewers.
func startExample(ctx context.Context, binary string) (*process, error) {
	const any = "127.0.0.1:0"
	cmd := command(ctx, binary, "-demo=false", "-origin", any, "-edge1", any, "-edge2", any)
	urls := make(map[string]string) // by the nodes' names
	err := startPrinting(cmd, func(line string) (started bool) {
		if name, url, ok := strings.Cut(strings.TrimSpace(line), " "); ok && strings.Contains(url, "http://") {
			urls[name] = strings.TrimSuffix(strings.TrimSpace(url), "/")
		}
		return strings.HasPrefix(line, "Ctrl-C")
	})
	if err != nil {
		return nil, err
	}
	return &process{cmd: cmd, url: urls["origin"], view: urls["edge1"]}, nil
}

// startCommand returns when the server serves.
func startCommand(cmd *exec.Cmd) (*process, error) {
	var url string
	err := startPrinting(cmd, func(line string) bool {
		url = "http://" + strings.TrimSpace(strings.TrimPrefix(line, "serving "))
		return true
	})
	if err != nil {
		return nil, err
	}
	return &process{cmd: cmd, url: url, view: url}, nil
}

// startPrinting starts a command and reads the lines that it prints until one of them
// says that it has started.
func startPrinting(cmd *exec.Cmd, started func(line string) bool) error {
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return errors.Join(err, cmd.Wait())
		}
		if started(line) {
			break
		}
	}
	go func() { _, _ = io.Copy(io.Discard, out) }() // until stop's Wait closes it
	return nil
}

func (p *process) stop() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait() // killed, as it was to be
	for _, o := range p.others {
		o.stop()
	}
}

// reading is what a server's meters show.
type reading struct {
	at     time.Time
	cpu    time.Duration // that its threads were on a core
	own    time.Duration // the same of the load generator
	wakes  int           // times that its threads have gone to sleep and were woken
	memory float64       // resident, in KiB
	live   float64       // of heap and stacks in use after a garbage collection, in KiB; only if asked for
	stats  stats
}

// stats is what Delta tells of itself.
type stats struct {
	Egress  cdn.EgressStats
	Viewers struct {
		Shed uint64 // times that viewers lost something because the node was behind
	}
}

func (p *process) read() (r reading, err error) {
	stats, err := p.stats()
	if err != nil {
		return r, err
	}
	r, err = p.readSystem()
	r.stats = stats
	return r, err
}

// readSystem returns what the system measures.
func (p *process) readSystem() (r reading, err error) {
	if r.memory, err = p.resident(); err != nil {
		return r, err
	}
	if r.own, err = onCore(os.Getpid()); err != nil {
		return r, err
	}
	if r.wakes, err = wakes(p.cmd.Process.Pid); err != nil {
		return r, err
	}
	r.cpu, err = onCore(p.cmd.Process.Pid) // last, as the answer to the request before may take its time
	r.at = time.Now()
	for _, o := range p.others {
		one, err := o.readSystem()
		if err != nil {
			return r, err
		}
		r.cpu, r.memory, r.wakes = r.cpu+one.cpu, r.memory+one.memory, r.wakes+one.wakes
	}
	return r, err
}

// onCore returns the time that a process's threads were on a core.
func onCore(pid int) (time.Duration, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(files) == 0 {
		return 0, errors.New("no /proc/PID/schedstat: this needs Linux")
	}
	var sum time.Duration
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue // a thread that has ended
		}
		ns, _, _ := strings.Cut(string(b), " ")
		n, err := strconv.ParseInt(ns, 10, 64)
		if err != nil {
			return 0, err
		}
		sum += time.Duration(n)
	}
	return sum, nil
}

// wakes returns how often a process's threads have gone to sleep.
func wakes(pid int) (sum int, err error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil {
		return 0, err
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue // a thread that has ended
		}
		_, after, _ := strings.Cut(string(b), "\nvoluntary_ctxt_switches:")
		line, _, _ := strings.Cut(after, "\n")
		n, err := strconv.Atoi(strings.TrimSpace(line))
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// stats returns what the server counts; nothing if it does not.
func (p *process) stats() (s stats, err error) {
	resp, err := http.Get(p.view + "/stats")
	if err != nil {
		return s, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return s, nil
	}
	err = json.NewDecoder(resp.Body).Decode(&s)
	return s, err
}

// resident returns the server's resident memory in KiB.
func (p *process) resident() (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, after, ok := strings.Cut(string(b), "VmRSS:")
	if !ok {
		return 0, errors.New("no VmRSS")
	}
	return strconv.ParseFloat(strings.Fields(after)[0], 64)
}

// live returns what the server's heap and stacks hold after a garbage collection, in
// KiB: what stays of the resident memory when garbage and pages that it has only once
// touched are left out. Its profile tells it, which servers of older commits have too.
func (p *process) live(ctx context.Context) (float64, error) {
	var sum float64
	for range 2 { // what finalizers free, the second collection takes
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+"/debug/pprof/heap?gc=1&debug=1", http.NoBody)
		if err != nil {
			return 0, err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0, err
		}
		b, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			return 0, err
		}
		sum = 0
		for _, name := range []string{"HeapAlloc", "Stack"} {
			_, after, ok := strings.Cut(string(b), "\n# "+name+" = ")
			if !ok {
				return 0, fmt.Errorf("no %s in the heap's profile", name)
			}
			n, err := strconv.ParseFloat(strings.Fields(after)[0], 64)
			if err != nil {
				return 0, err
			}
			sum += n / 1024
		}
	}
	return sum, nil
}
