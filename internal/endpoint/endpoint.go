// Package endpoint is one peer on the node's UDP port: the ICE agent, lite or full,
// the proof of the peer's address, DTLS in either role, the SRTP keys, the
// demultiplexing of datagrams (RFC 7983, RFC 5761), and the goodbye. It knows nothing
// of what travels: its [Owner] does. It is driven by the port's one reader. The
// endpoint of a client has no goroutine and no timer in steady state, and DTLS is
// parked until the goodbye; one with [Role.Data] keeps its DTLS connection.
package endpoint

import (
	"context"
	"crypto/rand"
	"net/netip"
	"sync"
	"time"

	"github.com/pion/logging"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/endpoint/icecheck"
	"github.com/deltacdn/delta/internal/service"
	"github.com/deltacdn/delta/internal/udp/egress"
	"github.com/deltacdn/delta/internal/udp/icetcp"
)

// An Owner is the session that an endpoint carries. The endpoint holds no lock while
// it calls the owner. The port's reader calls RTP and RTCP, which must not block.
type Owner interface {
	// Connected is called once, in a goroutine of its own, when the handshake is over
	// and ahead of any packet. From then on the endpoint's Writer, NewWriter and
	// NewOpener work. An error ends the endpoint.
	Connected() error
	// RTP takes an SRTP packet, which came from the network at arrived: ahead of when
	// it was read, and mostly, but not always, after the one before. It may overwrite the
	// packet and must not retain it. It reports whether the packet was authentic.
	RTP(arrived time.Time, packet []byte) (authentic bool)
	// RTCP takes a decrypted compound packet, and the peer's present address. It must
	// not retain the packet.
	RTCP(now time.Time, compound []byte, to netip.AddrPort)
	// Ending is called once, when the endpoint begins to end for the given reason,
	// perhaps while Connected runs. The owner stops sending. It returns the RTCP to say
	// goodbye with, or nil, and a function that the endpoint calls last, when nothing
	// else calls the owner any more.
	Ending(err error) (goodbye []byte, ended func())
}

// Config is an endpoint's configuration.
type Config struct {
	Transport *service.Runtime
	// Identity is what the peer is shown. If nil, that of the node's sessions.
	Identity *service.Identity
	Log      logging.LoggerFactory
	// Watch ends the endpoint if its peer does not connect or is gone. If nil, the
	// endpoint has a Watch of its own.
	Watch *Watch
	// Proved is called when the peer has proved its address, perhaps more than
	// once, with the endpoint's lock held. It may be nil.
	Proved func()
	// Idle reports whether no media travels: the peer's packets then only show that it
	// lives, and may wait for a moment (see [port.Endpoint]). The port's reader calls
	// it. It may be nil.
	Idle   func(now time.Time) bool
	Remote Remote
	Role   Role
}

// A Role says which side of ICE and DTLS an endpoint is, and what it carries. The
// zero Role is that of a server whose clients only receive.
type Role struct {
	// Controlling: the endpoint is a full ICE agent, which checks the peer's
	// candidates and nominates the first that answers ([Endpoint.Dial]). Otherwise it
	// is a lite agent, which answers checks (RFC 8445 section 2.5).
	Controlling bool
	// Client: the endpoint begins the DTLS handshake once the peer's address is
	// proved; a controlling one begins it beside its checks. Otherwise it waits for a
	// ClientHello.
	Client bool
	// Receives: the peer sends media. Media that arrives while the handshake ends is
	// kept for a moment.
	Receives bool
	// Admits, if not nil, reports whether an authentic check is to be answered. The
	// port's reader calls it.
	Admits func() bool
	// Data, if not nil, takes the application data that arrives by DTLS, in order of
	// arrival, and nil at the connection's end. It must not retain it. The DTLS
	// connection then stays up until the endpoint ends ([Endpoint.Write]), the peer
	// keeps the address at which the handshake ended, its RTCP is not bounded in rate,
	// and the owner minds whether it lives.
	Data func(now time.Time, datagram []byte)
}

// An Endpoint is one peer. It has to be initialized with [Endpoint.Init], then
// opened and begun. Its methods may be called concurrently.
type Endpoint struct {
	mu sync.Mutex // guards the fields up to the static ones, unless they say otherwise

	ice    iceState
	dtls   dtlsState
	life   lifetime
	answer shape
	words  func() []string // of the answer; see Begin; nil: there are none

	// static
	id      string
	config  Config
	owner   Owner
	replies *egress.Batch // by which it answers; the port's reader's

	// owned by the port's reader
	early    []earlyMedia // what came ahead of the end of the handshake
	earlyLen int
	lived    time.Time // when media last showed that the peer lives
}

// Init makes the endpoint ready to be opened. Nothing it does has to be undone.
func (e *Endpoint) Init(c Config, o Owner) {
	if c.Watch == nil {
		c.Watch = &Watch{}
	}
	if c.Identity == nil {
		c.Identity = &c.Transport.Identity
	}
	e.id, e.config, e.owner, e.replies = rand.Text(), c, o, c.Transport.Reply
	e.life.begin(time.Now())
	e.ice = newICE(c.Transport.Port, e, c.Remote, e.life.begun)
	e.ice.controlling, e.ice.stays = c.Role.Controlling, c.Role.Data != nil
}

// Open has the port deliver the endpoint's checks, and returns the description of its
// transport. It fails if the endpoint has ended. It is followed by Begin or Dial.
func (e *Endpoint) Open() (Local, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.life.stopped { // nothing would take it back
		return Local{}, cdn.ErrClosed
	}
	c, err := e.newCredentials()
	if err != nil {
		return Local{}, err
	}
	e.ice.ours = []icecheck.Credentials{c}
	return e.local(c), nil
}

// Dial has a controlling endpoint check all candidates of the peer and begin the
// handshake beside that. Until a candidate has answered, records go to all of them.
func (e *Endpoint) Dial(r Remote) {
	e.mu.Lock()
	if e.life.stopped {
		e.mu.Unlock()
		return
	}
	e.config.Remote = r
	paths := e.ice.dial(r)
	e.mu.Unlock()
	for _, p := range paths { // ahead of the ClientHello, which is ignored without a check
		e.askUntilProved(p)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.life.stopped && e.dtls.pipe == nil { // the answer to a check may have begun it
		e.handshakeLocked()
	}
}

// Reclaim asks the port again for the addresses of a peer whose handshake is not over:
// another endpoint may have had them.
func (e *Endpoint) Reclaim() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.life.stopped {
		e.ice.reclaim()
	}
}

// Begin has the watch look after an endpoint whose peer is being given an answer. words returns
// the words of the answer that no other one has, beside the credentials: always the same. It is
// called with the endpoint's lock held. If nil, there are none.
func (e *Endpoint) Begin(answer string, words func() []string) {
	e.config.Watch.add(e)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.words = words
	e.answer = newShape(answer, e.wordsLocked())
}

// ID is unguessable (128 bits).
func (e *Endpoint) ID() string { return e.id }

// SDP returns the answer, with the credentials of the present ICE session. It is empty unless
// the endpoint was begun with one.
func (e *Endpoint) SDP() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.answer.with(e.wordsLocked())
}

// wordsLocked returns the words of the answer that no other one has. There are none if the
// endpoint was not opened.
func (e *Endpoint) wordsLocked() []string {
	if len(e.ice.ours) == 0 {
		return nil
	}
	present := e.ice.ours[0]
	all := []string{present.Ufrag, present.Pwd}
	if e.words != nil {
		all = append(all, e.words()...)
	}
	return all
}

// To returns the peer's address. It is not valid as long as none is known.
func (e *Endpoint) To() netip.AddrPort {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.ice.addr
}

// Near reports whether the peer seems to be on the same machine or network as the node, by the
// shortest round trip of a check of ours to the address in use.
func (e *Endpoint) Near() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.ice.near()
}

// Room returns what reports whether little waits for the peer at an address, as
// [Endpoint.To] returns it. It is nil where what is sent does not wait: by UDP.
func (e *Endpoint) Room(at netip.AddrPort) func() bool {
	if !icetcp.Is(at) {
		return nil
	}
	p := e.config.Transport.Port
	return func() bool { return p.HasRoom(at) }
}

// Context returns a context that ends with an endpoint that has [Role.Data]. For others it is
// nil once DTLS is parked.
func (e *Endpoint) Context() context.Context {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.life.ctx
}

// Transport returns the node's port, which the endpoint uses.
func (e *Endpoint) Transport() *service.Runtime { return e.config.Transport }

// Replies returns the batch by which the port's reader answers, for its use alone.
func (e *Endpoint) Replies() *egress.Batch { return e.replies }

// Receive takes a datagram that the port's reader has found to be for this endpoint,
// and may overwrite it. The first byte tells what it is (RFC 7983). It implements
// [port.Endpoint].
func (e *Endpoint) Receive(now, arrived time.Time, packet []byte, from netip.AddrPort) (routine bool) {
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
		e.receiveRTP(now, arrived, packet, from)
		return false
	}
	return connected && e.config.Idle != nil && e.config.Idle(now)
}

// receiveRTCP takes the peer's RTCP. That it is authentic shows that the handshake is
// over on the other side too, and DTLS can be parked.
func (e *Endpoint) receiveRTCP(now time.Time, packet []byte, from netip.AddrPort) (connected bool) {
	k := e.dtls.established.Load()
	if k == nil {
		return false
	}
	compound := k.open(now, packet)
	if compound == nil {
		return false
	}
	connected, to := e.heardFrom(now, from)
	e.giveEarly()
	e.owner.RTCP(now, compound, to)
	return connected
}

const (
	// livesEvery is how often media is taken for a sign of life.
	livesEvery = 250 * time.Millisecond
	// maxEarlyMedia packets and maxEarlyMediaLen bytes are kept of the media that
	// arrives ahead of the end of the handshake: the peer may begin as soon as it has
	// our last flight, and the next datagram may be faster than the handshake's
	// goroutine.
	maxEarlyMedia, maxEarlyMediaLen = 128, 128 << 10
)

// earlyMedia is a media packet that arrived ahead of the end of the handshake.
type earlyMedia struct {
	arrived time.Time
	packet  []byte
}

// receiveRTP gives a media packet to the owner.
func (e *Endpoint) receiveRTP(now, arrived time.Time, packet []byte, from netip.AddrPort) {
	switch established := e.dtls.established.Load() != nil; {
	case !e.config.Role.Receives:
		return
	case !established:
		if len(e.early) < maxEarlyMedia && e.earlyLen+len(packet) <= maxEarlyMediaLen {
			e.early = append(e.early, earlyMedia{arrived, append([]byte(nil), packet...)})
			e.earlyLen += len(packet)
		}
		return
	}
	e.giveEarly()
	if e.owner.RTP(arrived, packet) && now.Sub(e.lived) >= livesEvery {
		e.lived = now
		e.heardFrom(now, from)
	}
}

// giveEarly gives the owner the media that arrived ahead of the end of the handshake.
func (e *Endpoint) giveEarly() {
	early := e.early
	e.early = nil
	for _, one := range early {
		e.owner.RTP(one.arrived, one.packet)
	}
}

// heardFrom notes that the peer lives, and returns its address.
func (e *Endpoint) heardFrom(now time.Time, from netip.AddrPort) (connected bool, to netip.AddrPort) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ice.heardFrom(now, from)
	e.parkLocked()
	return e.connectedLocked(), e.ice.addr
}

// SendRTCP seals a compound packet and sends it now, ahead of batched packets. It
// does nothing before the handshake is over.
func (e *Endpoint) SendRTCP(compound []byte) {
	if sealed := e.seal(compound); sealed != nil {
		_ = e.config.Transport.Port.Send(sealed, e.To()) // the next one is as good
	}
}

// ReplyRTCP is SendRTCP for the port's reader: the packet leaves together with the
// answers to the other datagrams of the same batch.
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
