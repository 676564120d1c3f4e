//go:build unix

package replicatest

import "syscall"

// Freeze implements [Engine].
func (p *Process) Freeze() (thaw func()) {
	p.signal(syscall.SIGSTOP)
	return p.Thaw
}

// Thaw takes Freeze back.
func (p *Process) Thaw() { p.signal(syscall.SIGCONT) }

func (p *Process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatalf("signal %v to the engine: %v", s, err)
	}
}
