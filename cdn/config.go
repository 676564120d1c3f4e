package cdn

import (
	"log/slog"
	"net/netip"
	"runtime"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/webrtc/v4"

	"github.com/deltacdn/delta/cdn/internal/ring"
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
	// TCPAddr is a TCP address, host:port, for publishers and viewers whose UDP does not
	// get through (RFC 6544). They are told it at the same hosts as the UDP port, and use
	// it only where UDP fails. No other service may have the port: pages and signaling,
	// which often have the number of the UDP port, are one. If empty, there is none. Net
	// must be a [TCPNetwork] then. It is for sessions of Delta's own: a PeerConnection
	// (Tune, edge.Config.PeerConnections) has UDP alone.
	TCPAddr string
	// PublicIPs are the addresses that clients are told to send to. If empty,
	// the address of Addr or, where that names none, those of all interfaces.
	// [Node.SetPublicIPs] changes them while the node runs, and [KeepPublicHosts]
	// looks up host names for them.
	PublicIPs []netip.Addr
	// URL is the base URL of the node's signaling, which it announces.
	URL string
	// Directory is where the node announces its streams. If nil, nowhere.
	Directory Directory
	// Group names where the node is, such as a region or a provider. If empty, nowhere
	// in particular.
	Group string
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

	// Tracer records how long the steps of a request take, across nodes. If nil,
	// nothing is recorded, which costs nothing.
	Tracer Tracer

	// Limits bound what the node takes on.
	Limits Limits
	// Capacity is what the node can send. Beyond it viewers and other nodes are
	// refused with [ErrOverLimit].
	Capacity Capacity
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

// RingConfig bounds the packets kept of each layer, from which losses are
// repaired and viewers begin. The first bound that is met counts.
type RingConfig struct {
	Packets int           // If zero, 4096
	Bytes   int           // If zero, 8 MiB
	Age     time.Duration // If zero, 4 s
	// GOP is for how long the newest keyframe and all that followed are kept
	// beyond Age, for viewers to begin with. If zero, 12 s. That keyframe alone
	// is kept until the next keyframe.
	GOP time.Duration
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
	var err error
	if c.Limits, err = c.Limits.withDefaults(); err != nil {
		return c, err
	}
	return c, checkPublicIPs(c.PublicIPs)
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

func (c Config) stream(l Limits) streamConfig {
	return streamConfig{
		Ring:           ring.Config{Packets: c.Ring.Packets, Bytes: c.Ring.Bytes, Age: c.Ring.Age, GOP: c.Ring.GOP},
		KeyframeWindow: c.KeyframeWindow,
		Overlap:        5 * time.Second,
		MaxTracks:      l.Tracks,
		MaxLayers:      l.Layers,
	}
}
