package endpoint

import (
	"net/netip"
	"time"

	"github.com/deltacdn/delta/internal/dtlssrtp"
	"github.com/deltacdn/delta/internal/egress"
	"github.com/deltacdn/delta/internal/icecheck"
)

// Assume puts the endpoint into the state after a handshake with a peer at an
// address, as tests and benchmarks of owners need it: without limit on what the
// peer says, and with DTLS parked if in is not nil. Its owner is not told.
func (e *Endpoint) Assume(at netip.AddrPort, in *dtlssrtp.Opener, out *dtlssrtp.Sealer) {
	e.mu.Lock()
	defer e.mu.Unlock()
	k := &keys{in: in, out: out, pace: rate{burst: 1}}
	e.ice.addr, e.ice.paths = at, []*path{{addr: at, proved: true}}
	e.dtls.keys, e.dtls.parked = k, in != nil
	e.dtls.out.Store(out)
	e.dtls.established.Store(k)
}

// Unassume takes back that there was DTLS to say goodbye in.
func (e *Endpoint) Unassume() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.dtls.parked = false
}

// ReplyBy has what is answered go by a batch, for tests, whose goroutine is not
// the port's reader.
func (e *Endpoint) ReplyBy(b *egress.Batch) (was *egress.Batch) {
	e.mu.Lock()
	defer e.mu.Unlock()
	was = e.config.Transport.Reply
	e.config.Transport.Reply = b
	return was
}

// Credentials returns ours of the present ICE session.
func (e *Endpoint) Credentials() icecheck.Credentials {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.ice.ours[0]
}

// Heard returns when something authentic last came from where media goes.
func (e *Endpoint) Heard() time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.ice.heard
}
