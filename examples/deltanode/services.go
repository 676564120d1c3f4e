package main

import (
	"fmt"
	"net/http"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/internal/demo"
	pages "github.com/deltacdn/delta/internal/demo/web"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/relay"
	"github.com/deltacdn/delta/signal/inproc"
	"github.com/deltacdn/delta/signal/link"
	"github.com/deltacdn/delta/signal/whep"
	"github.com/deltacdn/delta/signal/whip"
)

// compose makes the services of the node's roles: each is a source to the next.
func (n *node) compose() error {
	roles := n.config.Node.Roles
	n.peers = newPeers(n.site.client)
	var sources []cdn.Source
	if roles.Origin {
		if err := n.takePublishers(); err != nil {
			return err
		}
		sources = append(sources, n.live)
	}
	if n.directory.finds != nil && (roles.Relay || roles.Edge || !n.config.Network.Shared()) {
		if err := n.fetch(); err != nil {
			return err
		}
		sources = append(sources, n.up)
	}
	source := cdn.First(sources...)
	if roles.Origin || roles.Relay {
		if err := n.serveNodes(source); err != nil {
			return err
		}
	}
	if roles.Edge {
		if err := n.serveViewers(source); err != nil {
			return err
		}
	}
	n.site.mux.HandleFunc("GET /healthz", healthy)
	n.site.mux.HandleFunc("GET /readyz", n.ready)
	n.site.mux.Handle("/", pages.Handler(n.page))
	return nil
}

func healthy(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") }

func (n *node) takePublishers() (err error) {
	p := n.config.Publishers
	takeover := map[string]origin.Takeover{"same": origin.TakeoverSameSubject, "always": origin.TakeoverAlways, "never": origin.TakeoverNever}
	fec := map[string]origin.FEC{"without-nack": origin.FECWithoutNACK, "always": origin.FECAlways, "never": origin.FECNever}
	n.live, err = origin.New(n.node, origin.Config{Codecs: p.Codecs, Grace: orNone(p.Grace), Takeover: takeover[p.Takeover], FEC: fec[p.FEC]})
	if err != nil {
		return err
	}
	servers, err := n.iceServers()
	if err != nil {
		return err
	}
	h, err := whip.New(n.live, whip.Config{
		Proxies: n.config.HTTP.Proxies, AllowOrigin: n.config.HTTP.AllowOrigin, ICEServersFor: servers, Logger: n.log,
	})
	if err != nil {
		return err
	}
	n.site.mux.Handle("/whip/", h)
	return nil
}

// orNone is a time for a configuration in which zero is the default, and less is none.
func orNone(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

func (n *node) fetch() error {
	whepClient := relay.NewWHEP(n.node, relay.WHEPConfig{Dialer: &whep.Client{HTTP: n.site.client}})
	fetcher, err := relay.NewLink(n.node, relay.LinkConfig{Dialer: &link.Client{HTTP: n.site.client}, Fallback: whepClient})
	if err != nil {
		return err
	}
	n.up, err = relay.New(n.node, relay.Config{Directory: n.directory.finds, Fetcher: fetcher})
	return err
}

func (n *node) serveNodes(s cdn.Source) (err error) {
	if n.server, err = relay.NewServer(n.node, s); err != nil {
		return err
	}
	h, err := n.server.Handler(n.config.HTTP.Proxies...)
	if err != nil {
		return err
	}
	n.site.mux.Handle(relay.Prefix, h)
	return nil
}

func (n *node) serveViewers(s cdn.Source) (err error) {
	v := n.config.Viewers
	mode := map[string]edge.StartMode{"catch-up": edge.StartCatchUp, "snapshot": edge.StartSnapshot, "ask": edge.StartAsk}[v.Start]
	c := edge.Config{
		Source: s, Wait: v.Wait, SlowPatience: v.Patience,
		Start: func(cdn.StreamID) edge.Start { return edge.Start{Mode: mode} },
	}
	if dir, ok := n.directory.announces().(cdn.NodeDirectory); ok {
		if c.Steerer, err = edge.Siblings(n.node, dir); err != nil {
			return err
		}
	}
	if n.view, err = edge.New(n.node, c); err != nil {
		return err
	}
	servers, err := n.iceServers()
	if err != nil {
		return err
	}
	h, err := whep.New(n.view, whep.Config{
		Proxies: n.config.HTTP.Proxies, AllowOrigin: n.config.HTTP.AllowOrigin, ICEServersFor: servers, Logger: n.log,
	})
	if err != nil {
		return err
	}
	n.site.mux.Handle("/whep/", h)
	return nil
}

// publishDemo publishes the built-in clip at this node until it is closed.
func (n *node) publishDemo() {
	network := inproc.New(inproc.Config{})
	network.Handle("http://node/whip/", n.live)
	err := demo.Publish(n.closed, demo.Config{URL: "http://node/whip/demo", Dialer: network, Stream: "demo", Credential: n.demoToken, Logger: n.log})
	if err != nil && n.closed.Err() == nil {
		n.log.Error("the built-in clip", "err", err)
	}
}
