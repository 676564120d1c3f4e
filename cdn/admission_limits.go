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

// Limits bound what a node takes on. A request that would exceed a limit is refused with
// a [*LimitError]. docs/limits.md has all limits in one table.
//
// Addresses share the places for sessions. A session's address is the one that its
// signaling comes from ([AuthRequest].RemoteAddr); for IPv6 it is the /64. One address may
// have all places while there is room. When there is none, a new session takes the place
// of the oldest half-open session of the address that has the most. A session is half-open
// until its client has proved that it receives what is sent to it; from then on it is
// never ended for another. If such sessions fill Sessions, and one address has more than a
// quarter of them, that address is refused, and others get up to a quarter of Sessions
// more. Sessions without an address (in-process signaling) and those of trusted nodes have
// no share and are never half-open, and limits for addresses do not hold for them.
type Limits struct {
	Sessions int // publishers, viewers and downstream nodes. If zero, 5000
	HalfOpen int // of Sessions, those whose client has not proved its address; publishers have half of Streams at most. If zero, 1000
	Streams  int // If zero, 1000
	Links    int // with other nodes, whoever dials. If zero, 1000
	Tracks   int // of one stream. If zero, 8
	Layers   int // of one track. If zero, 8

	// If one of these is zero, only the limits above hold.

	Publishers        int // sessions of publishers
	Viewers           int // sessions of viewers
	Nodes             int // sessions of downstream nodes, one for each stream that they fetch
	StreamViewers     int // sessions of viewers of one stream
	StreamNodes       int // sessions of downstream nodes of one stream
	AddressPublishers int // sessions of publishers of one address
	AddressViewers    int // sessions of viewers of one address

	// PublisherBitrate and ViewerBitrate bound each session of that kind as
	// [Grant].MaxBitrate does, in payload bits a second. The lower of the two counts. If
	// zero, there is no bound.
	PublisherBitrate int
	ViewerBitrate    int
}

// defaultLimits replace zeros.
var defaultLimits = Limits{Sessions: 5000, HalfOpen: 1000, Streams: 1000, Links: 1000, Tracks: 8, Layers: 8}

// withDefaults returns the limits with defaults in place of zeros. It fails with
// [ErrInvalid] if one is negative.
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
	// Name is the field of [Limits] in lower case with underscores, such as
	// "stream_viewers", or "max_bitrate" of a [Grant], or "capacity_packets" of [Capacity].
	Name  string
	Limit int
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("%v: the limit %s of %d is reached", ErrOverLimit, e.Name, e.Limit)
}

// Unwrap returns [ErrOverLimit].
func (e *LimitError) Unwrap() error { return ErrOverLimit }

// Limits returns the node's limits, with defaults in place of zeros.
func (n *Node) Limits() Limits { return *n.limits.Load() }

// MaxBitrate returns the bitrate that a publisher may send, or that a viewer may be sent,
// in payload bits a second, and the name of the limit: "max_bitrate" of the grant, or one
// of the node's [Limits]. 0 means no bound; other nodes never have one, since they fetch
// for many. It may change while the session runs.
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

// SetLimits replaces the node's limits. Zeros stand for the defaults, as in [Config].
// Nothing is ended if the node exceeds a new limit; only bitrates hold for running
// sessions, too. Tracks and Layers hold for streams that begin later. It fails with
// [ErrInvalid] if a limit is negative, and then changes nothing.
func (n *Node) SetLimits(l Limits) error {
	l, err := l.withDefaults()
	if err != nil {
		return &Error{Op: "set limits", Err: err}
	}
	n.limits.Store(&l)
	n.noteLoad()
	return nil
}

// A tally names sessions that are counted together: all of an action, or those of an
// action and a stream, or those of an action and an address.
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

// tallies returns the tallies in which the session counts.
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

// bounds returns the limits that hold for the session.
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

// placeLocked returns the half-open sessions that lose their places to a; none if there is
// room. It fails with a [*LimitError] if there is no place.
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
// publishers get at most half of the streams that the node may have, since each of them
// may have made one.
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
		return nil, reached // it must not take the place of another address
	}
	return loser, err
}

func (a *Admission) publishes() bool { return a.request.Action == ActionPublish }

// halfOpenLocked returns the half-open sessions that match.
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
