// Package natsdir is a [cdn.Directory] on NATS: plain publish and subscribe, without
// JetStream. Every node has a whole replica of the directory, and nothing is stored
// anywhere else, so that a server that restarts has lost nothing.
//
// Each announcement is one message to all nodes. A node that starts asks the others,
// and each answers with what it has announced itself.
//
// # Leases
//
// A node judges announcements by its own clock (package replica). That a lease has
// ended is not enough for an announcement to be dropped: the engine must have shown,
// after that end, that it is there and has nothing more for this node. Once a second,
// and whenever a lease ends, the node has the server answer a PING, which comes behind
// all messages that the server had for it.
//
// If the server does not answer for two seconds, or the connection is lost, the engine is
// away: announcing fails at once with [replica.ErrAway], so that the announcer tries again
// later, and no announcement is dropped, for an hour at most ([Config].Hold). Announcing
// fails so, too, from when an announcement has not come back in time until the next PING
// is answered. When the engine is back, every
// announcement has a whole lease from then on, in which a living node announces itself
// several times over. So a server that is killed, frozen or restarted makes no stream
// disappear, and a node that died meanwhile disappears one lease later.
//
// What NATS does not show is that two halves of a cluster have lost each other: each
// server still answers. Then each half forgets the other's streams when their leases
// end, and has them back within a third of a lease after the halves have met again.
// Where each node has a server of its own, package embedded, [Config].Reaches tells that
// this node is cut off from all others.
package natsdir
