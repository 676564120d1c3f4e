// Package control is the protocol of a link: what the two nodes at its ends say
// to each other besides media. Each asks the other for streams, and is told what
// they hold and why they end; and both watch over the other being there.
//
// It is a state machine without clock or I/O: time and datagrams are passed in,
// datagrams and events come out. The datagrams may be lost, doubled and
// reordered on the way, and must be kept secret and unforged by what carries
// them, DTLS. Both sides are alike. Nothing waits for the other's hello: the
// first datagram may hold the first subscription.
//
// Its owner calls, after each other call, [Conn.Datagram] and [Conn.Event] until
// there are no more, and [Conn.Advance] when [Conn.Next] says so.
//
// A datagram (frame.go) holds acknowledgements, probes and parts of messages. A
// message (message.go) is sent until all its parts are acknowledged (reliable.go),
// put together from them (assembly.go), and acted on as soon as it is whole,
// whatever is missing before it. So messages overtake each other; those of one
// subscription are made so that it does not matter (subscription.go). Besides streams
// the sides ask each other anything by calls (call.go).
//
// The other side is a node that has been authenticated, but may be broken: what
// it can make this one keep is bounded: 8 MiB of what it does not acknowledge, one
// of what overtakes what it belongs to, as many subscriptions as it may have, and
// of calls 4 MiB of questions and as much of answers.
package control
