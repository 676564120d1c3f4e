// Package endpoint is one peer on the node's UDP port: an ICE-lite agent that
// makes the peer prove its address, DTLS in either role, the SRTP keys, the
// demultiplexing of what comes (RFC 7983, RFC 5761), how long the peer lives, and
// the goodbye. It knows nothing of what travels: its [Owner] does. It is driven by
// the port's one reader; in steady state it has no goroutine and no timer, and
// DTLS is parked until the goodbye.
package endpoint

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/pion/logging"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/dtlssrtp"
	"github.com/deltacdn/delta/internal/icecheck"
)

// An Owner is the session that an endpoint carries. Its methods are called without
// any lock of the endpoint. The port's reader calls RTP, RTCP and Idle, which must
// not block; Ending and Ended are called once each, in this order, perhaps while
// Connected runs.
type Owner interface {
	// Connected is called once, in a goroutine of its own, when the handshake is
	// over. It must not block. The Sealer is the endpoint's own: it may be used for
	// RTP until Ended.
	Connected(keys dtlssrtp.Keys, out *dtlssrtp.Sealer)
	// RTP takes an SRTP packet as it came. It may write over it, but keeps nothing of
	// it. It reports whether the packet was authentic, and so shows that the peer
	// lives.
	RTP(now time.Time, packet []byte) (authentic bool)
	// RTCP takes a compound packet that was opened, of a peer that is now at to. It
	// keeps nothing of it.
	RTCP(now time.Time, compound []byte, to netip.AddrPort)
	// Idle reports whether no media travels: then what the peer says only shows that
	// it lives, and may wait for a moment (see [port.Endpoint]).
	Idle(now time.Time) bool
	// Ending has the owner stop sending, since the endpoint ends for the reason
	// given. It returns the RTCP to say goodbye with, nil: none.
	Ending(err error) (goodbye []byte)
	// Ended is the end. It must not block.
	Ended(err error)
}

// Config is an endpoint's.
type Config struct {
	Transport cdn.Transport
	Log       logging.LoggerFactory
	// Watch ends the endpoint if its peer does not come or is gone. If nil, the
	// endpoint has one of its own.
	Watch *Watch
	// Expires is when the endpoint ends by itself. Zero: never.
	Expires time.Time
	// Proved is called when the peer has proved its address, perhaps more than
	// once, with the endpoint's lock held. Nil: nobody is told.
	Proved func()
	Remote Remote
	Role   Role
}

// A Role is what an endpoint does of the things that either side may do.
type Role struct {
	// Client: the endpoint begins the DTLS handshake, once the peer's address is
	// proved. Otherwise it waits for a ClientHello.
	Client bool
	// Receives: the peer sends media. What comes of it while the handshake ends is
	// kept for a moment.
	Receives bool
}

// An Endpoint is one peer. It has to be initialized with [Endpoint.Init], then
// opened and begun. Its methods may be called concurrently.
type Endpoint struct {
	mu   sync.Mutex
	ice  iceState // guarded by mu, as what follows, but for what says otherwise
	dtls dtlsState
	life lifetime
	sdp  string // the answer

	// static
	id     string
	config Config
	owner  Owner

	// owned by the port's reader
	early    [][]byte // media that came ahead of the end of the handshake
	earlyLen int
	lived    time.Time // when media last showed that the peer lives
}

// Init makes the endpoint ready to be opened. It does nothing that has to be undone.
func (e *Endpoint) Init(c Config, o Owner) {
	if c.Watch == nil {
		c.Watch = &Watch{}
	}
	e.id, e.config, e.owner = rand.Text(), c, o
	e.life.begin(time.Now())
	e.ice = newICE(c.Transport.Port, e, c.Remote.ICE, e.life.begun)
}

// Open has the port give the endpoint its checks, and returns what an answer has to
// say of it. It is followed by Begin.
func (e *Endpoint) Open() (Local, error) {
	c, err := e.newCredentials()
	if err != nil {
		return Local{}, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ice.ours = []icecheck.Credentials{c}
	return e.local(c), nil
}

// Begin sets the clocks of an endpoint whose peer is being answered with sdp.
func (e *Endpoint) Begin(sdp string) {
	e.config.Watch.add(e) // ahead of the timer: the end removes it
	e.mu.Lock()
	e.sdp = sdp
	if at := e.config.Expires; !at.IsZero() {
		e.life.expiry = time.AfterFunc(time.Until(at), func() { e.End(fmt.Errorf("%w: the grant has expired", cdn.ErrUnauthorized)) })
	}
	e.mu.Unlock()
}

// ID is unguessable (128 bits).
func (e *Endpoint) ID() string { return e.id }

// SDP returns the answer, with the credentials of the present ICE session.
func (e *Endpoint) SDP() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.sdp
}

// To returns the address where the peer is. It is not valid before any is known.
func (e *Endpoint) To() netip.AddrPort {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.ice.addr
}

// Context ends when the endpoint does.
func (e *Endpoint) Context() context.Context { return e.life.ctx }

// Transport returns the node's port, which the endpoint uses.
func (e *Endpoint) Transport() *cdn.Transport { return &e.config.Transport }

// Receive takes a datagram that the port's reader has found to be ours
// (RFC 7983 tells them apart by the first byte). It may write over it.
func (e *Endpoint) Receive(now time.Time, packet []byte, from netip.AddrPort) (routine bool) {
	if len(packet) == 0 {
		return false
	}
	connected := false
	switch first := packet[0]; {
	case first < 4:
		connected = e.receiveCheck(now, packet, from)
	case first >= 20 && first < 64:
		connected = e.receiveRecord(now, packet, from)
	case first < 128 || first >= 192 || len(packet) < 2:
	case packet[1] >= 192 && packet[1] < 224: // RFC 5761 section 4
		connected = e.receiveRTCP(now, packet, from)
	default:
		e.receiveRTP(now, packet, from)
		return false
	}
	return connected && e.owner.Idle(now) // the peer waits for media
}

// receiveRTCP takes what the peer says. That it is authentic shows that the
// handshake is over on the other side too, and DTLS can be parked.
func (e *Endpoint) receiveRTCP(now time.Time, packet []byte, from netip.AddrPort) (connected bool) {
	k := e.dtls.established.Load()
	if k == nil {
		return false
	}
	compound := k.open(now, packet)
	if compound == nil {
		return false
	}
	connected, to := e.heard(now, from)
	e.giveEarly(now)
	e.owner.RTCP(now, compound, to)
	return connected
}

const (
	// livesEvery is how often media is taken for a sign of life.
	livesEvery = 250 * time.Millisecond
	// What is kept of the media that comes ahead of the end of the handshake: the
	// peer may begin as soon as it has our last flight, and the goroutine that
	// handshakes is not as fast as the next datagram.
	maxEarlyMedia, maxEarlyMediaLen = 128, 128 << 10
)

// receiveRTP gives a media packet to the owner.
func (e *Endpoint) receiveRTP(now time.Time, packet []byte, from netip.AddrPort) {
	switch established := e.dtls.established.Load() != nil; {
	case !e.config.Role.Receives:
		return
	case !established:
		if len(e.early) < maxEarlyMedia && e.earlyLen+len(packet) <= maxEarlyMediaLen {
			e.early = append(e.early, append([]byte(nil), packet...))
			e.earlyLen += len(packet)
		}
		return
	}
	e.giveEarly(now)
	if e.owner.RTP(now, packet) && now.Sub(e.lived) >= livesEvery {
		e.lived = now
		e.heard(now, from)
	}
}

// giveEarly gives the owner what came ahead of the end of the handshake.
func (e *Endpoint) giveEarly(now time.Time) {
	early := e.early
	e.early = nil
	for _, one := range early {
		e.owner.RTP(now, one)
	}
}

// heard notes that the peer lives, and returns where.
func (e *Endpoint) heard(now time.Time, from netip.AddrPort) (connected bool, to netip.AddrPort) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ice.heardFrom(now, from)
	e.parkLocked()
	return e.dtls.parked, e.ice.addr
}

// SendRTCP seals a compound packet and sends it now, ahead of what is batched. It
// does nothing before the handshake is over.
func (e *Endpoint) SendRTCP(compound []byte) {
	if sealed := e.seal(compound); sealed != nil {
		_ = e.config.Transport.Port.Send(sealed, e.To()) // the next one is as good
	}
}

// ReplyRTCP is SendRTCP for the port's reader: it leaves with what others are
// answered who spoke at the same moment.
func (e *Endpoint) ReplyRTCP(compound []byte) { e.reply(e.seal(compound), e.To()) }

func (e *Endpoint) seal(compound []byte) []byte {
	out := e.dtls.out.Load()
	if out == nil {
		return nil
	}
	sealed, err := out.RTCP(compound)
	if err != nil {
		return nil // too many were sent, or too short
	}
	return sealed
}
