// Package redisdir is a [cdn.Directory] on Redis, or on a server that speaks its
// protocol and has Lua: a single one, one behind Sentinel, or a Cluster. Announcements
// are stored with a TTL, and published to all nodes, each of which has a replica of the
// whole directory for when Redis is away.
//
// Finding reads from Redis, for half a second at most, and answers from the replica,
// which knows of what was read and of what was published.
//
// # Leases
//
// A node judges announcements by its own clock (package replica). TTLs keep Redis clean:
// what has ended by them is not read any more, and what a node has read lives no longer
// for them, and no shorter. When a lease has ended, the node reads the stream from Redis,
// and drops the announcement if Redis has no newer one.
//
// Once a second the node has Redis answer a PING, every master of a Cluster, and another
// one on the connection by which announcements come, where the answer comes behind all
// that was published. If an answer takes longer than two seconds, or the connection is
// lost, Redis is away; a call that is not answered in time has nothing more asked until
// the next PING is answered. While Redis is away, announcing fails at once with
// [replica.ErrAway], so that the announcer tries again later, and no announcement is
// dropped, for an hour at most ([Config].Hold). When Redis is back, every announcement
// has a whole lease from then on, in which a living node announces itself several times
// over. So a server that is killed, frozen, restarted empty, or followed by a replica that
// lags makes no stream disappear, and a node that died meanwhile disappears one lease
// later.
package redisdir
