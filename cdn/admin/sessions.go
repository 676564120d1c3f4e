package admin

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/edge"
)

// sessionsWant is what is wanted of one node's sessions.
type sessionsWant struct {
	Stream  string `json:"stream,omitempty"`
	Action  string `json:"action,omitempty"`
	Tag     string `json:"tag,omitempty"`
	Subject string `json:"subject,omitempty"`
	Limit   int    `json:"limit"`
	// Begun and After are of the last session of the page ahead: when it began, in
	// nanoseconds of Unix time, and its name.
	Begun int64  `json:"begun,omitempty"`
	After string `json:"after,omitempty"`
}

func (w *sessionsWant) matches(s cdn.SessionInfo) bool {
	return (w.Stream == "" || w.Stream == string(s.Stream)) && (w.Action == "" || w.Action == s.Action.String()) &&
		(w.Tag == "" || w.Tag == s.Tag) && (w.Subject == "" || w.Subject == s.Subject) &&
		cmp.Or(cmp.Compare(s.Begun.UnixNano(), w.Begun), cmp.Compare(s.Session, w.After)) > 0
}

// listSessions returns the first of this node's sessions that are wanted.
func (a *API) listSessions(w *sessionsWant) (page []Session) {
	if w == nil {
		w = &sessionsWant{}
	}
	limit := min(w.Limit, mostOnPage+1)
	var viewers map[string]edge.ViewerStats
	for _, s := range a.node.Sessions() {
		if !w.matches(s) {
			continue
		}
		if len(page) >= limit {
			break
		}
		if s.Action == cdn.ActionPlay && viewers == nil {
			viewers = map[string]edge.ViewerStats{}
			for _, v := range a.viewers().Sessions {
				viewers[v.Session] = v
			}
		}
		page = append(page, a.sessionOf(s, viewers))
	}
	return page
}

func (a *API) sessionOf(s cdn.SessionInfo, viewers map[string]edge.ViewerStats) Session {
	doc := Session{
		ID: sessionID(s.Session, a.node.ID()), Node: string(a.node.ID()), Stream: string(s.Stream), Action: s.Action.String(),
		Subject: s.Subject, Grant: s.Grant, Tag: s.Tag, Peer: string(s.Node), RemoteAddress: s.RemoteAddr, Begun: s.Begun, HalfOpen: s.HalfOpen,
	}
	if v, ok := viewers[s.Session]; ok {
		doc.Viewer = &Viewer{
			Layer: v.Layer, Named: v.Named, Paused: v.Paused, Packets: v.Packets, Bytes: v.Bytes, Resent: v.Resent, Shed: v.Shed,
			RTTMs: milliseconds(v.RTT), Loss: v.Loss,
		}
	}
	return doc
}

// sessionID names a session in the network.
func sessionID(name string, node cdn.NodeID) string { return name + "@" + string(node) }

// splitSession is the inverse of sessionID.
func splitSession(id string) (name string, node cdn.NodeID, err error) {
	name, at, _ := strings.Cut(id, "@")
	node, err = cdn.ParseNodeID(at)
	if err != nil || name == "" {
		return "", "", failed("kick", cdn.ErrNotFound, "There is no such session. A session's ID has its node's after an \"@\".")
	}
	return name, node, nil
}

// kick ends a session of this node.
func (a *API) kick(q ask) error {
	err := a.node.EndSession(q.Session, ended("kick", "", "An operator ended the session", q.Reason))
	if err != nil {
		return failed("kick", cdn.ErrNotFound, "There is no such session at this node.")
	}
	return nil
}

// ended is the error that a session ends with, whose client is told the sentence.
func ended(op string, stream cdn.StreamID, sentence, reason string) error {
	detail, err := sentence+".", cdn.ErrForbidden
	if reason != "" {
		detail, err = sentence+": "+reason, fmt.Errorf("%w: %s", cdn.ErrForbidden, reason)
	}
	return &cdn.Error{Op: op, Stream: stream, Err: err, Detail: detail}
}

// position is where a page of sessions ends.
type position struct {
	Node  string `json:"n"`
	Begun int64  `json:"b,omitempty"`
	Name  string `json:"s,omitempty"`
}

func (p position) String() string {
	b, _ := json.Marshal(p) // it always can be
	return base64.RawURLEncoding.EncodeToString(b)
}

func parsePosition(after string) (p position, err error) {
	if after == "" {
		return p, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(after)
	if err == nil {
		err = json.Unmarshal(b, &p)
	}
	if err != nil {
		return p, badQuery("The parameter after is not one that this API has given.")
	}
	return p, nil
}

// sortSessions is for pages: by node, then by age.
func sortSessions(all []Session) {
	slices.SortFunc(all, func(x, y Session) int {
		return cmp.Or(cmp.Compare(x.Node, y.Node), x.Begun.Compare(y.Begun), cmp.Compare(x.ID, y.ID))
	})
}
