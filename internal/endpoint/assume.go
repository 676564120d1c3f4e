package endpoint

import (
	"net/netip"
	"time"

	"github.com/deltacdn/delta/internal/endpoint/dtlssrtp"
	"github.com/deltacdn/delta/internal/endpoint/icecheck"
	"github.com/deltacdn/delta/internal/udp/egress"
)

// Assume puts the endpoint into the state after a handshake with a peer at an address,
// for tests and benchmarks of owners. The peer's RTCP is not bounded in rate, and DTLS is
// parked if in is not nil. The owner is not told.
func (e *Endpoint) Assume(at netip.AddrPort, in *dtlssrtp.Opener, out *dtlssrtp.Sealer) {
	e.mu.Lock()
	defer e.mu.Unlock()
	k := &keys{in: in, out: out, pace: rate{burst: 1}}
	e.ice.addr, e.ice.paths = at, []*path{{addr: at, proved: true}}
	e.dtls.keys, e.dtls.parked = k, in != nil
	e.dtls.out.Store(out)
	e.dtls.established.Store(k)
}

// Unassume has the endpoint end without a goodbye by DTLS.
func (e *Endpoint) Unassume() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.dtls.parked = false
}

// ReplyBy has answers leave by a batch, for tests, whose goroutine is not the port's
// reader.
func (e *Endpoint) ReplyBy(b *egress.Batch) (was *egress.Batch) {
	e.mu.Lock()
	defer e.mu.Unlock()
	was, e.replies = e.replies, b
	return was
}

// Credentials returns our credentials of the present ICE session.
func (e *Endpoint) Credentials() icecheck.Credentials {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.ice.ours[0]
}

// Heard returns when an authentic packet last came from the address in use.
func (e *Endpoint) Heard() time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.ice.heard
}
