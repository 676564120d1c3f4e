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

// process is a server that is measured.
type process struct {
	cmd *exec.Cmd
	url string
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
	cmd := command(ctx, binary, "-kind", kind, "-http", "127.0.0.1:0")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, errors.Join(err, cmd.Wait())
	}
	go func() { _, _ = io.Copy(io.Discard, out) }() // until stop's Wait closes it
	return &process{cmd: cmd, url: "http://" + strings.TrimSpace(strings.TrimPrefix(line, "serving "))}, nil
}

func (p *process) stop() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait() // killed, as it was to be
}

// reading is what a server's meters show.
type reading struct {
	at     time.Time
	cpu    time.Duration // that its threads were on a core
	own    time.Duration // the same of the load generator
	memory float64       // resident, in KiB
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
	if r.stats, err = p.stats(); err != nil {
		return r, err
	}
	if r.memory, err = p.resident(); err != nil {
		return r, err
	}
	if r.own, err = onCore(os.Getpid()); err != nil {
		return r, err
	}
	r.cpu, err = onCore(p.cmd.Process.Pid) // last, as the answer to the request before may take its time
	r.at = time.Now()
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

// stats returns what the server counts; nothing if it does not.
func (p *process) stats() (s stats, err error) {
	resp, err := http.Get(p.url + "/stats")
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
