// Package replica is what the directories on engines have in common: the form in which
// announcements are stored and sent, and a copy of them that this node judges by its
// own clock.
//
// An engine here is a message broker or a database that carries announcements between
// nodes, such as NATS or Redis. Nothing that an engine says about time or order is
// relied on. A [Set] counts an announcement from when it first came here, for the time
// that the announcement itself gives, and never twice: a TTL that is not kept, a value
// that comes back after a restart, and a message that is delivered again change
// nothing. What the engine has to do is to pass on what it is given, soon and mostly in
// order.
package replica

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/deltacdn/delta/cdn"
)

const (
	// Version is the version of the JSON that a [Value] is written as. It rises only
	// when older readers would misread what is written: fields that a reader does not
	// know are passed over.
	Version = 1
	// MaxValue is the greatest length of a value's JSON, in bytes.
	MaxValue = 16 << 10
	// MaxLease is the longest lease. A longer one is cut to it.
	MaxLease = 24 * time.Hour
	// MaxSeq is the greatest sequence number.
	MaxSeq = math.MaxInt64
)

// ErrAway says that an engine does not answer, and so takes no announcement. It wraps
// [cdn.ErrPeerLost]. What was known of other nodes still serves.
var ErrAway = fmt.Errorf("the directory's engine is away: %w", cdn.ErrPeerLost)

// A Key names what an announcement is about: a stream at a node, or, without a stream,
// the node itself. Of each key the announcement with the highest sequence number counts.
type Key struct {
	Stream cdn.StreamID
	Node   cdn.NodeID
}

// A Value is one announcement. Exactly one of Entry, Node, Gone and Seen is set.
type Value struct {
	// Seq is the announcement's number, from 1 to [MaxSeq]. It rises with each
	// announcement of the same node, also over restarts of that node: nodes take it
	// from their clocks ([Set.Next]). Numbers of different nodes are not compared.
	Seq uint64
	// Lease is how long the announcement counts, from when it is received; of a Gone,
	// how long it is worth keeping. It is written in whole milliseconds, rounded up.
	Lease time.Duration

	// Entry: a node has a stream.
	Entry *cdn.Entry
	// Node: a node is there.
	Node *cdn.NodeEntry
	// Gone: a node has a stream no more, or is leaving.
	Gone *Gone
	// Seen names a node of which Seq has been seen. It is an objection: the node has
	// announced something with a lower number, as it does when its clock was set back
	// while it was down, and is asked to use higher ones. It has no lease.
	Seen cdn.NodeID
}

// Gone withdraws what a node announced.
type Gone struct {
	Stream cdn.StreamID // "": the node itself
	Node   cdn.NodeID
	// Epoch is the withdrawn entry's: an entry of another epoch stays. It does not
	// matter for the node itself.
	Epoch uint64
}

// Key returns what v is about; the zero Key for an objection.
func (v Value) Key() Key {
	switch {
	case v.Entry != nil:
		return Key{v.Entry.Stream, v.Entry.Node}
	case v.Node != nil:
		return Key{"", v.Node.Node}
	case v.Gone != nil:
		return Key{v.Gone.Stream, v.Gone.Node}
	}
	return Key{}
}

// A valueJSON is a [Value] as it is stored and sent. The sequence number is text, since
// it is greater than what JSON numbers hold elsewhere.
type valueJSON struct {
	Version int             `json:"v"`
	Seq     uint64          `json:"seq,string"`
	Lease   int64           `json:"lease_ms,omitempty"`
	Entry   json.RawMessage `json:"entry,omitempty"`
	Node    json.RawMessage `json:"node,omitempty"`
	Gone    *goneJSON       `json:"gone,omitempty"`
	Seen    cdn.NodeID      `json:"seen,omitempty"`
}

type goneJSON struct {
	Stream cdn.StreamID `json:"stream,omitempty"`
	Node   cdn.NodeID   `json:"node"`
	Epoch  uint64       `json:"epoch,string"`
}

// Encode returns v's JSON, on one line. An entry whose JSON would be longer than
// [MaxValue] is written without its tracks, which nobody needs to find a stream. Encode
// fails with an error wrapping [cdn.ErrInvalid] for what [Decode] would refuse, and for
// what is still too long.
func (v Value) Encode() ([]byte, error) {
	b, err := v.encode()
	if err == nil && len(b) > MaxValue && v.Entry != nil && len(v.Entry.Tracks) > 0 {
		short := *v.Entry
		short.Tracks = nil
		v.Entry = &short
		b, err = v.encode()
	}
	switch {
	case err != nil:
		return nil, err
	case len(b) > MaxValue:
		return nil, fmt.Errorf("%w: announcement of %d bytes, %d are allowed", cdn.ErrInvalid, len(b), MaxValue)
	}
	return b, nil
}

func (v Value) encode() ([]byte, error) {
	if err := v.check(); err != nil {
		return nil, err
	}
	j := valueJSON{Version: Version, Seq: v.Seq, Lease: milliseconds(v.Lease), Seen: v.Seen}
	var err error
	switch {
	case v.Entry != nil:
		j.Entry, err = json.Marshal(v.Entry)
	case v.Node != nil:
		j.Node, err = json.Marshal(v.Node)
	case v.Gone != nil:
		j.Gone = &goneJSON{v.Gone.Stream, v.Gone.Node, v.Gone.Epoch}
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", cdn.ErrInvalid, err)
	}
	return json.Marshal(j)
}

// Decode reads the JSON of a value. It fails with an error wrapping [cdn.ErrInvalid]
// for what is malformed or longer than [MaxValue], and [cdn.ErrUnsupported] for a later
// version. The value shares no memory with b.
func Decode(b []byte) (Value, error) {
	v, err := decode(b)
	if err == nil || errors.Is(err, cdn.ErrInvalid) || errors.Is(err, cdn.ErrUnsupported) {
		return v, err
	}
	return Value{}, fmt.Errorf("%w: %w", cdn.ErrInvalid, err)
}

func decode(b []byte) (Value, error) {
	if len(b) > MaxValue {
		return Value{}, fmt.Errorf("%w: announcement of %d bytes, %d are allowed", cdn.ErrInvalid, len(b), MaxValue)
	}
	var j valueJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return Value{}, err
	}
	if j.Version != Version {
		return Value{}, fmt.Errorf("%w: announcement of version %d, this is version %d", cdn.ErrUnsupported, j.Version, Version)
	}
	v := Value{Seq: j.Seq, Lease: time.Duration(min(j.Lease, MaxLease.Milliseconds())) * time.Millisecond, Seen: j.Seen}
	if len(j.Entry) > 0 {
		v.Entry = &cdn.Entry{}
		if err := json.Unmarshal(j.Entry, v.Entry); err != nil {
			return Value{}, err
		}
	}
	if len(j.Node) > 0 {
		v.Node = &cdn.NodeEntry{}
		if err := json.Unmarshal(j.Node, v.Node); err != nil {
			return Value{}, err
		}
	}
	if j.Gone != nil {
		v.Gone = &Gone{j.Gone.Stream, j.Gone.Node, j.Gone.Epoch}
	}
	if err := v.check(); err != nil {
		return Value{}, err
	}
	return v, nil
}

// check returns what is wrong with v, nil: nothing.
func (v Value) check() error {
	kinds := 0
	for _, is := range []bool{v.Entry != nil, v.Node != nil, v.Gone != nil, v.Seen != ""} {
		if is {
			kinds++
		}
	}
	switch k := v.Key(); {
	case kinds != 1:
		return fmt.Errorf("%w: announcement of %d kinds, want one", cdn.ErrInvalid, kinds)
	case v.Seq < 1 || v.Seq > MaxSeq:
		return fmt.Errorf("%w: announcement with the number %d", cdn.ErrInvalid, v.Seq)
	case v.Seen != "":
		_, err := cdn.ParseNodeID(string(v.Seen))
		return err
	case v.Lease <= 0:
		return fmt.Errorf("%w: announcement for %v", cdn.ErrInvalid, v.Lease)
	default:
		return k.check(v.Entry != nil)
	}
}

func (k Key) check(stream bool) error {
	if k.Stream != "" || stream {
		if _, err := cdn.ParseStreamID(string(k.Stream)); err != nil {
			return err
		}
	}
	_, err := cdn.ParseNodeID(string(k.Node))
	return err
}

// milliseconds returns a lease as it is written. One of less than a millisecond is
// still a lease.
func milliseconds(d time.Duration) int64 {
	return int64((min(d, MaxLease) + time.Millisecond - 1) / time.Millisecond)
}
