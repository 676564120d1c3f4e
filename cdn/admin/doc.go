// Package admin is the HTTP API by which an operator sees and changes a whole
// network of nodes from any one of them.
//
// An [API] belongs to one node. It answers for the others by asking them over the
// links between nodes ([relay.Calls]), so a client needs to reach one node only.
// Every node that is to be seen and changed has an API, even if nobody can reach
// that one by HTTP. [Client] is the API in Go; openapi.json describes it for other
// languages.
//
// Times are in RFC 3339, durations are numbers whose names end in their unit, and
// bit rates are in bits of payload a second.
package admin
