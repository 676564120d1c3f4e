package relay

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/link"
	"github.com/deltacdn/delta/internal/reason"
	"github.com/deltacdn/delta/signal"
	signallink "github.com/deltacdn/delta/signal/link"
)

// LinkConfig sets up a [Link] fetcher.
type LinkConfig struct {
	// Dialer carries offers of links. If nil, HTTP.
	Dialer signal.LinkDialer
	// Credential is shown to other nodes with each stream that is asked for.
	Credential string
	// Silence is how long nothing may come of a stream before its fetch is given
	// up, unless another node was found to have no more of it. If zero, 5 s. That
	// the other node is gone is noticed within half a second.
	Silence time.Duration
	// Fallback fetches from nodes that know no links, or have no kind of address in
	// common with this one. If nil, those are no use.
	Fallback Fetcher
}

// Link is a [Fetcher] that has all streams from another node over one standing
// connection with it, which the first fetch makes. On a connection that stands, a
// stream is here one round trip after it was asked for, from its newest keyframe
// on.
type Link struct {
	node   *cdn.Node
	links  *link.Links
	config LinkConfig

	mu      sync.Mutex
	foreign beliefs // URLs where there are no links
	shut    beliefs // URLs of nodes with which no link came about, or that were lost
	silent  beliefs // streams of which no node had more
}

// beliefs are URLs, or streams, of which something is believed, and until when.
type beliefs map[string]time.Time

const (
	// foreignFor is how long a node that knew no links is asked for its streams one
	// by one.
	foreignFor = time.Minute
	// shutFor is how long a node counts as lost if nobody tries to reach it again.
	shutFor = 30 * time.Second
	// silentStill is how long a stream counts as silent everywhere if nobody probes
	// it again.
	silentStill = mostProbes + 2*probeFor
)

func (b beliefs) note(url string, d time.Duration) {
	if len(b) >= maxFailures {
		clear(b)
	}
	b[url] = time.Now().Add(d)
}

func (b beliefs) hold(url string) bool {
	until, ok := b[url]
	if ok && time.Now().After(until) {
		delete(b, url)
		ok = false
	}
	return ok
}

// NewLink returns a fetcher for node.
func NewLink(node *cdn.Node, c LinkConfig) (*Link, error) {
	if c.Dialer == nil {
		c.Dialer = &signallink.Client{}
	}
	if c.Silence <= 0 {
		c.Silence = 5 * time.Second
	}
	links, err := linksOf(node)
	if err != nil {
		return nil, &cdn.Error{Op: "new link", Err: err}
	}
	return &Link{node: node, links: links, config: c, foreign: beliefs{}, shut: beliefs{}, silent: beliefs{}}, nil
}

// linksOf returns the links of a node, which what fetches and what serves share.
func linksOf(node *cdn.Node) (*link.Links, error) {
	return cdn.Shared(node, func() (*link.Links, error) { return link.New(node) })
}

// Fetch implements [Fetcher].
func (f *Link) Fetch(ctx context.Context, from cdn.Entry, r cdn.Request, s *cdn.Stream) error {
	if f.isForeign(from.URL) {
		return f.config.Fallback.Fetch(ctx, from, r, s)
	}
	err := f.links.Fetch(ctx, from, f.fetchConfig(r), s)
	if errors.Is(err, link.ErrNone) && f.config.Fallback != nil {
		f.noteWay(from.URL, err)
		return f.config.Fallback.Fetch(ctx, from, r, s)
	}
	return err
}

func (f *Link) fetchConfig(r cdn.Request) link.FetchConfig {
	return link.FetchConfig{
		Request: r, Credential: f.config.Credential, Dialer: f.config.Dialer, Silence: f.config.Silence,
		Excused: func() bool {
			f.mu.Lock()
			defer f.mu.Unlock()
			return f.silent.hold(string(r.Stream))
		},
	}
}

// Probe implements [Prober]. A node without links cannot be probed.
func (f *Link) Probe(ctx context.Context, from cdn.Entry, r cdn.Request, s *cdn.Stream) error {
	if f.isForeign(from.URL) {
		return &cdn.Error{Op: "probe", Stream: r.Stream, Err: cdn.ErrUnsupported}
	}
	c := f.fetchConfig(r)
	c.Standby = true
	err := f.links.Fetch(ctx, from, c, s)
	if errors.Is(err, link.ErrAhead) {
		return nil
	}
	if errors.Is(err, context.DeadlineExceeded) && f.links.Leads(from) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.silent.note(string(r.Stream), silentStill)
	}
	return err
}

// Keep keeps a link with the node of an entry until ctx ends, so that a stream
// that is wanted of it need not wait for one.
func (f *Link) Keep(ctx context.Context, to cdn.Entry) {
	f.links.Keep(ctx, to, f.config.Dialer, func(err error) { f.noteWay(to.URL, err) })
}

// noteWay notes whether a link with the node at url is up (nil), or why not.
func (f *Link) noteWay(url string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case err == nil:
		delete(f.shut, url)
	case errors.Is(err, link.ErrNone):
		f.foreign.note(url, foreignFor)
	default:
		if reason.Refused(err) != nil && !f.shut.hold(url) {
			f.node.Logger().Warn("no link with another node, since one of the two refuses the other", "url", url, "err", err)
		}
		f.shut.note(url, shutFor)
	}
}

// Reaches implements [Reacher]: by a link that is up, or, where there are none,
// stream by stream.
func (f *Link) Reaches(to cdn.Entry) (yes, known bool) {
	if f.links.Leads(to) || f.isForeign(to.URL) {
		return true, true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return false, f.shut.hold(to.URL)
}

func (f *Link) isForeign(url string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.foreign.hold(url) && f.config.Fallback != nil
}

// LinkStats is a snapshot of a link.
type LinkStats = link.Stats

// Links returns a snapshot of a node's links that are up.
func Links(node *cdn.Node) []LinkStats {
	links, err := linksOf(node)
	if err != nil {
		return nil
	}
	return links.Stats()
}
