package admin

import (
	"context"
	"net/http"
	"reflect"
)

// Prefix is where the API answers.
const Prefix = "/api/v1"

// A route is one operation of the API, for the server and for its description.
type route struct {
	method  string
	path    string // after Prefix, as OpenAPI writes it
	name    string // of the operation
	summary string
	writes  bool // it needs the scope to write
	query   any  // parameters; nil: none
	body    any  // nil: none
	answer  any
	status  int // of success
	serve   func(a *API, ctx context.Context, q request) (any, error)
}

// request is what a route is asked for.
type request struct {
	by    string // who asks
	id    string // in the path; "": there is none
	query any    // a pointer to the route's
	body  any    // a pointer to the route's
}

// KickQuery has the parameters of DELETE /sessions/{id}.
type KickQuery struct {
	// Reason is shown to the client, where its protocol can carry it, and to
	// operators.
	Reason string `query:"reason"`
}

var routes = []route{
	{
		method: "GET", path: "/network", name: "getNetwork", summary: "The whole network: nodes, links and streams, and how many sessions there are.",
		answer: Network{}, status: http.StatusOK,
		serve: func(a *API, ctx context.Context, _ request) (any, error) { return a.Network(ctx) },
	},
	{
		method: "GET", path: "/nodes", name: "listNodes", summary: "All nodes.",
		answer: NodeList{}, status: http.StatusOK,
		serve: func(a *API, ctx context.Context, _ request) (any, error) { return a.Nodes(ctx) },
	},
	{
		method: "GET", path: "/nodes/{id}", name: "getNode", summary: "One node with its links and streams.",
		answer: Report{}, status: http.StatusOK,
		serve: func(a *API, ctx context.Context, q request) (any, error) { return a.Node(ctx, q.id) },
	},
	{
		method: "GET", path: "/links", name: "listLinks", summary: "All links between nodes, once for each end.",
		answer: LinkList{}, status: http.StatusOK,
		serve: func(a *API, ctx context.Context, _ request) (any, error) { return a.Links(ctx) },
	},
	{
		method: "GET", path: "/streams", name: "listStreams", summary: "Streams, each with the nodes that have it.",
		query: StreamQuery{}, answer: StreamPage{}, status: http.StatusOK,
		serve: func(a *API, ctx context.Context, q request) (any, error) {
			return a.Streams(ctx, *q.query.(*StreamQuery))
		},
	},
	{
		method: "GET", path: "/sessions", name: "listSessions", summary: "Publishers, viewers and fetches of nodes.",
		query: SessionQuery{}, answer: SessionPage{}, status: http.StatusOK,
		serve: func(a *API, ctx context.Context, q request) (any, error) {
			return a.Sessions(ctx, *q.query.(*SessionQuery))
		},
	},
	{
		method: "DELETE", path: "/sessions/{id}", name: "kickSession", summary: "Ends a session.", writes: true,
		query: KickQuery{}, answer: Outcome{}, status: http.StatusOK,
		serve: func(a *API, ctx context.Context, q request) (any, error) {
			return a.Kick(ctx, q.by, q.id, q.query.(*KickQuery).Reason)
		},
	},
	{
		method: "POST", path: "/streams/{id}/block", name: "blockStream", summary: "Ends a stream at all nodes, and keeps it from being published and played.", writes: true,
		body: Block{}, answer: Outcome{}, status: http.StatusOK,
		serve: func(a *API, ctx context.Context, q request) (any, error) {
			return a.Block(ctx, q.by, q.id, *q.body.(*Block))
		},
	},
	{
		method: "POST", path: "/streams/{id}/unblock", name: "unblockStream", summary: "Takes a block back at all nodes.", writes: true,
		answer: Outcome{}, status: http.StatusOK,
		serve: func(a *API, ctx context.Context, q request) (any, error) { return a.Unblock(ctx, q.by, q.id) },
	},
	{
		method: "GET", path: "/blocks", name: "listBlocks", summary: "The blocks and revocations in force, as the answering node knows them.",
		answer: BlockList{}, status: http.StatusOK,
		serve: func(a *API, ctx context.Context, _ request) (any, error) { return a.Blocks(ctx) },
	},
	{
		method: "POST", path: "/nodes/{id}/drain", name: "drainNode", summary: "Has a node leave: it takes no new sessions, and leads its viewers elsewhere.", writes: true,
		body: Drain{}, answer: Outcome{}, status: http.StatusAccepted,
		serve: func(a *API, ctx context.Context, q request) (any, error) {
			return a.Drain(ctx, q.by, q.id, *q.body.(*Drain))
		},
	},
	{
		method: "POST", path: "/nodes/{id}/undrain", name: "undrainNode", summary: "Has a node that is leaving stay.", writes: true,
		answer: Outcome{}, status: http.StatusOK,
		serve: func(a *API, ctx context.Context, q request) (any, error) { return a.Undrain(ctx, q.by, q.id) },
	},
	{
		method: "GET", path: "/nodes/{id}/limits", name: "getLimits", summary: "The limits of a node.",
		answer: Limits{}, status: http.StatusOK,
		serve: func(a *API, ctx context.Context, q request) (any, error) { return a.Limits(ctx, q.id) },
	},
	{
		method: "PUT", path: "/nodes/{id}/limits", name: "setLimits", summary: "Changes the limits of a node until it is started anew. Those that are absent stay as they are.", writes: true,
		body: LimitsChange{}, answer: Limits{}, status: http.StatusOK,
		serve: func(a *API, ctx context.Context, q request) (any, error) {
			return a.SetLimits(ctx, q.by, q.id, *q.body.(*LimitsChange))
		},
	},
	{
		method: "POST", path: "/grants/{id}/revoke", name: "revokeGrant", summary: "Ends all sessions of a grant, and refuses it at all nodes.", writes: true,
		body: Revocation{}, answer: Outcome{}, status: http.StatusOK,
		serve: func(a *API, ctx context.Context, q request) (any, error) {
			return a.Revoke(ctx, q.by, q.id, *q.body.(*Revocation))
		},
	},
}

// newOf returns a pointer to a zero value of the type of v, nil for nil.
func newOf(v any) any {
	if v == nil {
		return nil
	}
	return reflect.New(reflect.TypeOf(v)).Interface()
}
