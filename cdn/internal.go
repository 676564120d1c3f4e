package cdn

import (
	"net"

	"github.com/deltacdn/delta/internal/service"
)

// Internal returns what Delta's own services and sessions use of the node. It is no
// part of the API: what it returns changes from release to release, and nobody else
// needs it to build a service of their own.
func (n *Node) Internal() *service.Runtime { return n.runtime }

func (n *Node) newRuntime() *service.Runtime {
	t := n.transport
	return &service.Runtime{
		Port: t.port, Reply: t.reply, Egress: t.egress,
		Identity: service.Identity{Certificate: t.tls, Fingerprint: t.fingerprint},
		PionLog:  pionLogger{n.log}, Traced: n.config.Tracer != nil, Tuned: n.config.Tune != nil,
		Hooks: service.Hooks{
			Candidates:     func() []net.Addr { return t.mux.GetListenAddresses() },
			PassiveTCP:     func() []net.Addr { return *t.passive.Load() },
			PeerConnection: n.newPeerConnection,
			Guarded:        n.guarded,
			Own:            n.Own,
			Behind:         n.behind,
			Late:           n.late,
			Answered:       n.totals.answers.add,
			FirstFrameSent: n.totals.firstFrames.add,
			EntryChanged:   n.entryChanged,
			BeginDrain:     n.beginDrain,
		},
	}
}

// Trust returns by what the node and others know each other.
func (n *Node) Trust() Trust { return n.config.Trust }

// Directory returns where the node announces its streams, nil: nowhere.
func (n *Node) Directory() Directory { return n.config.Directory }

// guarded reports whether the node has an [Authorizer] that decides who may fetch without
// having proved to be a node. An Authorizer that is a [Guard] says so itself.
func (n *Node) guarded() bool {
	if g, ok := n.config.Authorizer.(Guard); ok {
		return g.Guards()
	}
	return n.config.Authorizer != nil
}
