package web

import (
	"slices"
	"time"
)

// Status is what a node tells about itself: the body of /status.json, and all
// that the pages know.
type Status struct {
	Node Node `json:"node"`
	// CanPublish and CanPlay tell whether this node answers at /whip/ and at
	// /whep/. Links to /publish and /play appear accordingly.
	CanPublish bool `json:"can_publish"`
	CanPlay    bool `json:"can_play"`
	// CanKill tells that the node answers at /kill and /restore: see [Switches].
	CanKill bool `json:"can_kill"`
	// Network tells who is shown the whole network, at /api/v1/network, as package admin
	// does it.
	Network Audience `json:"network"`
	// Private: whoever asks for the status may be a stranger. It is told what the node and
	// its peers are, and of streams only of the one that it names in the query, by
	// "stream": no links, fetches, sessions and totals.
	Private bool `json:"-"`
	// Site is the base URL of the node's pages for publishers and viewers, where this
	// console is served by another listener than those. Empty: it is not.
	Site string `json:"site,omitempty"`
	// Peers are the other nodes whose pages can be visited.
	Peers []Peer `json:"peers"`
	// Siblings are the base URLs of the other nodes that the player may be sent to, when
	// this one is full or leaves: a page may connect to those that were known when it was
	// loaded. A node that viewers are sent to has to know where they come from as well.
	// Pages do not show them.
	Siblings []string `json:"-"`
	// Domains stand for siblings that are yet to be started: "https://*.example.com". They
	// are the operator's, and must not come from other nodes.
	Domains  []string `json:"-"`
	Links    []Link   `json:"links"`
	Fetches  []Fetch  `json:"fetches"`
	Streams  []Stream `json:"streams"`
	Sessions Sessions `json:"sessions"`
	Totals   Totals   `json:"totals"`
	// Time is the node's clock. If zero, the time of the answer.
	Time time.Time `json:"time"`
}

// Audience is who is shown the whole network.
type Audience string

// The audiences.
const (
	Nobody    Audience = ""
	Operators Audience = "operators" // with a token, or on the node's own machine
	Everybody Audience = "everybody" // who sees the pages
)

// Node is the node that answers.
type Node struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Role Role   `json:"role"`
	URL  string `json:"url"` // of its pages, such as "http://127.0.0.1:8080"
	// Since is when it was started.
	Since time.Time `json:"since"`
}

// Role is what a node does in the network. A node that does several things
// has the one that stands nearest to the publisher.
type Role string

// The roles.
const (
	Origin Role = "origin"
	Relay  Role = "relay"
	Edge   Role = "edge"
)

// Peer is another node.
type Peer struct {
	Name string `json:"name"`
	Role Role   `json:"role"`
	URL  string `json:"url"`
	// Linked tells that a link to the node stands, and RTTMillis how long its
	// round trip takes, in milliseconds; 0 if unknown.
	Linked    bool    `json:"linked"`
	RTTMillis float64 `json:"rtt_ms,omitempty"`
	// Killed tells that it was, and can be restored.
	Killed bool `json:"killed,omitempty"`
}

// Link is a link with another node that is up.
type Link struct {
	Peer string    `json:"peer"`          // name of the other node
	URL  string    `json:"url,omitempty"` // that was dialled; "" where the peer did
	Up   time.Time `json:"up"`            // since when
	// RTTMillis is the round trip in milliseconds, and Loss the share of probes
	// that were not answered.
	RTTMillis float64 `json:"rtt_ms"`
	Loss      float64 `json:"loss"`
	// The bitrates are of the last second or more.
	BitrateIn  int64    `json:"bitrate_in_bps"`
	BitrateOut int64    `json:"bitrate_out_bps"`
	BytesIn    uint64   `json:"bytes_in"`
	BytesOut   uint64   `json:"bytes_out"`
	Fetched    []string `json:"fetched"` // streams that come by it
	Served     []string `json:"served"`  // streams that go out by it
}

// Fetch is how a stream comes from another node.
type Fetch struct {
	Stream string `json:"stream"`
	// Node is the one that it comes from, URL its address, "" while there is none.
	Node string `json:"node"`
	URL  string `json:"url"`
	// Standby is the node that would be next, "" if there is none.
	Standby    string `json:"standby,omitempty"`
	StandbyURL string `json:"standby_url,omitempty"`
	// Since is when it went over to the node, Changes how often it has done so.
	Since   time.Time `json:"since"`
	Changes int       `json:"changes"`
	Wanted  int       `json:"wanted"` // by how many it is wanted here
}

// Stream is a stream that is at the node.
type Stream struct {
	ID string `json:"id"`
	// Source is "published here", or "from" and the node that it is fetched from.
	Source string `json:"source"`
	// Path is the nodes that it comes through, the origin first, without this one.
	Path []string `json:"path"`
	// Delays are how long media takes over each hop, in milliseconds: from each node of
	// Path to the next one, and from the last to this one. Empty: not known.
	Delays []float64 `json:"delays_ms"`
	// State is a word for people, such as "live", "fetching" or "ended".
	State       string    `json:"state"`
	Since       time.Time `json:"since"`
	Tracks      []Track   `json:"tracks"`
	Uplink      *Uplink   `json:"uplink,omitempty"` // nil: it is published elsewhere
	Viewers     int       `json:"viewers"`
	Downstreams int       `json:"downstreams"` // nodes that fetch it from this one
}

// Uplink is what the node sees of the path from a stream's publisher to it.
type Uplink struct {
	Narrow  bool  `json:"narrow"` // it does not carry what the publisher has to send
	Bitrate int64 `json:"bitrate_bps"`
	// Before is the bitrate ahead of the trouble; 0: not known, or there is none.
	Before      int64    `json:"before_bps,omitempty"`
	Loss        float64  `json:"loss"` // the part of the packets that is lost
	QueueMillis float64  `json:"queue_ms"`
	Layers      []string `json:"layers,omitempty"`  // that come
	Missing     []string `json:"missing,omitempty"` // that do not
}

// Track is a track of a stream.
type Track struct {
	Kind   string  `json:"kind"`  // "audio" or "video"
	Codec  string  `json:"codec"` // "VP8", "opus"
	Layers []Layer `json:"layers"`
}

// Layer is an RTP encoding of a track. Counts are since the stream began here.
type Layer struct {
	Name      string `json:"name"` // simulcast RID, "" if the track has but one layer
	Bitrate   int64  `json:"bitrate_bps"`
	Packets   uint64 `json:"packets"`
	Keyframes uint64 `json:"keyframes"`
	Lost      uint64 `json:"lost"` // packets that never came
}

// Sessions counts what is connected.
type Sessions struct {
	Publishers int `json:"publishers"`
	Viewers    int `json:"viewers"`
	Links      int `json:"links"`
}

// Totals sums up media since the node began; the bitrates are of now.
type Totals struct {
	BitrateIn  int64  `json:"bitrate_in_bps"`
	BitrateOut int64  `json:"bitrate_out_bps"`
	PacketsIn  uint64 `json:"packets_in"`
	PacketsOut uint64 `json:"packets_out"`
	BytesIn    uint64 `json:"bytes_in"`
	BytesOut   uint64 `json:"bytes_out"`
}

// filled returns s with empty lists for those that are nil, so that a page
// never meets null, and with a time.
func (s Status) filled(now time.Time) Status {
	if s.Time.IsZero() {
		s.Time = now
	}
	s.Peers = append([]Peer{}, s.Peers...)
	s.Streams = append([]Stream{}, s.Streams...)
	s.Fetches = append([]Fetch{}, s.Fetches...)
	s.Links = append([]Link{}, s.Links...)
	for i := range s.Links {
		link := &s.Links[i]
		link.Fetched = append([]string{}, link.Fetched...)
		link.Served = append([]string{}, link.Served...)
	}
	for i := range s.Streams {
		stream := &s.Streams[i]
		stream.Path = append([]string{}, stream.Path...)
		stream.Delays = append([]float64{}, stream.Delays...)
		stream.Tracks = append([]Track{}, stream.Tracks...)
		for j := range stream.Tracks {
			track := &stream.Tracks[j]
			track.Layers = append([]Layer{}, track.Layers...)
		}
	}
	return s
}

// forAnybody returns what a stranger may know, who has named a stream.
func (s Status) forAnybody(stream string) Status {
	all := s.Streams
	s.Links, s.Fetches, s.Streams, s.Sessions, s.Totals = []Link{}, []Fetch{}, []Stream{}, Sessions{}, Totals{}
	for _, one := range all {
		if one.ID == stream {
			s.Streams = append(s.Streams, Stream{ID: one.ID, State: one.State, Since: one.Since, Path: []string{}, Delays: []float64{}, Tracks: one.Tracks})
		}
	}
	s.Peers = slices.Clone(s.Peers)
	for i, p := range s.Peers {
		s.Peers[i] = Peer{Name: p.Name, Role: p.Role, URL: p.URL}
	}
	return s
}
