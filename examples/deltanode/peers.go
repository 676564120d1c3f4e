package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/deltacdn/delta/internal/demo/web"
	"github.com/deltacdn/delta/relay"
)

// peers are the nodes that this one has had links with, for its pages. What each
// of them is its own page says, which is asked now and then.
type peers struct {
	client *http.Client
	ctx    context.Context // of what is asked
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu    sync.Mutex
	known map[string]*peer // by name
}

type peer struct {
	web.Peer
	asked time.Time
}

const (
	askAgain = 10 * time.Second // after which a page is asked again
	maxPeers = 100
)

func newPeers(client *http.Client) *peers {
	p := &peers{client: client, known: map[string]*peer{}}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// of returns the peers, with those of links among them.
func (p *peers) of(links []relay.LinkStats, now time.Time) (all []web.Peer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range links {
		p.addLocked(l)
	}
	for _, k := range p.known {
		if now.Sub(k.asked) >= askAgain && p.ctx.Err() == nil {
			k.asked = now
			url := k.URL
			p.work.Go(func() { p.ask(k, url) })
		}
		all = append(all, k.Peer)
	}
	slices.SortFunc(all, func(a, b web.Peer) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// addLocked adds the node of a link. Until its page has been asked, one that was
// dialled serves nodes, and one that dials is as far from the publisher as can be.
func (p *peers) addLocked(l relay.LinkStats) {
	role, at := web.Relay, l.URL
	if at == "" {
		role, at = web.Edge, l.PeerURL
	}
	k := p.known[string(l.Node)]
	switch {
	case !isPage(at):
	case k != nil:
		k.URL = at
	case len(p.known) < maxPeers:
		p.known[string(l.Node)] = &peer{Peer: web.Peer{Name: string(l.Node), Role: role, URL: at}}
	}
}

// plainHost is a name or an address, and nothing that means more in a header.
var plainHost = regexp.MustCompile(`^[A-Za-z0-9.:\[\]-]+$`)

// isPage reports whether a URL, which a node may have given itself, can be the
// address of its pages.
func isPage(at string) bool {
	u, err := url.Parse(at)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && plainHost.MatchString(u.Host) && u.User == nil
}

// ask asks a peer's page what the peer is.
func (p *peers) ask(k *peer, at string) {
	const patience = 2 * time.Second
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(at, "/")+"/status.json", nil)
	if err != nil {
		return
	}
	resp, err := p.client.Do(r)
	if err != nil {
		return // it is asked again
	}
	defer func() { _ = resp.Body.Close() }()
	var st web.Status
	const most = 4 << 20
	if json.NewDecoder(io.LimitReader(resp.Body, most)).Decode(&st) != nil || st.Node.Name != k.Name {
		return
	}
	switch role := st.Node.Role; role {
	case web.Origin, web.Relay, web.Edge:
		p.mu.Lock()
		k.Role = role
		p.mu.Unlock()
	}
}

func (p *peers) close() {
	if p == nil {
		return
	}
	p.mu.Lock()
	p.cancel()
	p.mu.Unlock()
	p.work.Wait()
}
