package cdn

import (
	"fmt"
	"iter"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"unicode"

	"github.com/deltacdn/delta/internal/endpoint/halfopen"
)

// Limits bound what a node takes on. What goes over one is refused with a [*LimitError].
// docs/limits.md has them in one table.
//
// Places for sessions are shared out by the address that the client's signaling
// comes from ([AuthRequest].RemoteAddr), for IPv6 by its /64. One address may have
// all of them while there is room. When there is none, the oldest half-open
// session of the address that has the most gives way: one whose client has not
// yet proved that it receives what is sent to it. A session that has proved that
// is never ended for another. When such sessions fill Sessions and one address has
// more than a quarter of them, that address is refused, and others get up to a
// quarter of Sessions more. What has no address, as in-process signaling, and
// nodes that are trusted have no share, are never half-open, and no limit of an
// address holds for them.
type Limits struct {
	Sessions int // publishers, viewers and downstream nodes. If zero, 5000
	HalfOpen int // of Sessions, those whose client has not proved its address; publishers have half of Streams at most. If zero, 1000
	Streams  int // If zero, 1000
	Links    int // with other nodes, whoever dials. If zero, 1000
	Tracks   int // of one stream. If zero, 8
	Layers   int // of one track. If zero, 8

	// Of each of these there is none but those above if it is zero.

	Publishers        int // sessions of publishers
	Viewers           int // sessions of viewers
	Nodes             int // sessions of downstream nodes, one for each stream that they fetch
	StreamViewers     int // sessions of viewers of one stream
	StreamNodes       int // sessions of downstream nodes of one stream
	AddressPublishers int // sessions of publishers of one address
	AddressViewers    int // sessions of viewers of one address

	// PublisherBitrate and ViewerBitrate bound each session of that kind as
	// [Grant].MaxBitrate does, in payload bits a second; the lesser of the two counts.
	PublisherBitrate int
	ViewerBitrate    int
}

// defaultLimits are what stands for zeros.
var defaultLimits = Limits{Sessions: 5000, HalfOpen: 1000, Streams: 1000, Links: 1000, Tracks: 8, Layers: 8}

// withDefaults returns the limits as they are in force, or an error wrapping [ErrInvalid].
func (l Limits) withDefaults() (Limits, error) {
	v, def := reflect.ValueOf(&l).Elem(), reflect.ValueOf(defaultLimits)
	for i := range v.NumField() {
		switch n := v.Field(i).Int(); {
		case n < 0:
			return l, fmt.Errorf("%w: limit %s is %d", ErrInvalid, limitName(v.Type().Field(i).Name), n)
		case n == 0:
			v.Field(i).Set(def.Field(i))
		}
	}
	return l, nil
}

// limitName returns the name of a limit in configurations and messages.
func limitName(field string) string {
	var b strings.Builder
	for i, r := range field {
		if unicode.IsUpper(r) && i > 0 {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// A LimitError says which limit of a node is reached. It wraps [ErrOverLimit].
type LimitError struct {
	// Name is that of the field of [Limits] in lower case with underscores, such as
	// "stream_viewers"; or "max_bitrate", of a [Grant]; or "capacity_packets", of [Capacity].
	Name  string
	Limit int
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("%v: the limit %s of %d is reached", ErrOverLimit, e.Name, e.Limit)
}

// Unwrap returns [ErrOverLimit].
func (e *LimitError) Unwrap() error { return ErrOverLimit }

// Limits returns what the node takes on, with defaults in place of zeros.
func (n *Node) Limits() Limits { return *n.limits.Load() }

// MaxBitrate returns how many payload bits a second the session may send, of a publisher,
// or receive, of a viewer, and the name of the limit: the grant's, "max_bitrate", or one
// of the node's [Limits]. 0: there is no bound. For other nodes there never is, since
// they fetch for many. It may change while the session runs.
func (a *Admission) MaxBitrate() (bits int, limit string) {
	limits := a.node.limits.Load()
	switch a.request.Action {
	case ActionPublish:
		bits, limit = limits.PublisherBitrate, "publisher_bitrate"
	case ActionPlay:
		bits, limit = limits.ViewerBitrate, "viewer_bitrate"
	case ActionFetch:
		return 0, ""
	}
	if own := a.grant.MaxBitrate; own > 0 && (bits == 0 || own < bits) {
		return own, "max_bitrate"
	}
	if bits == 0 {
		return 0, ""
	}
	return bits, limit
}

// SetLimits changes what the node takes on. Zeros stand for the defaults, as in [Config].
// What the node has already stays, if it is more than that, but for bitrates, which
// sessions that run are held to, too. Tracks and Layers count for streams that begin
// later. It fails with [ErrInvalid] for a negative limit, and changes nothing then.
func (n *Node) SetLimits(l Limits) error {
	l, err := l.withDefaults()
	if err != nil {
		return &Error{Op: "set limits", Err: err}
	}
	n.limits.Store(&l)
	n.noteLoad()
	return nil
}

// A tally names what sessions are counted by: all of an action, those of one stream, or
// those of one address, which may be the zero one.
type tally struct {
	by     tallyKind
	action Action
	stream StreamID
	source netip.Prefix
}

type tallyKind int

const (
	byAction tallyKind = iota
	byStream
	byAddress
)

func (a *Admission) ofAction() tally { return tally{by: byAction, action: a.request.Action} }

func (a *Admission) ofStream() tally {
	return tally{by: byStream, action: a.request.Action, stream: a.request.Stream}
}

func (a *Admission) ofAddress() tally {
	return tally{by: byAddress, action: a.request.Action, source: a.source}
}

// tallies are those that the session counts for.
func (a *Admission) tallies() []tally {
	all := []tally{a.ofAction(), a.ofStream()}
	if a.shared {
		all = append(all, a.ofAddress())
	}
	return all
}

func (a *Admission) countsFor(t tally) bool { return slices.Contains(a.tallies(), t) }

// A bound is a limit of a tally.
type bound struct {
	tally
	*LimitError
}

// bounds are what the session must not exceed.
func (l Limits) bounds(a *Admission) (all []bound) {
	add := func(t tally, name string, limit int) {
		if limit > 0 {
			all = append(all, bound{t, &LimitError{name, limit}})
		}
	}
	whole, stream, address := a.ofAction(), a.ofStream(), a.ofAddress()
	switch a.request.Action {
	case ActionPublish:
		add(whole, "publishers", l.Publishers)
		if a.shared {
			add(address, "address_publishers", l.AddressPublishers)
		}
	case ActionPlay:
		add(whole, "viewers", l.Viewers)
		add(stream, "stream_viewers", l.StreamViewers)
		if a.shared {
			add(address, "address_viewers", l.AddressViewers)
		}
	case ActionFetch:
		add(whole, "nodes", l.Nodes)
		add(stream, "stream_nodes", l.StreamNodes)
	}
	return all
}

// placeLocked returns which sessions lose their places to a: half-open ones, and none if
// there is room. It fails with a [*LimitError] if there is no place.
func (all *admissions) placeLocked(a *Admission, l Limits) (losers []*Admission, err error) {
	loser, err := all.generalPlaceLocked(a, l)
	if err != nil {
		return nil, err
	}
	if loser != nil {
		losers = append(losers, loser)
	}
	for _, b := range l.bounds(a) {
		holds := func(x *Admission) bool { return x.countsFor(b.tally) }
		n := all.tallies[b.tally]
		for _, x := range losers {
			if holds(x) {
				n--
			}
		}
		if n < b.Limit {
			continue
		}
		loser, ok := halfopen.Oldest(all.halfOpenLocked(func(x *Admission) bool {
			return holds(x) && !slices.Contains(losers, x)
		}), (*Admission).slot, a.slot())
		if !ok {
			return nil, b.LimitError
		}
		losers = append(losers, loser)
	}
	return losers, nil
}

// generalPlaceLocked is placeLocked for the limits of the node as a whole. Half-open
// publishers have no more than half of the streams that the node may have, since each may
// have made one.
func (all *admissions) generalPlaceLocked(a *Admission, l Limits) (loser *Admission, err error) {
	half := a.halfOpenAtFirst()
	oldest := func(from iter.Seq[*Admission], reached *LimitError) (*Admission, error) {
		loser, ok := halfopen.Oldest(from, (*Admission).slot, a.slot())
		if !ok {
			return nil, reached
		}
		return loser, nil
	}
	if publishers := all.halfOpenLocked((*Admission).publishes); half && a.publishes() && count(publishers) >= l.Streams-l.Streams/2 {
		return oldest(publishers, &LimitError{"streams", l.Streams})
	}
	full, crowded := all.count >= l.Sessions, half && len(all.halfOpen) >= l.HalfOpen
	if !full && !crowded {
		return nil, nil
	}
	reached := &LimitError{"sessions", l.Sessions}
	if crowded {
		reached = &LimitError{"half_open", l.HalfOpen}
	}
	if full && !crowded && all.hasReserveLocked(a, l.Sessions) {
		return nil, nil
	}
	loser, err = oldest(maps.Keys(all.halfOpen), reached)
	if err == nil && full && a.hasMoreThanQuarterLocked(l.Sessions) && loser.source != a.source {
		return nil, reached // it takes no place of others
	}
	return loser, err
}

func (a *Admission) publishes() bool { return a.request.Action == ActionPublish }

// halfOpenLocked are the half-open sessions that match.
func (all *admissions) halfOpenLocked(match func(*Admission) bool) iter.Seq[*Admission] {
	return func(yield func(*Admission) bool) {
		for a := range all.halfOpen {
			if match(a) && !yield(a) {
				return
			}
		}
	}
}

func count(all iter.Seq[*Admission]) (n int) {
	for range all {
		n++
	}
	return n
}

// hasReserveLocked reports whether a session may exceed the limit. While one source
// has more than a quarter of all places, the others share a reserve of a quarter
// more, so that it cannot lock them out.
func (all *admissions) hasReserveLocked(a *Admission, limit int) bool {
	if a.hasMoreThanQuarterLocked(limit) || all.count >= limit+limit/4 {
		return false
	}
	for _, n := range all.sources {
		if 4*n > limit {
			return true
		}
	}
	return false
}

// hasMoreThanQuarterLocked reports whether the session's source has more than a
// quarter of all places.
func (a *Admission) hasMoreThanQuarterLocked(limit int) bool {
	return a.shared && 4*a.node.admissions.sources[a.source] > limit
}
