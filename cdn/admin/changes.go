package admin

import "time"

// Outcome says what a change did at each node that was asked to make it.
type Outcome struct {
	// Results are in the order of the nodes' IDs.
	Results []Result `json:"results"`
}

// Result is what a change did at one node.
type Result struct {
	Node string `json:"node"`
	OK   bool   `json:"ok"`
	// Ended is the number of sessions that the change ended.
	Ended int `json:"ended"`
	// Problem is a sentence that says why the node has not made the change.
	Problem string `json:"problem,omitempty"`
}

// Block is the body of POST /streams/{id}/block.
type Block struct {
	// Reason is for operators: clients are not shown it.
	Reason string `json:"reason,omitempty"`
	// Until is when the block ends by itself. Absent: it does not.
	Until *time.Time `json:"until,omitempty"`
}

// Revocation is the body of POST /grants/{id}/revoke.
type Revocation struct {
	// Reason is for operators: clients are not shown it.
	Reason string `json:"reason,omitempty"`
	// Until is when the grant would have expired anyway, after which the nodes need not
	// remember the revocation. Absent: they do for a day.
	Until *time.Time `json:"until,omitempty"`
}

// Drain is the body of POST /nodes/{id}/drain.
type Drain struct {
	// TimeoutSeconds is when the sessions that are left are ended. 0: they may stay
	// for as long as they like.
	TimeoutSeconds float64 `json:"timeout_seconds,omitempty"`
}

// BlockList is the answer to GET /blocks.
type BlockList struct {
	Blocks      []BlockedStream `json:"blocks"`
	Revocations []RevokedGrant  `json:"revocations"`
}

// BlockedStream is a block that is in force.
type BlockedStream struct {
	// Stream is the ID of a stream, or a pattern of such.
	Stream string     `json:"stream"`
	Reason string     `json:"reason,omitempty"`
	Until  *time.Time `json:"until,omitempty"`
}

// RevokedGrant is a revocation that is in force.
type RevokedGrant struct {
	Grant  string     `json:"grant"`
	Reason string     `json:"reason,omitempty"`
	Until  *time.Time `json:"until,omitempty"`
}

// Problem is the body of an error (RFC 9457).
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	// Detail is a sentence for people.
	Detail string `json:"detail,omitempty"`
	// Code is for programs, and never changes.
	Code string `json:"code"`
}
