package main

import (
	"context"
	"strings"

	"github.com/deltacdn/delta/signal"
	"github.com/deltacdn/delta/signal/turn"
)

// iceServers returns what tells clients of STUN and TURN servers; nil if there are none.
// Of a password hears only a client that is let in.
func (n *node) iceServers() (signal.ICEServers, error) {
	c := n.config.ICE
	var open, relays []string
	for _, s := range c.Servers {
		if strings.HasPrefix(s, "turn") {
			relays = append(relays, s)
		} else {
			open = append(open, s)
		}
	}
	var all []signal.ICEServers
	if len(open) > 0 {
		all = append(all, func(context.Context, signal.ICERequest) []signal.ICEServer {
			return []signal.ICEServer{{URLs: open}}
		})
	}
	switch {
	case len(relays) == 0:
	case c.Secret != "":
		timed, err := turn.New(turn.Config{URLs: relays, Secret: c.Secret, TTL: c.TTL})
		if err != nil {
			return nil, err
		}
		all = append(all, timed)
	default:
		fixed := signal.ICEServer{URLs: relays, Username: c.Username, Credential: c.Credential}
		if _, err := fixed.Links(); err != nil {
			return nil, err
		}
		all = append(all, func(_ context.Context, r signal.ICERequest) []signal.ICEServer {
			if !r.Admitted {
				return nil
			}
			return []signal.ICEServer{fixed}
		})
	}
	if len(all) == 0 {
		return nil, nil
	}
	return func(ctx context.Context, r signal.ICERequest) (servers []signal.ICEServer) {
		for _, f := range all {
			servers = append(servers, f(ctx, r)...)
		}
		return servers
	}, nil
}
