package link

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/endpoint"
	"github.com/deltacdn/delta/internal/link/control"
	"github.com/deltacdn/delta/internal/link/once"
)

// A description is what one node tells the other by signaling: who it is and how its
// port is reached. The dialling node offers one, and the other answers with its own.
// Unknown fields are ignored.
type description struct {
	Node        cdn.NodeID `json:"node"`
	URL         string     `json:"url,omitempty"` // of its signaling, if it has one
	Instance    string     `json:"instance"`      // of its process
	Ufrag       string     `json:"ufrag"`
	Pwd         string     `json:"pwd"`
	Fingerprint string     `json:"fingerprint"` // of its certificate, as in a=fingerprint
	Candidates  []string   `json:"candidates"`  // addresses of its port
	// Made is when it was made, in Unix seconds; 0 by a node of an older version.
	Made int64 `json:"made,omitempty"`
	// Control holds the first datagrams of the control protocol, which travel with the
	// offer. They are read once DTLS has authenticated the node.
	Control [][]byte `json:"control,omitempty"`
}

// description is what other nodes are told of this one and of a link's transport.
func (ls *Links) description(local endpoint.Local) description {
	d := description{
		Node: ls.node.ID(), URL: ls.node.URL(), Instance: ls.instance,
		Ufrag: local.ICE.Ufrag, Pwd: local.ICE.Pwd, Fingerprint: local.Fingerprint, Made: time.Now().Unix(),
	}
	for _, c := range local.Candidates[:min(len(local.Candidates), maxCandidates)] { // the other node refuses more
		d.Candidates = append(d.Candidates, c.String())
	}
	return d
}

// An envelope carries a description with the proof that its sender knows the shared
// secret. The proof covers the bytes of Link.
type envelope struct {
	Link  json.RawMessage `json:"link"`
	Proof []byte          `json:"proof,omitempty"`
}

const (
	maxCandidates = 16
	maxControl    = 8
	maxInstance   = 64
	maxURL        = 1024
)

// A remote is a description that has been checked.
type remote struct {
	endpoint.Remote
	node     cdn.NodeID
	url      string
	instance string
	control  [][]byte
	vouched  bool      // a secret or a CA stands for its name
	made     time.Time // zero: unknown
	proof    once.Key  // of an offer with a good proof
}

// is compares what a node says on the link with its description, which others may have
// changed on the way. With pins, nothing else vouches for the node's name.
func (r remote) is(h control.Hello) error {
	if h.Node != string(r.node) || h.Instance != "" && h.Instance != r.instance {
		return fmt.Errorf("%w: node %.64q was said to be %s", cdn.ErrUnauthorized, h.Node, r.node)
	}
	return nil
}

// seal marshals a description. The proof covers context, too.
func seal(d description, t cdn.Trust, context []byte) ([]byte, error) {
	raw, err := json.Marshal(d)
	if err != nil {
		return nil, err
	}
	e := envelope{Link: raw}
	if t.Secret != "" {
		e.Proof = proof(t.Secret, context, raw)
	}
	return json.Marshal(e)
}

// open reads the output of seal, and reports whether the proof is good. Errors wrap
// [cdn.ErrInvalid].
func open(body []byte, t cdn.Trust, context []byte) (r remote, proved bool, err error) {
	var e envelope
	var d description
	if err := json.Unmarshal(body, &e); err != nil {
		return r, false, invalid("%v", err)
	}
	if err := json.Unmarshal(e.Link, &d); err != nil {
		return r, false, invalid("%v", err)
	}
	if r, err = d.check(); err != nil {
		return r, false, err
	}
	if t.Secret == "" || !proves(t.Secret, context, e.Link, e.Proof) {
		return r, false, nil
	}
	copy(r.proof[:], e.Proof)
	return r, true, nil
}

func (d description) check() (r remote, err error) {
	if _, err := cdn.ParseNodeID(string(d.Node)); err != nil {
		return r, err
	}
	switch {
	case len(d.URL) > maxURL:
		return r, invalid("URL of %d characters", len(d.URL))
	case d.Instance == "" || len(d.Instance) > maxInstance:
		return r, invalid("instance of %d characters", len(d.Instance))
	case len(d.Ufrag) < 4 || len(d.Ufrag) > 256 || len(d.Pwd) < 22 || len(d.Pwd) > 256: // RFC 8839 section 5.4
		return r, invalid("ICE user name of %d characters, password of %d", len(d.Ufrag), len(d.Pwd))
	case len(d.Candidates) == 0 || len(d.Candidates) > maxCandidates:
		return r, invalid("%d candidates", len(d.Candidates))
	case len(d.Control) > maxControl:
		return r, invalid("%d datagrams", len(d.Control))
	}
	if r.Remote, err = endpoint.NewRemote(d.Ufrag, d.Pwd, d.Fingerprint); err != nil {
		return r, invalid("%v", err)
	}
	if d.Made != 0 {
		r.made = time.Unix(d.Made, 0)
	}
	r.node, r.url, r.instance, r.control = d.Node, d.URL, d.Instance, d.Control
	for _, c := range d.Candidates {
		addr, err := netip.ParseAddrPort(c)
		if err != nil || addr.Port() == 0 || addr.Addr().IsMulticast() || addr.Addr().IsUnspecified() {
			return r, invalid("candidate %.40q", c)
		}
		r.Candidates = append(r.Candidates, netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port()))
	}
	return r, nil
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: link: %s", cdn.ErrInvalid, fmt.Sprintf(format, args...))
}
