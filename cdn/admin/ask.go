package admin

import (
	"github.com/deltacdn/delta/cdn"
)

// What nodes ask each other. A field that is not known is passed over, so that nodes
// of different versions understand each other.

// ask is a question of one node's API to another's.
type ask struct {
	Op       string        `json:"op"`
	By       string        `json:"by,omitempty"`      // who has asked the API of the first node
	Session  string        `json:"session,omitempty"` // the node's own name for it
	Reason   string        `json:"reason,omitempty"`  // of opKick
	Entry    *entry        `json:"entry,omitempty"`   // of opPut
	Digest   string        `json:"digest,omitempty"`  // of the ledger of who asks
	Timeout  float64       `json:"timeout,omitempty"` // in seconds
	Limits   *LimitsChange `json:"limits,omitempty"`
	Sessions *sessionsWant `json:"sessions,omitempty"`
}

// bounded returns the question with words that can be logged.
func (q ask) bounded() ask {
	q.By, q.Reason = short(q.By), short(q.Reason)
	return q
}

// The operations.
const (
	opReport    = "report"
	opSessions  = "sessions"
	opKick      = "kick"
	opPut       = "put"
	opLedger    = "ledger"
	opDrain     = "drain"
	opUndrain   = "undrain"
	opLimits    = "limits"
	opSetLimits = "set-limits"
)

// told is the answer.
type told struct {
	Report   *Report   `json:"report,omitempty"`
	Sessions []Session `json:"sessions,omitempty"`
	Ended    int       `json:"ended,omitempty"`
	Limits   *Limits   `json:"limits,omitempty"`
	Ledger   []entry   `json:"ledger,omitempty"`
	// Code and Problem say why the operation failed: one of [cdn.ErrorCode], and a
	// sentence.
	Code    string `json:"code,omitempty"`
	Problem string `json:"problem,omitempty"`
}

// err returns the error that an answer stands for, nil: none.
func (t told) err(op string, node cdn.NodeID) error {
	if t.Code == "" {
		return nil
	}
	return &cdn.Error{Op: op, Node: node, Err: cdn.ErrorFor(t.Code), Detail: t.Problem}
}

// perform does what is asked of this node. from is the node that asks.
func (a *API) perform(from cdn.NodeID, q ask) told {
	t, err := a.operate(q)
	if changes(q.Op) {
		a.audit(from, q, a.node.ID(), t, err)
	}
	if err != nil {
		p := problemOf(err)
		t.Code, t.Problem = p.Code, p.Detail
	}
	return t
}

func changes(op string) bool {
	switch op {
	case opReport, opSessions, opLimits, opLedger:
		return false
	}
	return true
}

func (a *API) operate(q ask) (t told, err error) {
	switch q.Op {
	case opReport:
		r := a.ownReport()
		t.Report = &r
	case opSessions:
		t.Sessions = a.listSessions(q.Sessions)
	case opKick:
		err = a.kick(q)
		t.Ended = 1
	case opPut:
		t.Ended, err = a.put(q)
	case opLedger:
		t.Ledger = a.tellLedger(q)
	case opDrain:
		err = a.drain(q)
	case opUndrain:
		a.node.Undrain()
	case opLimits:
		l := limitsOf(a.node.Limits())
		t.Limits = &l
	case opSetLimits:
		t.Limits, err = a.setLimits(q)
	default:
		err = failed(q.Op, cdn.ErrUnsupported, "The node does not know this operation.")
	}
	if err != nil {
		t = told{}
	}
	return t, err
}

// audit writes one line for a change: who, what, and the result. at is where it was
// asked for, if that is another node.
func (a *API) audit(at cdn.NodeID, q ask, node cdn.NodeID, t told, err error) {
	args := []any{"op", q.Op, "by", q.By}
	if at != a.node.ID() {
		args = append(args, "asked_at", string(at))
	}
	if node != a.node.ID() {
		args = append(args, "at", string(node))
	}
	if q.Session != "" {
		args = append(args, "session", q.Session, "reason", q.Reason)
	}
	if e := q.Entry; e != nil {
		args = append(args, "kind", e.Kind, "id", e.ID, "takes_back", e.Gone, "reason", short(e.Reason), "until", e.Until)
	}
	if q.Timeout != 0 {
		args = append(args, "timeout_s", q.Timeout)
	}
	if q.Limits != nil {
		args = append(args, "limits", q.Limits.String())
	}
	result := "done"
	if err != nil {
		result = cdn.ErrorCode(err)
	}
	a.config.Logger.Info("an operator changed something", append(args, "result", result, "ended", t.Ended)...)
}
