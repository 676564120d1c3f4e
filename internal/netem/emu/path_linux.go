package emu

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/deltacdn/delta/internal/netem"
)

// An End is where a path ends.
type End struct {
	Namespace *Namespace
	// Device names the TUN device, which must not exist.
	Device string
	// Addr is the IPv4 address that the other end is told of. If Namespace has it
	// already, at another device or path, that is fine.
	Addr netip.Addr
	// Default has everything that Namespace sends go by this path.
	Default bool
}

// A Path connects two namespaces, in both directions.
type Path struct {
	there, back *wire
	files       []int
	wg          sync.WaitGroup
}

// Join connects a with b, by a path that is perfect until it is set. Chance has the
// given seed. The process, and what it starts from now on, gets priority over others, so
// that packets leave in time on a machine that has other work. The caller must close
// the path, and the namespaces after it.
func Join(a, b End, seed uint64) (*Path, error) {
	if err := prioritize(); err != nil {
		return nil, err
	}
	p := &Path{}
	left, err := p.open(a, b.Addr)
	if err != nil {
		p.close()
		return nil, err
	}
	right, err := p.open(b, a.Addr)
	if err != nil {
		p.close()
		return nil, err
	}
	p.there, err = newWire(left, right, rand.New(rand.NewPCG(seed, 1)))
	if err == nil {
		p.back, err = newWire(right, left, rand.New(rand.NewPCG(seed, 2)))
	}
	if err != nil {
		p.close()
		return nil, err
	}
	p.wg.Go(p.there.run) // Close waits for both
	p.wg.Go(p.back.run)
	return p, nil
}

// priority is the nice value of the process.
const priority = -15

// prioritize gives all threads of the process priority: in a Go program they wait for
// one another. Threads and processes that these start inherit it, and where the kernel
// schedules sessions as groups, so does the rest of the session. A path without priority
// is less punctual on a busy machine and works, so a system that gives none is no error.
func prioritize() error {
	// Where sessions are scheduled as groups (sched(7)), nice values count within one. The
	// write is refused to those in the group of init, for example in a container (EINVAL),
	// where nothing but the threads' own value counts, and to many at once (EAGAIN).
	group := os.WriteFile("/proc/self/autogroup", []byte(strconv.Itoa(priority)), 0)
	if group != nil && !errors.Is(group, os.ErrNotExist) && !errors.Is(group, unix.EINVAL) && !errors.Is(group, unix.EAGAIN) && !unprivileged(group) {
		return group
	}
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, thread := range threads {
		id, err := strconv.Atoi(thread.Name())
		if err != nil {
			return err
		}
		err = unix.Setpriority(unix.PRIO_PROCESS, id, priority)
		if err != nil && !errors.Is(err, unix.ESRCH) && !unprivileged(err) { // ESRCH: ended meanwhile
			return os.NewSyscallError("setpriority", err)
		}
	}
	return nil
}

// unprivileged reports whether an error says that the process may not raise its priority.
func unprivileged(err error) bool {
	return errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.EROFS)
}

// open makes the device of an end.
func (p *Path) open(e End, other netip.Addr) (fd int, err error) {
	err = e.Namespace.Do(func() (err error) {
		fd, err = openTUN(e.Device)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("TUN device %s: %w", e.Device, err)
	}
	p.files = append(p.files, fd)
	commands := []string{
		fmt.Sprintf("addr add %s peer %s dev %s", e.Addr, other, e.Device),
		fmt.Sprintf("link set %s mtu 1500 up", e.Device),
	}
	if e.Default {
		commands = append(commands, "route add default dev "+e.Device)
	}
	for _, c := range commands {
		if err := e.Namespace.ip(c); err != nil {
			return 0, err
		}
	}
	return fd, nil
}

func openTUN(name string) (int, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	req, err := unix.NewIfreq(name)
	if err == nil {
		req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	}
	if err != nil {
		_ = unix.Close(fd)
		return 0, err
	}
	return fd, nil
}

// Set changes the path for packets that enter from now on: from a to b, and back.
func (p *Path) Set(there, back netem.Path) {
	p.there.set(there)
	p.back.set(back)
}

// Observe has f called for each packet from a to b, and g for each packet back. They
// are called from the threads that carry packets, one call at a time for each
// direction, and must not block. A nil function ends it.
func (p *Path) Observe(f, g func(Packet)) {
	p.there.observe(f)
	p.back.observe(g)
}

// Stats returns counts of the packets from a to b, and of those back.
func (p *Path) Stats() (there, back Stats) { return p.there.stats(), p.back.stats() }

// Close takes the path away and waits until nothing runs anymore.
func (p *Path) Close() error {
	p.there.stop()
	p.back.stop()
	p.wg.Wait()
	err := errors.Join(p.there.err, p.back.err)
	p.close()
	return err
}

func (p *Path) close() {
	for _, w := range []*wire{p.there, p.back} {
		if w != nil {
			w.close()
		}
	}
	for _, fd := range p.files {
		_ = unix.Close(fd)
	}
}
