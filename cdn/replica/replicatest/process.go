package replicatest

import (
	"net"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/deltacdn/delta/internal/freeport"
)

// A Process is a server's, and the address that it listens on.
type Process struct {
	t    *testing.T
	Port int // of 127.0.0.1
	args func(port int) *exec.Cmd
	cmd  *exec.Cmd
	up   func(addr string) bool
}

// StartProcess starts the command that args returns for a port that is free, and waits
// until up says that the server answers. The process is killed at the end of t.
func StartProcess(t *testing.T, args func(port int) *exec.Cmd, up func(addr string) bool) *Process {
	t.Helper()
	p := &Process{t: t, Port: freeport.Port(t), args: args, up: up}
	t.Cleanup(func() {
		if p.cmd != nil {
			p.Thaw()
			p.Kill()
		}
	})
	p.Start()
	return p
}

// Addr returns the server's address.
func (p *Process) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(p.Port)) }

// Start implements [Engine].
func (p *Process) Start() {
	p.t.Helper()
	p.cmd = p.args(p.Port)
	if err := p.cmd.Start(); err != nil {
		p.cmd = nil
		p.t.Fatalf("start the engine: %v", err)
	}
	for deadline := time.Now().Add(20 * time.Second); !p.up(p.Addr()); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.t.Fatal("the engine does not answer 20 s after its start")
		}
	}
}

// Kill implements [Engine].
func (p *Process) Kill() {
	p.t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		p.t.Fatalf("kill the engine: %v", err)
	}
	_ = p.cmd.Wait() // killed, which it calls an error
	p.cmd = nil
}
