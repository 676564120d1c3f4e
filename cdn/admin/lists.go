package admin

import "time"

// NodeList is the answer to GET /nodes.
type NodeList struct {
	Nodes []NodeSummary `json:"nodes"`
}

// NodeSummary is a [Report] without streams and links.
type NodeSummary struct {
	State      State         `json:"state" enum:"current,stale,unknown"`
	Time       *time.Time    `json:"time,omitempty"`
	AgeSeconds float64       `json:"age_seconds"`
	Problem    string        `json:"problem,omitempty"`
	Hops       int           `json:"hops"`
	Node       Node          `json:"node"`
	Sessions   SessionCounts `json:"sessions"`
	Totals     Totals        `json:"totals"`
	// Streams and Links count them.
	Streams int `json:"streams"`
	Links   int `json:"links"`
}

// LinkList is the answer to GET /links. A link is listed once for each end.
type LinkList struct {
	Links []Link `json:"links"`
}

// StreamPage is a part of the streams of the network.
type StreamPage struct {
	// Streams are in the order of their IDs.
	Streams []StreamSummary `json:"streams"`
	// Next is the value of "after" that gets the next page; empty on the last one.
	Next string `json:"next,omitempty"`
}

// StreamSummary is a stream at all nodes that have it.
type StreamSummary struct {
	ID   string `json:"id"`
	Live bool   `json:"live"`
	// Origins are the nodes that it is published at: one, unless it is being moved.
	Origins []string `json:"origins"`
	Viewers int      `json:"viewers"`
	Bitrate int64    `json:"bitrate"`
	// Blocked: it cannot be published or played.
	Blocked bool `json:"blocked"`
	// Nodes is the stream at each node.
	Nodes []Stream `json:"nodes"`
}

// StreamQuery selects streams.
type StreamQuery struct {
	// Stream is the ID of the only stream that is wanted.
	Stream string `query:"stream"`
	// Node is the ID of a node that has the streams.
	Node string `query:"node"`
	// Limit is the most streams on a page, 1 to 1000. If zero, 100.
	Limit int `query:"limit"`
	// After is the Next of the page ahead.
	After string `query:"after"`
}

// SessionPage is a part of the sessions of the network.
type SessionPage struct {
	// Sessions are in the order of their nodes, and then of their age, the oldest
	// first.
	Sessions []Session `json:"sessions"`
	// Next is the value of "after" that gets the next page; empty on the last one.
	Next string `json:"next,omitempty"`
	// Silent are nodes that did not answer, whose sessions are missing.
	Silent []string `json:"silent,omitempty"`
}

// Session is a publisher, viewer or downstream node at a node.
type Session struct {
	// ID names the session in the network: the node's name for it, "@", and the
	// node's ID.
	ID     string `json:"id"`
	Node   string `json:"node"`
	Stream string `json:"stream"`
	Action string `json:"action" enum:"publish,play,fetch"`
	// Subject, Grant and Tag are as the node's Authorizer said.
	Subject string `json:"subject,omitempty"`
	Grant   string `json:"grant,omitempty"`
	Tag     string `json:"tag,omitempty"`
	// Peer is the other node of a fetch.
	Peer string `json:"peer,omitempty"`
	// RemoteAddress is that of the client's signaling.
	RemoteAddress string    `json:"remote_address,omitempty"`
	Begun         time.Time `json:"begun"`
	HalfOpen      bool      `json:"half_open"`
	// Viewer is how a viewer is doing.
	Viewer *Viewer `json:"viewer,omitempty"`
}

// Viewer is how a viewer is doing.
type Viewer struct {
	// Layer is that of the video which is sent, and Named the one that the viewer
	// asked for.
	Layer string `json:"layer,omitempty"`
	Named string `json:"named,omitempty"`
	// Paused: its video waits for a keyframe.
	Paused  bool   `json:"paused"`
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
	Resent  uint64 `json:"resent"`
	// Shed counts how often media was left out because the node was behind.
	Shed  uint64  `json:"shed"`
	RTTMs float64 `json:"rtt_ms"`
	Loss  float64 `json:"loss"`
}

// SessionQuery selects sessions. An empty field selects all.
type SessionQuery struct {
	Stream  string `query:"stream"`
	Node    string `query:"node"`
	Action  string `query:"action" enum:"publish,play,fetch"`
	Tag     string `query:"tag"`
	Subject string `query:"subject"`
	// Limit is the most sessions on a page, 1 to 1000. If zero, 100.
	Limit int `query:"limit"`
	// After is the Next of the page ahead.
	After string `query:"after"`
}
