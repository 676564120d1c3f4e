package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A machine is how much of this one a process may use.
type machine struct {
	core   float64       // share of one core
	period time.Duration // over which the share is counted
	memory int64         // bytes
}

// A cgroup holds processes to a machine. They are served ahead of others, so that their
// own share is what they lack, and not what else runs.
type cgroup struct {
	dirs []string // that processes are put into
	cpu  string   // the one with cpu.stat
	v2   bool
}

const cgroups = "/sys/fs/cgroup"

// errNoCgroup says that this system lets nobody limit processes.
var errNoCgroup = errors.New("no cgroup")

// newCgroup makes a cgroup, of version 2 if the processor and memory controllers are
// there, and of version 1 otherwise. Where it cannot, it returns an errNoCgroup that says
// why. The caller has to remove it.
func newCgroup(m machine) (*cgroup, error) {
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("%w: limiting a process takes root", errNoCgroup)
	}
	name := fmt.Sprintf("delta-bench-%d-%d", os.Getpid(), time.Now().UnixNano())
	two, err := newCgroup2(filepath.Join(cgroups, name), m)
	if err == nil {
		return two, nil
	}
	one, errOne := newCgroup1(name, m)
	if errOne == nil {
		return one, nil
	}
	return nil, fmt.Errorf("%w: version 2: %w; version 1: %w", errNoCgroup, err, errOne)
}

func newCgroup2(dir string, m machine) (*cgroup, error) {
	for _, controller := range []string{"cpu", "memory"} {
		has, err := os.ReadFile(filepath.Join(cgroups, "cgroup.controllers"))
		if err != nil {
			return nil, err
		}
		if !strings.Contains(" "+strings.TrimSpace(string(has))+" ", " "+controller+" ") {
			return nil, fmt.Errorf("no controller %q", controller)
		}
		if err := set(cgroups, "cgroup.subtree_control", "+"+controller); err != nil {
			return nil, err
		}
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	g := &cgroup{dirs: []string{dir}, cpu: dir, v2: true}
	quota := strconv.FormatInt(m.quota(), 10) + " " + strconv.FormatInt(m.period.Microseconds(), 10)
	if err := errors.Join(set(dir, "cpu.max", quota), set(dir, "memory.max", strconv.FormatInt(m.memory, 10)), set(dir, "cpu.weight", "10000")); err != nil {
		return nil, errors.Join(err, g.remove())
	}
	return g, nil
}

func newCgroup1(name string, m machine) (*cgroup, error) {
	g := &cgroup{}
	for _, controller := range []string{"cpu", "memory"} {
		dir := filepath.Join(cgroups, controller, name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			return nil, errors.Join(err, g.remove())
		}
		g.dirs = append(g.dirs, dir)
	}
	g.cpu = g.dirs[0]
	err := errors.Join(
		set(g.cpu, "cpu.cfs_period_us", strconv.FormatInt(m.period.Microseconds(), 10)),
		set(g.cpu, "cpu.cfs_quota_us", strconv.FormatInt(m.quota(), 10)),
		set(g.cpu, "cpu.shares", "262144"),
		set(g.dirs[1], "memory.limit_in_bytes", strconv.FormatInt(m.memory, 10)),
	)
	if err != nil {
		return nil, errors.Join(err, g.remove())
	}
	return g, nil
}

// ahead has this process, and those that it starts, served ahead of others, until back.
func ahead() (back func(), err error) {
	parent, before := cgroups, ""
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoCgroup, err)
	}
	for line := range strings.Lines(string(own)) { // such as 1:cpu,cpuacct:/user
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) < 3 {
			continue
		}
		if slices.Contains(strings.Split(fields[1], ","), "cpu") { // version 1
			parent, before = filepath.Join(cgroups, "cpu"), fields[2]
			break
		}
		if fields[1] == "" {
			before = fields[2]
		}
	}
	dir := filepath.Join(parent, fmt.Sprintf("delta-bench-load-%d", os.Getpid()))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, fmt.Errorf("%w: %w", errNoCgroup, err)
	}
	weight, most := "cpu.weight", "10000"
	if parent != cgroups {
		weight, most = "cpu.shares", "262144"
	} else if err := set(cgroups, "cgroup.subtree_control", "+cpu"); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", errNoCgroup, err), os.Remove(dir))
	}
	pid := strconv.Itoa(os.Getpid())
	back = func() {
		_ = set(filepath.Join(parent, before), "cgroup.procs", pid)
		_ = os.Remove(dir)
	}
	if err := errors.Join(set(dir, weight, most), set(dir, "cgroup.procs", pid)); err != nil {
		back()
		return nil, fmt.Errorf("%w: %w", errNoCgroup, err)
	}
	return back, nil
}

// quota is how many microseconds of a core there are in a period.
func (m machine) quota() int64 { return int64(m.core * float64(m.period.Microseconds())) }

func set(dir, file, value string) error {
	return os.WriteFile(filepath.Join(dir, file), []byte(value), 0o644)
}

// wrap returns a command that runs args in the cgroup from its first instruction on.
func (g *cgroup) wrap(args ...string) []string {
	script := "set -e\n"
	for _, dir := range g.dirs {
		script += "echo $$ > " + filepath.Join(dir, "cgroup.procs") + "\n"
	}
	return append([]string{"/bin/sh", "-c", script + `exec "$@"`, "sh"}, args...)
}

// throttled returns how long the processes had to wait because their share was used up.
func (g *cgroup) throttled() time.Duration {
	b, err := os.ReadFile(filepath.Join(g.cpu, "cpu.stat"))
	if err != nil {
		return 0
	}
	name, unit := "throttled_time", time.Nanosecond
	if g.v2 {
		name, unit = "throttled_usec", time.Microsecond
	}
	for line := range strings.Lines(string(b)) {
		if key, value, _ := strings.Cut(strings.TrimSpace(line), " "); key == name {
			n, _ := strconv.ParseInt(value, 10, 64)
			return time.Duration(n) * unit
		}
	}
	return 0
}

// remove takes the cgroup away, whose processes have ended.
func (g *cgroup) remove() (err error) {
	for _, dir := range g.dirs {
		err = errors.Join(err, os.Remove(dir))
	}
	return err
}
