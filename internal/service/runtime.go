// Package service is what a node gives the services on it, origins, relays and edges,
// and their sessions, beyond what package cdn exports: the UDP port with what belongs
// to its one reader, the certificate, PeerConnections on the node's network, and what
// services tell the node of its load. [cdn.Node.Internal] returns it.
//
// It imports only leaves, so that cdn and everything above it can import it.
//
// [cdn.Node.Internal]: https://pkg.go.dev/github.com/deltacdn/delta/cdn#Node.Internal
package service

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"reflect"
	"sync"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/logging"
	"github.com/pion/webrtc/v4"

	"github.com/deltacdn/delta/internal/udp/egress"
	"github.com/deltacdn/delta/internal/udp/port"
)

// A Runtime is what the services of one node use of it. Package cdn makes it when the
// node begins to listen; nothing in it changes afterwards. Its methods and functions
// may be called concurrently.
type Runtime struct {
	// Port is the node's UDP port, which all sessions share.
	Port *port.Port
	// Reply is for the goroutine that reads the port, and for no other: the batch by which
	// it answers, flushed after each read.
	Reply *egress.Batch
	// Egress makes batches that send from the port.
	Egress *egress.Socket
	// Identity is that of all the node's DTLS sessions with clients.
	Identity
	// PionLog is the node's logger in the form that pion's libraries take.
	PionLog logging.LoggerFactory
	// Traced reports whether the node's owner records spans.
	Traced bool
	// Tuned reports whether the node's owner changes pion's settings, which only
	// PeerConnections know of.
	Tuned bool

	Hooks

	spare sync.Pool // of *egress.Batch, for Batched

	sharing sync.Mutex
	shared  map[reflect.Type]io.Closer
}

// An Identity is what one side of a DTLS session shows the other.
type Identity struct {
	Certificate tls.Certificate
	Fingerprint string // the certificate's hash, as the value of a=fingerprint (RFC 8122 section 5)
}

// Hooks are what a Runtime asks of the node itself.
type Hooks struct {
	// Candidates returns the addresses under which clients reach the port now, and
	// PassiveTCP those that clients without UDP connect to: none if there is no such
	// port. The caller must not change the slices.
	Candidates, PassiveTCP func() []net.Addr
	// PeerConnection makes a PeerConnection on the node's network, with its
	// certificate and settings. The caller owns it.
	PeerConnection func(PeerOptions) (*webrtc.PeerConnection, error)
	// Guarded reports whether the node's owner decides who may fetch without having
	// proved to be a node.
	Guarded func() bool
	// Own has the node close c when the node itself is closed, in the reverse order of the
	// calls of Own.
	Own func(c io.Closer)
	// Behind says that the node could not send all that it should have: a service that
	// has left something out for that calls it.
	Behind func()
	// Late says that something was sent later than it could have been, though nothing
	// was left out. It may be called as often as that happens.
	Late func()
	// Answered and FirstFrameSent count how long a viewer waited for the answer to its
	// offer, and until the last packet of the first frame was sent.
	Answered, FirstFrameSent func(time.Duration)
	// EntryChanged has the node's entry in the directory announced anew, soon.
	EntryChanged func()
	// BeginDrain has the node begin to leave, and returns what waits for the end as Drain
	// of the node does. The caller must call that. It does not block by itself.
	BeginDrain func(ctx context.Context) (wait func() error)
}

// PeerOptions say what a PeerConnection is to be.
type PeerOptions struct {
	// Media holds the codecs and header extensions. Required; the PeerConnection owns
	// it afterwards.
	Media *webrtc.MediaEngine
	// Interceptors are what packets pass through. If nil, none.
	Interceptors *interceptor.Registry
	// Dial: this side reaches out to another server, from a socket of its own and as a
	// full ICE agent. Otherwise clients come to the node's port, where it is an
	// ICE-lite agent (RFC 8445 section 2.5).
	Dial bool
	// Publisher: the other side is a publisher, so the settings of the node's user
	// (cdn.Config.Tune) hold.
	Publisher bool
}

// Shared returns the T that all services of a node have in common, such as its links
// with other nodes. The first call makes it with create, and the node owns it then.
func Shared[T io.Closer](r *Runtime, create func() (T, error)) (T, error) {
	r.sharing.Lock()
	defer r.sharing.Unlock()
	kind := reflect.TypeFor[T]()
	if have, ok := r.shared[kind]; ok {
		return have.(T), nil
	}
	made, err := create()
	if err != nil {
		return made, err
	}
	if r.shared == nil {
		r.shared = make(map[reflect.Type]io.Closer)
	}
	r.shared[kind] = made
	r.Own(made)
	return made, nil
}
