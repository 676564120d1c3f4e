package admin

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/access"
)

// The ledger has the blocks and revocations of the whole network. Each node keeps all
// of it, puts it into its access list, and asks its neighbors for what it may have
// missed, so that a node which was away or is new learns of it. Of two entries about one
// thing the newer counts; what is taken back is remembered for a while, so that no node
// brings it back.

// entry is a block or a revocation, or that it was taken back.
type entry struct {
	Kind   string    `json:"kind"` // entryBlock or entryRevoke
	ID     string    `json:"id"`   // the pattern of the streams, or the grant's
	Gone   bool      `json:"gone,omitempty"`
	Reason string    `json:"reason,omitempty"`
	Until  time.Time `json:"until,omitzero"` // zero: for good
	At     time.Time `json:"at"`             // when it was made, by the clock of the node that was asked
}

const (
	entryBlock  = "block"
	entryRevoke = "revoke"
)

const (
	// goneFor is for how long it is remembered that something was taken back.
	goneFor = 24 * time.Hour
	// revokedFor is for how long a grant is revoked if nobody says until when.
	revokedFor = 24 * time.Hour
	// maxEntries bounds the ledger.
	maxEntries = 2000
	// clocksDiffer is how far a node's clock may be ahead of another's.
	clocksDiffer = 2 * time.Minute
	// maxGrant bounds the ID of a grant, in bytes.
	maxGrant = 256
)

type ledger struct {
	list *access.List

	mu      sync.Mutex
	entries map[string]entry // by key
	digest  string           // of all that was noted
}

func (l *ledger) init(list *access.List) { l.list, l.entries = list, map[string]entry{} }

func (e entry) key() string { return e.Kind + " " + e.ID }

// check refuses what cannot be noted, and returns an entry that can.
func (e entry) check(now time.Time) (entry, error) {
	e.Reason = short(e.Reason)
	if e.At.After(now.Add(clocksDiffer)) {
		return e, failed(e.Kind, cdn.ErrInvalid, "The clock of the node that was asked is ahead of this node's by more than "+clocksDiffer.String()+".")
	}
	switch e.Kind {
	case entryBlock:
		if _, err := cdn.ParseStreamPattern(e.ID); err != nil {
			return e, failed(e.Kind, cdn.ErrInvalid, "That is no stream, and no pattern of streams.")
		}
	case entryRevoke:
		if e.ID == "" || len(e.ID) > maxGrant {
			return e, failed(e.Kind, cdn.ErrInvalid, "That is not the ID of a grant.")
		}
		if e.Until.IsZero() {
			e.Until = e.At.Add(revokedFor)
		}
	default:
		return e, failed(e.Kind, cdn.ErrUnsupported, "The node does not know this kind of entry.")
	}
	if e.lapsed(now) {
		return e, failed(e.Kind, cdn.ErrInvalid, "The time until when it lasts is over.")
	}
	return e, nil
}

func (e entry) lapsed(now time.Time) bool {
	if e.Gone {
		return now.Sub(e.At) > goneFor
	}
	return !e.Until.IsZero() && !now.Before(e.Until)
}

// next returns the time to stamp a new change with. It is now, or just after the entry
// that the ledger has for the same block or grant, if a node whose clock is ahead made that.
func (l *ledger) next(e entry, now time.Time) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if known, ok := l.entries[e.key()]; ok && !known.At.Before(now) {
		return known.At.Add(time.Nanosecond)
	}
	return now
}

// put notes an entry and does what it says. It fails with [cdn.ErrSuperseded], and changes
// nothing, if something newer is known of the same thing. What is known already is no error.
func (l *ledger) put(e entry) error {
	if l.list == nil {
		return failed(e.Kind, cdn.ErrUnsupported, "The node has no access list.")
	}
	now := time.Now()
	e, err := e.check(now)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forgetLocked(now)
	known, ok := l.entries[e.key()]
	switch {
	case ok && e.less(known):
		return failed(e.Kind, cdn.ErrSuperseded, "The node knows of a newer change of the same thing. Try again in a few seconds.")
	case ok && !known.less(e):
		return nil
	case !ok && len(l.entries) >= maxEntries:
		return failed(e.Kind, cdn.ErrOverLimit, "There are too many blocks and revocations.")
	}
	if err := l.apply(known, e); err != nil {
		return failed(e.Kind, cdn.ErrInvalid, "The access list of the node does not take it.")
	}
	l.entries[e.key()] = e
	l.digest = ""
	return nil
}

// less reports whether f replaces e. Of two of one moment all nodes take the same.
func (e entry) less(f entry) bool {
	order := e.At.Compare(f.At)
	if order == 0 {
		x, _ := json.Marshal(e)
		y, _ := json.Marshal(f)
		order = strings.Compare(string(x), string(y))
	}
	return order < 0
}

// apply changes the access list as e says, which takes the place of known.
func (l *ledger) apply(known, e entry) error {
	return l.setPolicy(func(p access.Policy) access.Policy { return e.change(p, known) })
}

// setPolicy has change make the policy of what it is now.
func (l *ledger) setPolicy(change func(access.Policy) access.Policy) error {
	for {
		now := l.list.Policy()
		p := change(now)
		p.Version = now.Version
		if _, err := l.list.Set(p); !errors.Is(err, access.ErrConflict) {
			return err
		}
	}
}

// change returns a policy with what e says in place of what known said. What others have
// put into it stays, but for blocks that are taken back.
func (e entry) change(p access.Policy, known entry) access.Policy {
	if e.Kind == entryRevoke {
		p.Rules = slices.DeleteFunc(p.Rules, func(r access.Rule) bool {
			return isRevocation(r) && (sameRule(r, known.rule()) || sameRule(r, e.rule()))
		})
		if !e.Gone {
			p.Rules = slices.Insert(p.Rules, 0, e.rule())
		}
		return p
	}
	p.Blocks = slices.DeleteFunc(p.Blocks, func(b access.Block) bool {
		return b.Streams == e.ID && (e.Gone || sameBlock(b, known.block()) || sameBlock(b, e.block()))
	})
	if !e.Gone {
		p.Blocks = append(p.Blocks, e.block())
	}
	return p
}

func (e entry) rule() access.Rule {
	return access.Rule{Effect: access.Deny, Grant: e.ID, Reason: e.Reason, Until: e.Until}
}

func (e entry) block() access.Block {
	return access.Block{Streams: e.ID, Reason: e.Reason, Until: e.Until}
}

// sameRule compares two rules that are revocations.
func sameRule(a, b access.Rule) bool {
	return a.Grant == b.Grant && a.Reason == b.Reason && a.Until.Equal(b.Until)
}

func sameBlock(a, b access.Block) bool {
	return a.Streams == b.Streams && a.Reason == b.Reason && a.Until.Equal(b.Until)
}

// replace puts a policy into the access list, together with what is in the ledger.
func (l *ledger) replace(p access.Policy) error {
	if l.list == nil {
		return failed("access", cdn.ErrUnsupported, "The node has no access list.")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forgetLocked(time.Now())
	for _, key := range slices.Sorted(maps.Keys(l.entries)) {
		if e := l.entries[key]; !e.Gone {
			p = e.change(p, entry{})
		}
	}
	return l.setPolicy(func(access.Policy) access.Policy { return p })
}

// isRevocation reports whether a rule denies a grant and nothing else.
func isRevocation(r access.Rule) bool {
	return r.Effect == access.Deny && r.Grant != "" && r.Streams == "" && len(r.Actions) == 0 && r.Subject == "" && r.Tag == "" && r.Address == ""
}

func (l *ledger) forgetLocked(now time.Time) {
	for key, e := range l.entries {
		if e.lapsed(now) {
			delete(l.entries, key)
			l.digest = ""
		}
	}
}

// all returns the entries in order, and their digest, by which two nodes see whether
// they have the same.
func (l *ledger) all() (entries []entry, digest string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forgetLocked(time.Now())
	for _, e := range l.entries {
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(x, y entry) int { return cmp.Compare(x.key(), y.key()) })
	if l.digest == "" {
		b, _ := json.Marshal(entries) // they always can be
		sum := sha256.Sum256(b)
		l.digest = hex.EncodeToString(sum[:])
	}
	return entries, l.digest
}

// blocks are the blocks in force, those of the configuration too.
func (l *ledger) blocks() (all []access.Block) {
	if l.list == nil {
		return nil
	}
	return l.list.Policy().Blocks
}

// revocations are those in force.
func (l *ledger) revocations() (all []access.Rule) {
	if l.list == nil {
		return nil
	}
	return slices.DeleteFunc(l.list.Policy().Rules, func(r access.Rule) bool { return !isRevocation(r) })
}
