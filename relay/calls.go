package relay

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/link"
	"github.com/deltacdn/delta/internal/service"
	"github.com/deltacdn/delta/signal"
	signallink "github.com/deltacdn/delta/signal/link"
)

const (
	// MaxCall and MaxAnswer bound the payloads of calls and of their answers, in bytes.
	MaxCall   = 48 << 10
	MaxAnswer = 1 << 20
	// MaxCallHops bounds the links that a call goes over.
	MaxCallHops = 8
)

// Calls are requests between the nodes of a network. They travel over the links that stand
// anyway. Nodes that have no link with each other are called over others in between, which
// look at the path of a call and at nothing else. A node answers every node that it trusts
// ([cdn.Trust]). Its methods may be called concurrently.
type Calls struct {
	node  *cdn.Node
	links *link.Links

	mu       sync.Mutex
	handlers map[string]CallHandler
}

// A Call is a request of another node.
type Call struct {
	// Method names what is requested.
	Method string
	// Path has the nodes that the call came through: its caller, those in between, and this
	// node. The last but one has a link with this node; the others are as that one says.
	Path    []cdn.NodeID
	Payload []byte
}

// A CallHandler answers a call with at most MaxAnswer bytes. It is called concurrently.
// ctx ends when no answer is wanted any more. The caller is told which sentinel of package
// cdn an error wraps, and nothing else about it.
type CallHandler func(ctx context.Context, c Call) ([]byte, error)

// CallsOf returns the calls of a node.
func CallsOf(node *cdn.Node) (*Calls, error) {
	links, err := linksOf(node)
	if err != nil {
		return nil, &cdn.Error{Op: "calls", Err: err}
	}
	return service.Shared(node.Internal(), func() (*Calls, error) {
		c := &Calls{node: node, links: links, handlers: map[string]CallHandler{}}
		links.Answer(c.answer)
		return c, nil
	})
}

// Close ends the answering of calls.
func (c *Calls) Close() error {
	c.links.Answer(nil)
	return nil
}

// Handle sets the handler of a method; nil: none. Calls of a method without a handler fail
// with [cdn.ErrUnsupported].
func (c *Calls) Handle(method string, h CallHandler) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.handlers[method] = h
}

// Peers returns the nodes that can be called over one link, in order.
func (c *Calls) Peers() []cdn.NodeID { return c.links.Callable() }

// Connect makes a link with the node of an entry, unless there is one. The node is one of
// Peers then, if it answers calls. by carries the offer; nil: HTTP. The link stays.
func (c *Calls) Connect(ctx context.Context, to cdn.Entry, by signal.LinkDialer) error {
	if by == nil {
		by = &signallink.Client{}
	}
	return c.links.Connect(ctx, to, by)
}

// Call calls the last node of a path, over all others of it, and returns the answer. The
// path begins with one of Peers. ctx bounds the call, with a deadline of a minute at most.
//
// It fails with an error that wraps [cdn.ErrNotFound] if one of the nodes has no link
// with the next, [cdn.ErrPeerLost] if one is lost meanwhile, [cdn.ErrUnsupported] if
// the last one does not know the method, [cdn.ErrOverLimit] if the payload is too
// large, and otherwise with what the handler returns. Whether the handler was called is not
// known after [cdn.ErrPeerLost], nor when ctx has ended.
func (c *Calls) Call(ctx context.Context, path []cdn.NodeID, method string, payload []byte) ([]byte, error) {
	whole := append([]cdn.NodeID{c.node.ID()}, path...)
	fail := func(err error) error { return &cdn.Error{Op: "call", Node: whole[len(whole)-1], Err: err} }
	if len(path) == 0 {
		return nil, fail(fmt.Errorf("%w: no path", cdn.ErrInvalid))
	}
	if len(payload) > MaxCall {
		return nil, fail(fmt.Errorf("%w: a call of %d bytes", cdn.ErrOverLimit, len(payload)))
	}
	ctx, cancel := context.WithTimeout(ctx, maxPatience)
	defer cancel()
	e := envelope{Path: whole, At: 1, Method: method}
	if err := e.check(); err != nil {
		return nil, fail(err)
	}
	answer, err := c.pass(ctx, e, payload)
	if err != nil {
		return nil, fail(err)
	}
	return answer, nil
}

// maxPatience bounds how long any call may take.
const maxPatience = time.Minute

// An envelope is the part of a call that nodes on its path look at.
type envelope struct {
	Path   []cdn.NodeID `json:"path"`
	At     int          `json:"at"` // index of the node that is called now
	Method string       `json:"method"`
	// Patience is how much time is left, in milliseconds.
	Patience int64 `json:"patience_ms"`
}

const maxMethod = 64

// check refuses a path that is too long or leads in a circle.
func (e envelope) check() error {
	switch {
	case len(e.Path) < 2 || e.At < 1 || e.At >= len(e.Path) || len(e.Method) > maxMethod:
		return fmt.Errorf("%w: a call that leads nowhere", cdn.ErrInvalid)
	case len(e.Path) > MaxCallHops+1:
		return fmt.Errorf("%w: a call over %d links", cdn.ErrLoop, len(e.Path)-1)
	}
	for i, id := range e.Path {
		if _, err := cdn.ParseNodeID(string(id)); err != nil {
			return err
		}
		if slices.Contains(e.Path[:i], id) {
			return fmt.Errorf("%w: a call comes by %s twice", cdn.ErrLoop, id)
		}
	}
	return nil
}

// pass calls the next node of the path.
func (c *Calls) pass(ctx context.Context, e envelope, payload []byte) ([]byte, error) {
	if deadline, ok := ctx.Deadline(); ok {
		e.Patience = max(1, time.Until(deadline).Milliseconds())
	}
	answer, err := c.links.Call(ctx, e.Path[e.At], seal(e, payload))
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = fmt.Errorf("%w: no answer", cdn.ErrTimeout)
	}
	return answer, err
}

// answer acts on a neighbor's call, which is for this node or for one further on.
func (c *Calls) answer(ctx context.Context, peer cdn.NodeID, question []byte) ([]byte, error) {
	e, payload, err := open(question)
	if err == nil {
		err = e.check()
	}
	switch {
	case err != nil:
		return nil, err
	case e.Path[e.At] != c.node.ID() || e.Path[e.At-1] != peer:
		return nil, fmt.Errorf("%w: a call on another path than it says", cdn.ErrInvalid)
	}
	ctx, cancel := context.WithTimeout(ctx, min(time.Duration(max(0, min(e.Patience, maxPatience.Milliseconds())))*time.Millisecond, maxPatience))
	defer cancel()
	if e.At < len(e.Path)-1 {
		e.At++
		return c.pass(ctx, e, payload)
	}
	c.mu.Lock()
	h := c.handlers[e.Method]
	c.mu.Unlock()
	if h == nil {
		return nil, fmt.Errorf("%w: no method %.64q", cdn.ErrUnsupported, e.Method)
	}
	answer, err := h(ctx, Call{Method: e.Method, Path: e.Path, Payload: payload})
	if len(answer) > MaxAnswer {
		return nil, fmt.Errorf("%w: an answer of %d bytes", cdn.ErrOverLimit, len(answer))
	}
	return answer, err
}

// seal puts an envelope ahead of a payload.
func seal(e envelope, payload []byte) []byte {
	head, _ := json.Marshal(e) // it always can be
	b := binary.AppendUvarint(make([]byte, 0, len(head)+len(payload)+4), uint64(len(head)))
	return append(append(b, head...), payload...)
}

// open is the inverse of seal.
func open(question []byte) (e envelope, payload []byte, err error) {
	size, n := binary.Uvarint(question)
	if n <= 0 || size > uint64(len(question)-n) {
		return e, nil, fmt.Errorf("%w: no call", cdn.ErrInvalid)
	}
	head, payload := question[n:][:size], question[n:][size:]
	if err := json.Unmarshal(head, &e); err != nil {
		return e, nil, fmt.Errorf("%w: %w", cdn.ErrInvalid, err)
	}
	return e, payload, nil
}
