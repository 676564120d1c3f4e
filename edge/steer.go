package edge

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/route"
	"github.com/deltacdn/delta/internal/route/nearby"
	"github.com/deltacdn/delta/signal"
)

// A Steerer says which node is to serve a viewer instead of this one. Over HTTP the viewer
// is redirected there (307, RFC 9110 section 15.4.8).
type Steerer interface {
	// Steer returns the base URL of another node's signaling ([cdn.Entry].URL), or "" if
	// none is better, and a few words on why, for the log. It is called concurrently, and
	// the viewer waits for it.
	Steer(ctx context.Context, v Visit) (url, why string)
}

// A Visit is what a [Steerer] decides about.
type Visit struct {
	Stream     cdn.StreamID
	RemoteAddr string // host:port of the viewer's signaling; "" for a viewer that is here already
	Reason     SteerReason
}

// A SteerReason says why a [Steerer] is asked.
type SteerReason int

// The reasons.
const (
	// SteerArriving: a viewer has come, and there is room for it here.
	SteerArriving SteerReason = iota
	// SteerFull: a viewer has come for whom there is no room.
	SteerFull
	// SteerLeaving: the node is leaving ([cdn.Node.Drain]), and the viewer has come or
	// is here.
	SteerLeaving
)

func (r SteerReason) String() string {
	switch r {
	case SteerFull:
		return "full"
	case SteerLeaving:
		return "leaving"
	case SteerArriving:
	}
	return "arriving"
}

// SteerStats count what a [Steerer] answered. They never decrease.
type SteerStats struct {
	Stayed   uint64 // viewers that the Steerer left here
	Arriving uint64 // viewers sent elsewhere though there was room
	Full     uint64 // viewers sent elsewhere because there was no room
	Leaving  uint64 // viewers sent elsewhere because the node is leaving
	Nowhere  uint64 // viewers for whom the Steerer knew no other node
}

type steerCounters struct{ stayed, arriving, full, leaving, nowhere atomic.Uint64 }

func (c *steerCounters) stats() SteerStats {
	return SteerStats{c.stayed.Load(), c.arriving.Load(), c.full.Load(), c.leaving.Load(), c.nowhere.Load()}
}

// steer returns the base URL of the node that a viewer is to go to, "": none.
func (e *Edge) steer(ctx context.Context, v Visit) string {
	if e.config.Steerer == nil {
		return ""
	}
	url, why := e.config.Steerer.Steer(ctx, v)
	switch {
	case url == "" && v.Reason != SteerArriving:
		e.steered.nowhere.Add(1)
	case url == "":
		e.steered.stayed.Add(1)
	case v.Reason == SteerArriving:
		e.steered.arriving.Add(1)
	case v.Reason == SteerFull:
		e.steered.full.Add(1)
	default:
		e.steered.leaving.Add(1)
	}
	e.node.Logger().Debug("a viewer is steered",
		"stream", string(v.Stream), "remote", v.RemoteAddr, "code", v.Reason.String(), "url", url, "why", why)
	return url
}

// elsewhere returns the redirection of a viewer that another node is to serve, nil if none
// is. err is why this node does not; nil: it could.
func (e *Edge) elsewhere(ctx context.Context, v Visit, err error) error {
	url := e.steer(ctx, v)
	if url == "" {
		return nil
	}
	if err == nil {
		err = cdn.ErrOverLimit
	}
	return &signal.RedirectError{URL: url, Err: &cdn.Error{Op: "play", Stream: v.Stream, Err: err}}
}

// refused returns the error for a viewer that was not let in: a redirection, if there is
// no room here and another node is known that has some.
func (e *Edge) refused(ctx context.Context, v Visit, err error) error {
	if !errors.Is(err, cdn.ErrOverLimit) {
		return err
	}
	switch {
	case errors.Is(err, cdn.ErrDraining):
		v.Reason = SteerLeaving
	case e.node.Load() >= 1:
		v.Reason = SteerFull
	default: // the viewer's address has too many sessions, or there is a flood: elsewhere, too
		return err
	}
	if other := e.elsewhere(ctx, v, err); other != nil {
		return other
	}
	return err
}

// Siblings returns a [Steerer] that sends viewers to the other edges in a directory:
// when this node is full or leaving, or so nearly full that another has much more room.
// Of those that have room it takes one of the same group ([cdn.Config].Group), then the
// one that has most room for how near it is. dir has to be a [cdn.NodeDirectory], in
// which the edges announce themselves by [cdn.Config].Directory and URL.
func Siblings(node *cdn.Node, dir cdn.NodeDirectory) (Steerer, error) {
	near, err := nearby.Of(node, dir)
	if err != nil {
		return nil, &cdn.Error{Op: "new steerer", Err: err}
	}
	return &siblings{node, dir, near}, nil
}

type siblings struct {
	node *cdn.Node
	dir  cdn.NodeDirectory
	near *nearby.Map
}

// askWithin bounds how long the directory may take to say which edges have room. After it,
// its last answer counts.
const askWithin = 250 * time.Millisecond

func (s *siblings) nodes(ctx context.Context) []cdn.NodeEntry {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	if nodes, err := s.dir.Nodes(ctx); err == nil {
		return nodes
	}
	return s.near.Nodes()
}

const (
	// From nearlyFull on, viewers that arrive are sent to an edge that has muchRoom.
	nearlyFull = 0.9
	muchRoom   = 0.6
)

// Steer implements [Steerer].
func (s *siblings) Steer(ctx context.Context, v Visit) (url, why string) {
	load := s.node.Load()
	if v.Reason == SteerArriving && load < nearlyFull {
		return "", ""
	}
	own := s.node.Entry()
	var all []route.Sibling
	for _, n := range s.nodes(ctx) {
		if !n.Roles.Has(cdn.RoleEdge) || n.URL == "" {
			continue
		}
		if v.Reason == SteerArriving && n.Load > muchRoom {
			continue
		}
		rtt, _ := s.near.RTT(n.Node)
		all = append(all, route.Sibling{Node: n, RTT: rtt})
	}
	best, ok := route.ChooseSibling(own, v.Stream, all)
	if !ok {
		return "", "no edge has room"
	}
	return best.Node.URL, best.Why(own)
}
