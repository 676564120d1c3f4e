package cdn

import "time"

// An Event is something that happened at a node, for [Config].OnEvent. The set
// of events is closed: a switch on the type can name them all.
type Event interface{ event() }

// The events.
type (
	// StreamStarted says that a stream has an input and its tracks are known,
	// perhaps ahead of their media. A name that is asked for and that nobody
	// publishes starts nothing.
	StreamStarted struct{ Stream StreamID }
	// StreamEnded says that a stream which had started is gone from the node.
	StreamEnded struct {
		Stream StreamID
		Err    error // why, wrapping one of the sentinels
	}
	// InputChanged says that another input feeds the stream now; where one did
	// before, receivers saw a splice.
	InputChanged struct {
		Stream      StreamID
		Publication string
		Epoch       uint64
		Path        []NodeID // nodes that it comes through, the origin first
	}
	// DelaysChanged says that media takes longer to this node, or less long: over each
	// hop of the stream's path, as [InputConfig].Delays. It tells changes of a fifth and
	// 2 ms, or more.
	DelaysChanged struct {
		Stream StreamID
		Path   []NodeID
		Delays []time.Duration
	}
	// UpstreamChanged says which node a fetched stream is to come from now, and
	// which would be next.
	UpstreamChanged struct {
		Stream  StreamID
		Node    NodeID // "" if the directory does not say
		URL     string // of its signaling
		Standby string // URL of the next; "" if there is none
		Err     error  // why the one before was left, nil for the first
	}
	// LinkUp says that there is a link with another node, made by either of the two.
	LinkUp struct {
		Node NodeID
		URL  string // of its signaling, that was dialled; "" where it dialled
	}
	// LinkDown says that a link that was up is over. Where another takes its place,
	// that one's LinkUp may come before.
	LinkDown struct {
		Node   NodeID
		URL    string
		Lasted time.Duration
		Err    error // why
	}
	// LinkAdapted says that the path to another node carries less than that wants, and
	// more or fewer layers are held back now than before. Viewers behind it get lower
	// layers; sound is not held back.
	LinkAdapted struct {
		Node     NodeID
		URL      string  // of its signaling, that was dialled; "" where it dialled
		HeldBack int     // layers, of all streams; 0 also after nothing was sent for 10 s
		Lower    bool    // more than before
		Reason   string  // "congestion", "loss", "room" and so on
		Estimate float64 // of what the path carries, in bits a second
	}
	// SessionStarted says that a publisher, viewer or downstream node was let in.
	SessionStarted struct {
		Stream     StreamID
		Action     Action
		Session    string // names the session in events and statistics
		Subject    string // who, as the Authorizer said; Grant and Tag as well
		Grant      string // Grant.ID
		Tag        string
		RemoteAddr string // of its signaling
	}
	// SessionEnded says that a session is over.
	SessionEnded struct {
		Stream  StreamID
		Action  Action
		Session string
		Subject string // as in SessionStarted; Grant and Tag as well
		Grant   string
		Tag     string
		Lasted  time.Duration
		// Err is why: [ErrLeft] if the client said goodbye by its signaling,
		// [ErrPeerLost] if it went otherwise, [ErrClosed] if the node or its
		// service was closed.
		Err error
	}
	// ViewerSlow says that a viewer could not take what it was sent.
	ViewerSlow struct {
		Stream  StreamID
		Session string
		Subject string // as in SessionStarted; Grant and Tag as well
		Grant   string
		Tag     string
		Layer   string // what it is sent from now on; "" with Paused: sound only
		Paused  bool   // until the next keyframe
		// Keyframes: only keyframes are sent of the layer.
		Keyframes bool
		// Temporal is how many temporal layers are sent of it, the lowest first; 0: all.
		Temporal int
	}
	// UplinkNarrow says that the path of a publisher to this node does not carry what it
	// has to send. Viewers are sent what comes. It is told once; then UplinkRecovered
	// follows, or the session's end.
	UplinkNarrow struct {
		Stream  StreamID
		Session string
		Subject string // as in SessionStarted; Grant and Tag as well
		Grant   string
		Tag     string
		Uplink  Uplink
	}
	// UplinkRecovered says that a path that was narrow carries what the publisher sends,
	// and has for 10 s.
	UplinkRecovered struct {
		Stream  StreamID
		Session string
		Subject string // as in SessionStarted; Grant and Tag as well
		Grant   string
		Tag     string
		Lasted  time.Duration // how long it was narrow
		Uplink  Uplink
	}
	// TrackUnplayable says that a viewer wanted a track of a stream, and offers no
	// codec that decodes it. It gets the others.
	TrackUnplayable struct {
		Stream  StreamID
		Session string
		Track   string  // its ID
		Kind    Kind    // of the track
		Codec   Codec   // of the track
		Offered []Codec // by the viewer, for such a track
	}
)

func (StreamStarted) event()   {}
func (StreamEnded) event()     {}
func (InputChanged) event()    {}
func (DelaysChanged) event()   {}
func (UpstreamChanged) event() {}
func (LinkUp) event()          {}
func (LinkDown) event()        {}
func (LinkAdapted) event()     {}
func (SessionStarted) event()  {}
func (SessionEnded) event()    {}
func (ViewerSlow) event()      {}
func (UplinkNarrow) event()    {}
func (UplinkRecovered) event() {}
func (TrackUnplayable) event() {}
