package hookauth

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"slices"

	"github.com/deltacdn/delta/cdn"
)

// Version is the version of the protocol, in every [Question].
const Version = 1

// maxQuestion is the longest question, in bytes. Longer ones are refused unasked.
const maxQuestion = 16 << 10

// A Question is the body of a request to the hook, in JSON.
type Question struct {
	Version int          `json:"version"`
	Action  string       `json:"action"` // "publish", "play" or "fetch"
	Stream  cdn.StreamID `json:"stream"`
	// Credential is the bearer token of the client, "" if there was none.
	Credential string `json:"credential"`
	// Query has the parameters of the URL that the client asked.
	Query url.Values `json:"query"`
	// Address is the IP address of the client, "" if unknown. Its port is left out, so
	// that the answer can be kept.
	Address string     `json:"address"`
	Node    cdn.NodeID `json:"node"` // that asks
	// Peer is, of "fetch", the other node, as it calls itself, without proof.
	Peer cdn.NodeID `json:"peer,omitempty"`
}

// A key names a question: two that differ in anything have different ones.
type key [sha256.Size]byte

// question returns what to ask about a request.
func (a *Authorizer) question(r cdn.AuthRequest) (body []byte, k key, err error) {
	q := Question{
		Version: Version, Action: r.Action.String(), Stream: r.Stream, Credential: r.Credential, Query: url.Values{},
		Node: a.config.Node, Peer: r.Node,
	}
	for name, values := range r.Query {
		if a.config.Parameters == nil || slices.Contains(a.config.Parameters, name) {
			q.Query[name] = values
		}
	}
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		q.Address = host
	}
	if body, err = json.Marshal(q); err != nil {
		return nil, key{}, err
	}
	if len(body) > maxQuestion {
		return nil, key{}, fmt.Errorf("%w: the request has %d bytes, %d are allowed", cdn.ErrUnauthorized, len(body), maxQuestion)
	}
	return body, sha256.Sum256(body), nil
}
