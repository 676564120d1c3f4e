package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"

	"github.com/deltacdn/delta/cdn"
)

// A Client uses the API of a node. Errors are [*cdn.Error]s that wrap the sentinel
// which the answer's code stands for, and have its sentence as their Detail.
type Client struct {
	// URL is where the node answers, without [Prefix]: "https://edge.example.com".
	URL string
	// Token is shown as a bearer token. Empty: none is.
	Token string
	// HTTP sends the requests. If nil, [http.DefaultClient].
	HTTP *http.Client
}

// Network returns the whole network.
func (c *Client) Network(ctx context.Context) (n Network, err error) {
	return n, c.do(ctx, "GET", "/network", nil, nil, &n)
}

// Nodes returns all nodes.
func (c *Client) Nodes(ctx context.Context) (l NodeList, err error) {
	return l, c.do(ctx, "GET", "/nodes", nil, nil, &l)
}

// Node returns one node.
func (c *Client) Node(ctx context.Context, id string) (r Report, err error) {
	return r, c.do(ctx, "GET", "/nodes/"+url.PathEscape(id), nil, nil, &r)
}

// Links returns all links, once for each end that is known.
func (c *Client) Links(ctx context.Context) (l LinkList, err error) {
	return l, c.do(ctx, "GET", "/links", nil, nil, &l)
}

// Streams returns a page of the streams.
func (c *Client) Streams(ctx context.Context, q StreamQuery) (p StreamPage, err error) {
	return p, c.do(ctx, "GET", "/streams", q, nil, &p)
}

// Sessions returns a page of the sessions.
func (c *Client) Sessions(ctx context.Context, q SessionQuery) (p SessionPage, err error) {
	return p, c.do(ctx, "GET", "/sessions", q, nil, &p)
}

// Kick ends a session.
func (c *Client) Kick(ctx context.Context, session, reason string) (o Outcome, err error) {
	return o, c.do(ctx, "DELETE", "/sessions/"+url.PathEscape(session), KickQuery{reason}, nil, &o)
}

// Block ends a stream at all nodes, and keeps it from being published and played.
func (c *Client) Block(ctx context.Context, stream string, b Block) (o Outcome, err error) {
	return o, c.do(ctx, "POST", "/streams/"+url.PathEscape(stream)+"/block", nil, b, &o)
}

// Unblock takes back what Block did.
func (c *Client) Unblock(ctx context.Context, stream string) (o Outcome, err error) {
	return o, c.do(ctx, "POST", "/streams/"+url.PathEscape(stream)+"/unblock", nil, nil, &o)
}

// Blocks returns the blocks and revocations in force, as the node knows them.
func (c *Client) Blocks(ctx context.Context) (l BlockList, err error) {
	return l, c.do(ctx, "GET", "/blocks", nil, nil, &l)
}

// Drain has a node begin to leave.
func (c *Client) Drain(ctx context.Context, node string, d Drain) (o Outcome, err error) {
	return o, c.do(ctx, "POST", "/nodes/"+url.PathEscape(node)+"/drain", nil, d, &o)
}

// Undrain has a node stay that is leaving.
func (c *Client) Undrain(ctx context.Context, node string) (o Outcome, err error) {
	return o, c.do(ctx, "POST", "/nodes/"+url.PathEscape(node)+"/undrain", nil, nil, &o)
}

// Limits returns the limits of a node.
func (c *Client) Limits(ctx context.Context, node string) (l Limits, err error) {
	return l, c.do(ctx, "GET", "/nodes/"+url.PathEscape(node)+"/limits", nil, nil, &l)
}

// SetLimits changes the limits of a node, and returns those that it has then.
func (c *Client) SetLimits(ctx context.Context, node string, l LimitsChange) (now Limits, err error) {
	return now, c.do(ctx, "PUT", "/nodes/"+url.PathEscape(node)+"/limits", nil, l, &now)
}

// Revoke ends all sessions of a grant, and refuses it at all nodes.
func (c *Client) Revoke(ctx context.Context, grant string, r Revocation) (o Outcome, err error) {
	return o, c.do(ctx, "POST", "/grants/"+url.PathEscape(grant)+"/revoke", nil, r, &o)
}

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 256 << 20

func (c *Client) do(ctx context.Context, method, path string, query, body, into any) error {
	fail := func(err error, detail string) error { return &cdn.Error{Op: "admin", Err: err, Detail: detail} }
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return fail(fmt.Errorf("%w: %w", cdn.ErrInvalid, err), "")
		}
		in = bytes.NewReader(b)
	}
	target := strings.TrimSuffix(c.URL, "/") + Prefix + path
	if q := queryOf(query); len(q) > 0 {
		target += "?" + q.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, method, target, in)
	if err != nil {
		return fail(fmt.Errorf("%w: %w", cdn.ErrInvalid, err), "")
	}
	r.Header.Set(RequestHeader, "1")
	r.Header.Set("Accept", "application/json, "+problemType)
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if c.Token != "" {
		r.Header.Set("Authorization", "Bearer "+c.Token)
	}
	client := c.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	resp, err := client.Do(r)
	if err != nil {
		return fail(fmt.Errorf("%w: %w", cdn.ErrPeerLost, err), "")
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fail(fmt.Errorf("%w: %w", cdn.ErrPeerLost, err), "")
	}
	if resp.StatusCode/100 != 2 {
		var p Problem
		if json.Unmarshal(answer, &p) != nil || p.Code == "" {
			return fail(fmt.Errorf("%w: HTTP status %d", cdn.ErrPeerLost, resp.StatusCode), "")
		}
		return fail(fmt.Errorf("%w: %s (HTTP status %d)", cdn.ErrorFor(p.Code), p.Code, resp.StatusCode), p.Detail)
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fail(fmt.Errorf("%w: the answer is no answer of this API: %w", cdn.ErrPeerLost, err), "")
	}
	return nil
}

// queryOf returns the parameters of a struct with query tags, without its zeros.
func queryOf(from any) url.Values {
	all := url.Values{}
	if from == nil {
		return all
	}
	v := reflect.ValueOf(from)
	for _, f := range reflect.VisibleFields(v.Type()) {
		switch field := v.FieldByIndex(f.Index); {
		case field.IsZero():
		case field.Kind() == reflect.Int:
			all.Set(f.Tag.Get("query"), strconv.FormatInt(field.Int(), 10))
		default:
			all.Set(f.Tag.Get("query"), field.String())
		}
	}
	return all
}
