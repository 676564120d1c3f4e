package cdn

import (
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/webrtc/v4"

	"github.com/deltacdn/delta/internal/ring"
)

// Config sets up a [Node]. The zero value is a node on a free UDP port of all
// addresses that announces nothing and lets everybody in. It must not be
// changed after it was passed.
type Config struct {
	// ID names the node; it must be unique in the CDN, and may hold what an
	// element of a [StreamID] may. If empty, a random one.
	ID NodeID
	// Addr is the UDP address, host:port, for publishers and viewers. If
	// empty, ":0": a free port of all addresses. What a node sends from a port of
	// all addresses leaves from the one that the system takes for the way to the
	// client; a node that is to be reached at another (a second address of the
	// same interface, say) has to name it here. Firefox sends no media from loopback
	// addresses, so a node at one of them is out of its reach, on the same machine too.
	Addr string
	// PublicIPs are the addresses that clients are told to send to. If empty,
	// the address of Addr or, where that names none, those of all interfaces.
	PublicIPs []netip.Addr
	// URL is the base URL of the node's signaling, which it announces.
	URL string
	// Directory is where the node announces its streams. If nil, nowhere.
	Directory Directory
	// Lease is how long an announcement lasts without renewal. If zero, 15 s.
	Lease time.Duration
	// Authorizer decides who may publish, play and fetch. If nil, all may.
	Authorizer Authorizer

	// Trust says by what this node and others know each other. If zero, other
	// nodes are let in from loopback addresses only.
	Trust Trust

	// Logger gets what an operator should know. If nil, nothing is logged.
	Logger *slog.Logger
	// OnEvent is told what happens, without locks held, possibly from several
	// goroutines at once. It must not block. If nil, nobody is told.
	OnEvent func(Event)

	// Limits bound what the node takes on.
	Limits Limits
	// Ring bounds what is kept of each layer.
	Ring RingConfig
	// KeyframeWindow is the least time between two keyframe requests for one
	// layer. If zero, 500 ms.
	KeyframeWindow time.Duration
	// Workers is how many goroutines serve viewers. If zero, GOMAXPROCS.
	Workers int

	// Net is the network. If nil, the operating system's ([SystemNetwork]); tests
	// pass a virtual one ([github.com/deltacdn/delta/cdn/cdntest]).
	Net Network
	// Tune may change any of pion's settings for a PeerConnection, after Delta's own
	// choices and before it is made. It affects publishers and nothing else: with it,
	// they are received by PeerConnections, which cost several times what Delta's own
	// sessions do. Viewers and links never are, unless a service is configured so
	// (edge.Config.PeerConnections). If nil, Delta's choices stand.
	Tune func(*webrtc.SettingEngine, *webrtc.MediaEngine, *interceptor.Registry) error
}

// Limits bound what a node takes on. What goes over one is refused with
// [ErrOverLimit].
//
// Places for sessions are shared out by the address that the client's signaling
// comes from ([AuthRequest].RemoteAddr), for IPv6 by its /64. One address may have
// all of them while there is room. When there is none, the oldest half-open
// session of the address that has the most gives way: one whose client has not
// yet proved that it receives what is sent to it. A session that has proved that
// is never ended for another. When such sessions fill Sessions and one address has
// more than a quarter of them, that address is refused, and others get up to a
// quarter of Sessions more. What has no address, as in-process signaling, and
// nodes that are trusted have no share and are never half-open.
type Limits struct {
	Sessions int // publishers, viewers and downstream nodes. If zero, 5000
	HalfOpen int // of Sessions, those whose client has not proved its address; publishers have half of Streams at most. If zero, 1000
	Streams  int // If zero, 1000
	Links    int // with other nodes, whoever dials. If zero, 1000
	Tracks   int // of one stream. If zero, 8
	Layers   int // of one track. If zero, 8
}

// RingConfig bounds the packets kept of each layer, from which losses are
// repaired and viewers begin. The first bound that is met counts.
type RingConfig struct {
	Packets int           // If zero, 4096
	Bytes   int           // If zero, 8 MiB
	Age     time.Duration // If zero, 4 s
	// Group is for how long the newest keyframe and all that followed are kept
	// beyond Age, for viewers to begin with. If zero, 12 s. That picture alone
	// is kept until the next keyframe.
	Group time.Duration
}

func (c Config) withDefaults() (Config, error) {
	if c.ID == "" {
		c.ID = NewNodeID()
	}
	if _, err := ParseNodeID(string(c.ID)); err != nil {
		return c, err
	}
	if err := c.Trust.check(); err != nil {
		return c, err
	}
	if c.Addr == "" {
		c.Addr = ":0"
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	setDefault(&c.Lease, 15*time.Second)
	setDefault(&c.KeyframeWindow, 500*time.Millisecond)
	setDefault(&c.Workers, runtime.GOMAXPROCS(0))
	setDefault(&c.Limits.Sessions, 5000)
	setDefault(&c.Limits.HalfOpen, 1000)
	setDefault(&c.Limits.Streams, 1000)
	setDefault(&c.Limits.Links, 1000)
	setDefault(&c.Limits.Tracks, 8)
	setDefault(&c.Limits.Layers, 8)
	for _, ip := range c.PublicIPs {
		if !ip.IsValid() || ip.IsUnspecified() || ip.IsMulticast() {
			return c, fmt.Errorf("%w: public address %v", ErrInvalid, ip)
		}
	}
	return c, nil
}

func setDefault[T ~int | ~int64](v *T, def T) {
	if *v <= 0 {
		*v = def
	}
}

// streamConfig is what a stream needs of its node's configuration.
type streamConfig struct {
	Ring           ring.Config
	KeyframeWindow time.Duration
	Overlap        time.Duration // how long an input that was taken over from may finish
	MaxTracks      int
	MaxLayers      int
}

func (c Config) stream() streamConfig {
	return streamConfig{
		Ring:           ring.Config{Packets: c.Ring.Packets, Bytes: c.Ring.Bytes, Age: c.Ring.Age, Group: c.Ring.Group},
		KeyframeWindow: c.KeyframeWindow,
		Overlap:        5 * time.Second,
		MaxTracks:      c.Limits.Tracks,
		MaxLayers:      c.Limits.Layers,
	}
}
