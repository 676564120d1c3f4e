package control

import "errors"

// Version is the newest version of the protocol that this package speaks.
const Version = 1

// Hello is the first thing that each side says.
type Hello struct {
	Min      int      `json:"min"` // the least and the highest version that is spoken
	Max      int      `json:"max"`
	Node     string   `json:"node"`
	Instance string   `json:"instance,omitempty"`
	Features []string `json:"features,omitempty"`
	// Load is the share of the node's capacity in use, 0 to 1; 0: not known. What
	// it becomes travels with pings.
	Load float64 `json:"load,omitempty"`
}

// Subscribe asks for a stream.
type Subscribe struct {
	Stream     string   `json:"stream"`
	Path       []string `json:"path,omitempty"`   // nodes that the wish came through
	Layers     []string `json:"layers,omitempty"` // of simulcast; none: all
	Credential string   `json:"credential,omitempty"`
	// Resumes: the node has had some of the stream already, and goes on with it.
	Resumes bool `json:"resumes,omitempty"`
	// TraceParent and TraceState name the span that this is for, as W3C Trace Context
	// writes them. Nodes of earlier versions pass over them.
	TraceParent string `json:"traceparent,omitempty"`
	TraceState  string `json:"tracestate,omitempty"`
}

// Subscribed says what a stream holds that was asked for.
type Subscribed struct {
	Publication string   `json:"publication,omitempty"`
	Epoch       uint64   `json:"epoch,omitempty"`
	Path        []string `json:"path,omitempty"` // nodes that the stream comes through, the origin first
	// Delays are how long media takes to each node of the path from the one ahead of
	// it, in milliseconds, and so one less than the path has nodes. None: not known.
	Delays []float64 `json:"delays_ms,omitempty"`
	Tracks []Track   `json:"tracks"`
	// Sender says whether somebody sends the stream: SenderPresent, though nothing
	// may come, or SenderAbsent. Nodes of earlier versions do not say ("").
	Sender string `json:"sender,omitempty"`
}

// What [Subscribed].Sender says.
const (
	SenderPresent = "present"
	SenderAbsent  = "absent"
)

// Track describes a track, and under which numbers its packets come.
type Track struct {
	ID         string   `json:"id"`
	Kind       string   `json:"kind"`
	MimeType   string   `json:"mime"`
	ClockRate  uint32   `json:"rate"`
	Channels   uint16   `json:"channels,omitempty"`
	Fmtp       string   `json:"fmtp,omitempty"`
	PT         uint8    `json:"pt"`
	RTX        uint8    `json:"rtx,omitempty"`        // of what is sent again (RFC 4588)
	Extensions []string `json:"extensions,omitempty"` // URIs; index i has id i+1
	// Number is the id of the header extension with a transport-wide sequence number
	// (draft-holmer-rmcat-transport-wide-cc-extensions-01), which counts the packets of
	// all streams of the link. Not all packets have one. A node that understands it sends
	// transport-wide feedback.
	Number uint8   `json:"number,omitempty"`
	Layers []Layer `json:"layers"`
}

// Layer is one encoding of a track. Its SSRCs are unique on the link.
type Layer struct {
	Name string `json:"name,omitempty"`
	SSRC uint32 `json:"ssrc"`
	RTX  uint32 `json:"rtx,omitempty"`
	// Clock is a point on the line from the layer's timestamps to the publisher's
	// wall clock, as sender reports give it; nil: not known.
	Clock *Clock `json:"clock,omitempty"`
	// Bitrate is what the sender measures of a layer, in bits a second, so that
	// one that does not travel can be chosen.
	Bitrate float64 `json:"bitrate,omitempty"`
	// Cost is the most that came of the layer in any second of the last five, with
	// headers, in bits a second. Temporal is likewise that of its temporal layers up
	// to each, if there are several, and Height the picture's, in pixels.
	Cost     float64   `json:"cost,omitempty"`
	Temporal []float64 `json:"temporal,omitempty"`
	Height   int       `json:"height,omitempty"`
	// Opaque: no keyframe can be recognised in it, and any frame is a place to
	// begin.
	Opaque bool `json:"opaque,omitempty"`
	// Keyframes: the sender has recognised some.
	Keyframes bool `json:"keyframes,omitempty"`
	// HeldBack: it does not come, whoever wants it, since the path does not carry it.
	HeldBack bool `json:"held_back,omitempty"`
}

// Clock says that a timestamp is an instant.
type Clock struct {
	RTP uint32 `json:"rtp"`
	NTP uint64 `json:"ntp"` // of the publisher's wall clock, as in RFC 3550 section 4
	// Estimated: it goes by arrivals at a node. Sender reports do, too, then.
	Estimated bool `json:"estimated,omitempty"`
}

// Reason says why something ends.
type Reason struct {
	Code string `json:"code"`
	Text string `json:"text,omitempty"`
	// Instead are nodes that may do it, if this one is full or leaving: three at most.
	Instead []Elsewhere `json:"instead,omitempty"`
}

// Elsewhere is another node.
type Elsewhere struct {
	Node string `json:"node"`
	URL  string `json:"url"`
}

// An Event is something that the other side has said. The set of events is
// closed.
type Event interface{ event() }

// The events.
type (
	// Opened says that the other side's hello has come, and the version that both
	// speak.
	Opened struct {
		Hello   Hello
		Version int
	}
	// Asked says that the other side wants a stream. It is answered by
	// [Conn.Accept] or [Conn.End].
	Asked struct {
		ID        uint64
		Subscribe Subscribe
	}
	// Wanted says that the other side wants other layers of what it has asked for.
	Wanted struct {
		ID     uint64
		Layers []string
	}
	// Left says that the other side does not want a stream any more, or has been
	// told that it cannot have it since no message is large enough to say what
	// it holds.
	Left struct{ ID uint64 }
	// Accepted says what a stream holds, perhaps anew.
	Accepted struct {
		ID         uint64
		Subscribed Subscribed
	}
	// Ended says that a stream is refused, or over.
	Ended struct {
		ID     uint64
		Reason Reason
	}
	// Leaving says whether the other side is leaving: what it serves goes elsewhere, if
	// it can.
	Leaving struct{ Yes bool }
	// Called says that the other side asks something. It is answered by [Conn.Reply] or
	// [Conn.Fail].
	Called struct {
		ID       uint64
		Question []byte
	}
	// Cancelled says that the other side does not want an answer any more.
	Cancelled struct{ ID uint64 }
	// Replied tells the answer to a call of ours, or why there is none.
	Replied struct {
		ID     uint64
		Answer []byte
		Failed bool
		Reason Reason
	}
	// Closed says that the connection is over: because one of both sides said so
	// (Reason; Err is nil), or as Err tells. It is the last event.
	Closed struct {
		Reason Reason
		Err    error
	}
)

func (Opened) event()    {}
func (Asked) event()     {}
func (Wanted) event()    {}
func (Left) event()      {}
func (Accepted) event()  {}
func (Ended) event()     {}
func (Leaving) event()   {}
func (Called) event()    {}
func (Cancelled) event() {}
func (Replied) event()   {}
func (Closed) event()    {}

// Errors of [Closed].
var (
	ErrPeerSilent = errors.New("control: nothing is heard of the other side")
	ErrVersion    = errors.New("control: no version in common")
)
