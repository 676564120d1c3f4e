package replica

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/deltacdn/delta/cdn"
)

const (
	maxObjections = 1 << 10
	// objectWithin is the longest time after which somebody objects.
	objectWithin = 200 * time.Millisecond
	// objectApart is the time between two objections about one node.
	objectApart = time.Second
)

// Objections says when to object. A node whose clock was set back while it was down
// announces itself with lower numbers than others know of it, and is not believed. Each
// of those who know better would object after a random time, unless another one has done
// so by then; the node goes on from the number that it is told ([Set.Raise]).
//
// The zero value is ready to use. It is not safe for concurrent use.
type Objections struct {
	about map[cdn.NodeID]objection
}

// An objection about a node is to be sent at a time, or was sent then by anybody.
type objection struct {
	at   time.Time
	seq  uint64
	sent bool
}

// Old notes that a key has just been announced with a lower number than seq.
func (os *Objections) Old(k Key, seq uint64) {
	now := time.Now()
	o, known := os.about[k.Node]
	switch {
	case known && !o.sent:
		o.seq = max(o.seq, seq)
		os.about[k.Node] = o
	case known && seq <= o.seq && now.Sub(o.at) < objectApart:
	default:
		os.note(k.Node, objection{at: now.Add(rand.N(objectWithin)), seq: seq})
	}
}

// Heard notes that somebody has objected.
func (os *Objections) Heard(v Value) {
	if o, known := os.about[v.Seen]; !known || o.seq <= v.Seq {
		os.note(v.Seen, objection{at: time.Now(), seq: v.Seq, sent: true})
	}
}

func (os *Objections) note(node cdn.NodeID, o objection) {
	if os.about == nil {
		os.about = make(map[cdn.NodeID]objection)
	}
	if _, known := os.about[node]; known || len(os.about) < maxObjections {
		os.about[node] = o
	}
}

// Due returns the objections to be sent now, and in what time to ask again.
func (os *Objections) Due() (send []Value, next time.Duration) {
	now, next := time.Now(), time.Hour
	for node, o := range os.about {
		switch wait := o.at.Sub(now); {
		case o.sent:
			if -wait > objectApart {
				delete(os.about, node)
			}
		case wait > 0:
			next = min(next, wait)
		default:
			os.about[node] = objection{at: now, seq: o.seq, sent: true}
			send = append(send, Value{Seq: o.seq, Seen: node})
		}
	}
	slices.SortFunc(send, func(a, b Value) int { return cmp.Compare(a.Seen, b.Seen) })
	return send, next
}
