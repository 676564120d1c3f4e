package access

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/internal/strictjson"
)

// A Policy is what a [List] decides by. The blocks come first, then the rules in their
// order; the first that matches decides, and what none matches is allowed. So a list of
// what is allowed ends with the rule {"effect": "deny"}.
type Policy struct {
	// Version counts the changes. [List.Set] takes a policy only if its Version is that of
	// the policy that it replaces.
	Version uint64  `json:"version"`
	Blocks  []Block `json:"blocks,omitempty"`
	Rules   []Rule  `json:"rules,omitempty"`
}

// A Block keeps everybody from the streams that match, other nodes included.
type Block struct {
	Streams string    `json:"streams"`          // a [cdn.StreamPattern]
	Reason  string    `json:"reason,omitempty"` // for operators: in the log and in listings, not shown to clients
	Until   time.Time `json:"until,omitzero"`   // when it lapses. Zero: never
}

// The effects of a [Rule].
const (
	Allow = "allow"
	Deny  = "deny"
)

// A Rule allows or denies. It matches a request if all of its conditions hold; a
// condition that is empty always does. So {"effect": "deny"} denies everything, the
// fetches of other nodes included, unless actions says otherwise.
type Rule struct {
	Effect  string   `json:"effect"`            // [Allow] or [Deny]
	Streams string   `json:"streams,omitempty"` // a [cdn.StreamPattern]
	Actions []string `json:"actions,omitempty"` // of publish, play and fetch: any of these
	Subject string   `json:"subject,omitempty"` // [cdn.Grant].Subject
	Tag     string   `json:"tag,omitempty"`     // [cdn.Grant].Tag
	Grant   string   `json:"grant,omitempty"`   // [cdn.Grant].ID
	// Address is the client's, of its signaling: an IP address or a prefix of such, as
	// 192.0.2.0/24. It does not hold for a client of which no address is known.
	Address string    `json:"address,omitempty"`
	Reason  string    `json:"reason,omitempty"` // for operators, as that of a Block
	Until   time.Time `json:"until,omitzero"`   // when the rule lapses. Zero: never
}

// MaxRules is how many rules, and how many blocks, a [Policy] may have.
const MaxRules = 4096

// maxText is the longest text of a rule, in bytes.
const maxText = 512

// A RuleError says which part of a [Policy] is wrong. It wraps [cdn.ErrInvalid].
type RuleError struct {
	List  string // "rules" or "blocks"
	Index int    // in the list, from 0
	Field string // the name in JSON; "": the whole
	Err   error
}

func (e *RuleError) Error() string {
	where := fmt.Sprintf("%s[%d]", e.List, e.Index)
	if e.Field != "" {
		where += "." + e.Field
	}
	return where + ": " + e.Err.Error()
}

// Unwrap returns why, and [cdn.ErrInvalid].
func (e *RuleError) Unwrap() []error { return []error{cdn.ErrInvalid, e.Err} }

// ParsePolicy reads a policy in JSON. It refuses unknown keys, a key that one object has
// twice, and all that [List.Set] refuses. Its errors wrap [cdn.ErrInvalid]; about a rule they are a [*RuleError].
func ParsePolicy(data []byte) (Policy, error) {
	if _, err := strictjson.Object(data); err != nil {
		return Policy{}, fmt.Errorf("%w: access policy: %w", cdn.ErrInvalid, err)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	var p Policy
	if err := d.Decode(&p); err != nil {
		return Policy{}, fmt.Errorf("%w: access policy: %w", cdn.ErrInvalid, err)
	}
	return p, p.Check()
}

// Check returns what is wrong with the policy, nil: nothing.
func (p Policy) Check() error {
	_, err := compile(p)
	return err
}

// without returns the policy without what has lapsed.
func (p Policy) without(now time.Time) Policy {
	p.Blocks = slices.DeleteFunc(slices.Clone(p.Blocks), func(b Block) bool { return lapsed(b.Until, now) })
	p.Rules = slices.DeleteFunc(slices.Clone(p.Rules), func(r Rule) bool { return lapsed(r.Until, now) })
	for i := range p.Rules {
		p.Rules[i].Actions = slices.Clone(p.Rules[i].Actions)
	}
	return p
}

func lapsed(until, now time.Time) bool { return !until.IsZero() && !now.Before(until) }

// A compiled policy is one that can decide.
type compiled struct {
	Policy
	conditions []condition // of the blocks, then of the rules
}

// A condition is what a rule asks for.
type condition struct {
	rule     Rule
	block    bool
	index    int // in its list
	streams  cdn.StreamPattern
	actions  []cdn.Action
	prefix   netip.Prefix
	ofGrants bool // it asks for what only a grant says
}

func compile(p Policy) (*compiled, error) {
	c := &compiled{Policy: p}
	if len(p.Blocks) > MaxRules || len(p.Rules) > MaxRules {
		return nil, fmt.Errorf("%w: access policy of %d blocks and %d rules: %d of each are allowed", cdn.ErrInvalid, len(p.Blocks), len(p.Rules), MaxRules)
	}
	for i, b := range p.Blocks {
		if b.Streams == "" {
			return nil, &RuleError{"blocks", i, "streams", errors.New("it names no streams; all are **")}
		}
		if err := c.add("blocks", i, Rule{Effect: Deny, Streams: b.Streams, Reason: b.Reason, Until: b.Until}); err != nil {
			return nil, err
		}
	}
	for i, r := range p.Rules {
		if err := c.add("rules", i, r); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *compiled) add(list string, index int, r Rule) (err error) {
	fail := func(field string, err error) error { return &RuleError{list, index, field, err} }
	n := condition{rule: r, block: list == "blocks", index: index, ofGrants: r.Subject != "" || r.Tag != "" || r.Grant != ""}
	for _, t := range [][2]string{{"reason", r.Reason}, {"subject", r.Subject}, {"tag", r.Tag}, {"grant", r.Grant}} {
		if len(t[1]) > maxText {
			return fail(t[0], fmt.Errorf("%d bytes, %d are allowed", len(t[1]), maxText))
		}
	}
	if r.Effect != Allow && r.Effect != Deny {
		return fail("effect", fmt.Errorf("%.20q is neither allow nor deny", r.Effect))
	}
	if r.Streams != "" {
		if n.streams, err = cdn.ParseStreamPattern(r.Streams); err != nil {
			return fail("streams", err)
		}
	}
	for _, name := range r.Actions {
		a, err := cdn.ParseAction(name)
		if err != nil {
			return fail("actions", err)
		}
		n.actions = append(n.actions, a)
	}
	if r.Address != "" {
		if n.prefix, err = parsePrefix(r.Address); err != nil {
			return fail("address", err)
		}
	}
	c.conditions = append(c.conditions, n)
	return nil
}

func parsePrefix(s string) (netip.Prefix, error) {
	if ip, err := netip.ParseAddr(s); err == nil && ip.Zone() == "" {
		ip = ip.Unmap()
		return netip.PrefixFrom(ip, ip.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, fmt.Errorf("%.60q is neither an IP address nor a prefix", s)
	}
	if p != p.Masked() {
		return p, fmt.Errorf("%s has bits beyond its length: %s is meant, perhaps", s, p.Masked())
	}
	return p, nil
}

// A requester is who wants something, so far as it is known.
type requester struct {
	action  cdn.Action
	stream  cdn.StreamID
	address netip.Addr // invalid: not known
	known   bool       // the grant is, and so is what follows
	subject string
	tag     string
	grant   string
}

func addressOf(remote string) netip.Addr {
	if a, err := netip.ParseAddrPort(remote); err == nil {
		return a.Addr().Unmap().WithZone("")
	}
	a, _ := netip.ParseAddr(remote)
	return a.Unmap().WithZone("")
}

// decide returns why a is denied, nil: it is not. If its grant is not known and matters,
// nothing is decided.
func (c *compiled) decide(now time.Time, a requester) error {
	for i := range c.conditions {
		n := &c.conditions[i]
		if lapsed(n.rule.Until, now) || !n.matches(a) {
			continue
		}
		switch {
		case n.ofGrants && !a.known, n.rule.Effect == Allow:
			return nil
		}
		return &DeniedError{Stream: a.stream, Action: a.action, Rule: n.rule, Block: n.block, Index: n.index}
	}
	return nil
}

func (n *condition) matches(a requester) bool {
	r := &n.rule
	switch {
	case len(n.actions) > 0 && !slices.Contains(n.actions, a.action),
		a.known && (r.Subject != "" && r.Subject != a.subject || r.Tag != "" && r.Tag != a.tag || r.Grant != "" && r.Grant != a.grant),
		r.Address != "" && !n.prefix.Contains(a.address),
		n.streams != "" && string(n.streams) != string(a.stream) && !n.streams.Match(a.stream):
		return false
	}
	return true
}

// next returns when the next block or rule lapses, zero: none does.
func (c *compiled) next(now time.Time) (at time.Time) {
	for _, n := range c.conditions {
		if u := n.rule.Until; !u.IsZero() && now.Before(u) && (at.IsZero() || u.Before(at)) {
			at = u
		}
	}
	return at
}
