package admin

import "time"

// Network is the whole network, as the answering node knows it.
type Network struct {
	// Time is the answering node's clock.
	Time time.Time `json:"time"`
	// Via is the node that answers.
	Via string `json:"via"`
	// Nodes are in the order of their IDs.
	Nodes []Report `json:"nodes"`
}

// State says how far a report can be relied on.
type State string

// The states of a report.
const (
	// Current: the node has answered the latest question.
	Current State = "current"
	// Stale: the node has not answered, and this is its last report.
	Stale State = "stale"
	// Unknown: the node has never answered. Only its ID is known, since another
	// node has a link with it.
	Unknown State = "unknown"
)

// Report is what one node says of itself.
type Report struct {
	State State `json:"state" enum:"current,stale,unknown"`
	// Time is when the report arrived, by the answering node's clock. Absent while
	// the state is unknown.
	Time *time.Time `json:"time,omitempty"`
	// AgeSeconds is how old the report is.
	AgeSeconds float64 `json:"age_seconds"`
	// Problem is a sentence that says why the report is not current.
	Problem string `json:"problem,omitempty"`
	// Hops is the number of links between the answering node and this one.
	Hops     int           `json:"hops"`
	Node     Node          `json:"node"`
	Sessions SessionCounts `json:"sessions"`
	Totals   Totals        `json:"totals"`
	Links    []Link        `json:"links"`
	Streams  []Stream      `json:"streams"`
	// StreamsOmitted is the number of streams that the report has no room for.
	StreamsOmitted int `json:"streams_omitted,omitempty"`
}

// Node describes a node.
type Node struct {
	ID string `json:"id"`
	// URL is the base URL of the node's signaling; empty if it has none.
	URL string `json:"url,omitempty"`
	// Version is that of the program.
	Version string `json:"version,omitempty"`
	// Roles are any of "origin", "relay" and "edge".
	Roles   []string  `json:"roles"`
	Started time.Time `json:"started"`
	// Address is that of the node's UDP port.
	Address string `json:"address,omitempty"`
	// Draining: the node is leaving, and takes no new sessions.
	Draining bool `json:"draining"`
	// Load is the share of the node's capacity in use, 0 to 1.
	Load float64 `json:"load"`
}

// SessionCounts counts the sessions of a node.
type SessionCounts struct {
	Total      int `json:"total"`
	Publishers int `json:"publishers"`
	Viewers    int `json:"viewers"`
	// Downstreams are streams that other nodes fetch from this one.
	Downstreams int `json:"downstreams"`
	// HalfOpen are sessions whose client has not proved its address yet.
	HalfOpen int `json:"half_open"`
}

// Totals sums up what a node receives and sends. What does not say otherwise is counted
// since the node was started, and never falls.
type Totals struct {
	// BitrateIn is what comes from publishers and other nodes now.
	BitrateIn int64 `json:"bitrate_in"`
	// BitrateOut is what goes to viewers and other nodes now.
	BitrateOut int64 `json:"bitrate_out"`
	// PacketsIn and BytesIn are RTP from publishers and other nodes, with all headers of
	// RTP.
	PacketsIn uint64 `json:"packets_in"`
	BytesIn   uint64 `json:"bytes_in"`
	// PacketsOut and BytesOut are RTP to viewers and other nodes.
	PacketsOut uint64 `json:"packets_out"`
	BytesOut   uint64 `json:"bytes_out"`
	// SessionsStarted, SessionsEnded and SessionsRefused count those of all kinds.
	SessionsStarted uint64 `json:"sessions_started"`
	SessionsEnded   uint64 `json:"sessions_ended"`
	SessionsRefused uint64 `json:"sessions_refused"`
	// Shed counts the times that viewers lost video or sound because the node was behind.
	Shed uint64 `json:"shed"`
}

// Link is the connection of a node with another one, as that node sees it.
type Link struct {
	// Node is the node at this end, and Peer the one at the other end.
	Node string `json:"node"`
	Peer string `json:"peer"`
	// URL is the one that this node dialed; empty where the peer dialed.
	URL string `json:"url,omitempty"`
	// Up is since when the link stands.
	Up    time.Time `json:"up"`
	RTTMs float64   `json:"rtt_ms"`
	// Loss is the share of probes that got no answer, 0 to 1.
	Loss       float64 `json:"loss"`
	BitrateIn  int64   `json:"bitrate_in"`
	BitrateOut int64   `json:"bitrate_out"`
	BytesIn    uint64  `json:"bytes_in"`
	BytesOut   uint64  `json:"bytes_out"`
	// Estimate is what the path to the peer carries, in bits a second, while it is watched
	// since something was wrong; absent otherwise. HeldBack are the streams of which the
	// peer gets fewer layers than it wants, since the path does not carry them.
	Estimate int64    `json:"estimate,omitempty"`
	HeldBack []string `json:"held_back"`
	// Fetched are the streams that this node has from the peer.
	Fetched []string `json:"fetched"`
	// Served are the streams that the peer has from this node.
	Served []string `json:"served"`
}

// Stream is a stream at one node.
type Stream struct {
	ID string `json:"id"`
	// Node is the node that the rest is about.
	Node    string    `json:"node"`
	Started time.Time `json:"started"`
	// Live: somebody sends it.
	Live bool `json:"live"`
	// Published: it is published at this node.
	Published bool `json:"published"`
	// Path has the nodes that the stream comes through, the origin first.
	Path []string `json:"path"`
	// DelaysMs is how long media takes to each node of the path after the first,
	// and then to this node.
	DelaysMs []float64 `json:"delays_ms,omitempty"`
	// Upstream is where a fetched stream comes from, or should.
	Upstream *Upstream `json:"upstream,omitempty"`
	Viewers  int       `json:"viewers"`
	// Downstreams is the number of nodes that fetch the stream from this one.
	Downstreams int     `json:"downstreams"`
	Bitrate     int64   `json:"bitrate"`
	Tracks      []Track `json:"tracks"`
}

// Upstream is where a node fetches a stream from.
type Upstream struct {
	// Node is empty while it is not known.
	Node string `json:"node,omitempty"`
	URL  string `json:"url,omitempty"`
	// StandbyURL is that of the node that would be next.
	StandbyURL string    `json:"standby_url,omitempty"`
	Since      time.Time `json:"since"`
	// Changes is how often the stream went over to another node.
	Changes int `json:"changes"`
}

// Track is a track of a stream.
type Track struct {
	ID     string  `json:"id"`
	Kind   string  `json:"kind" enum:"audio,video"`
	Codec  string  `json:"codec"`
	Layers []Layer `json:"layers"`
}

// Layer is one encoding of a track.
type Layer struct {
	// Name is empty where the track is sent once.
	Name    string `json:"name,omitempty"`
	Bitrate int64  `json:"bitrate"`
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
	// Keyframes counts frames that decode without any other.
	Keyframes uint64 `json:"keyframes"`
	// Lost counts packets of the present input that have not come.
	Lost uint64 `json:"lost"`
	// Receivers is the number of viewers and nodes that want the layer.
	Receivers int `json:"receivers"`
}
