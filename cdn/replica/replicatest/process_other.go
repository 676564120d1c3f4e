//go:build !unix

package replicatest

// Freeze implements [Engine].
func (p *Process) Freeze() (thaw func()) {
	p.t.Skip("no signals here")
	return nil
}

// Thaw takes Freeze back.
func (p *Process) Thaw() {}
