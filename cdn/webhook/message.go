package webhook

import (
	"errors"
	"time"

	"github.com/deltacdn/delta/cdn"
)

// A Type says what a message is about.
type Type string

// The types.
const (
	TypePublish Type = "publish" // a publisher was let in
	TypePlay    Type = "play"    // a viewer was let in
	TypeEnded   Type = "ended"   // the session of a publisher or a viewer is over
	TypeSlow    Type = "slow"    // a viewer cannot take what it is sent
)

// Types are all the types.
var Types = []Type{TypePublish, TypePlay, TypeEnded, TypeSlow}

// A Message is the body of a request, in JSON.
type Message struct {
	Type      Type       `json:"type"`
	Timestamp time.Time  `json:"timestamp"` // when it happened
	Node      cdn.NodeID `json:"node"`
	// Dropped is how many messages for this receiver were given up since the last one
	// that came.
	Dropped int  `json:"dropped,omitempty"`
	Data    Data `json:"data"`
}

// Data is what happened. Fields that a type does not have are absent.
type Data struct {
	Stream  cdn.StreamID `json:"stream"`
	Session string       `json:"session"`          // names the session at its node
	Action  string       `json:"action,omitempty"` // of TypeEnded: "publish" or "play"
	// Subject, Grant and Tag are as the Authorizer said: see [cdn.Grant].
	Subject string `json:"subject,omitempty"`
	Grant   string `json:"grant,omitempty"`
	Tag     string `json:"tag,omitempty"`
	Address string `json:"address,omitempty"` // of TypePublish, TypePlay: host:port of its signaling
	// LastedMS is, of TypeEnded, how long the session lasted, in milliseconds.
	LastedMS *int64 `json:"lasted_ms,omitempty"`
	// Reason is, of TypeEnded, why: a code of [cdn.ErrorCode].
	Reason string `json:"reason,omitempty"`
	// Detail is, of TypeEnded, the sentence that the client was told, such as an operator's
	// for ending the session. Empty: it was told the code alone.
	Detail string `json:"detail,omitempty"`
	// Layer is, of TypeSlow, the layer that the viewer is sent from now on.
	Layer string `json:"layer,omitempty"`
	// Paused is, of TypeSlow, whether it gets no picture until the next keyframe.
	Paused *bool `json:"paused,omitempty"`
	// Keyframes is, of TypeSlow, whether only keyframes are sent of the layer.
	Keyframes bool `json:"keyframes,omitempty"`
	// Temporal is, of TypeSlow, how many of the layer's temporal layers are sent, the lowest
	// first; 0: all.
	Temporal int `json:"temporal,omitempty"`
}

// messageOf returns what to tell of an event; ok is false if nothing.
func messageOf(e cdn.Event) (m Message, ok bool) {
	switch e := e.(type) {
	case cdn.SessionStarted:
		switch e.Action {
		case cdn.ActionPublish:
			m.Type = TypePublish
		case cdn.ActionPlay:
			m.Type = TypePlay
		default: // nodes are no clients
			return m, false
		}
		m.Data = Data{
			Stream: e.Stream, Session: e.Session, Subject: e.Subject, Grant: e.Grant, Tag: e.Tag, Address: e.RemoteAddr,
		}
	case cdn.SessionEnded:
		if e.Action != cdn.ActionPublish && e.Action != cdn.ActionPlay {
			return m, false
		}
		lasted := e.Lasted.Milliseconds()
		m.Type = TypeEnded
		m.Data = Data{
			Stream: e.Stream, Session: e.Session, Action: e.Action.String(), Subject: e.Subject, Grant: e.Grant, Tag: e.Tag,
			LastedMS: &lasted, Reason: cdn.ErrorCode(e.Err), Detail: detail(e.Err),
		}
	case cdn.ViewerSlow:
		m.Type = TypeSlow
		m.Data = Data{
			Stream: e.Stream, Session: e.Session, Subject: e.Subject, Grant: e.Grant, Tag: e.Tag, Layer: e.Layer, Paused: &e.Paused,
			Keyframes: e.Keyframes, Temporal: e.Temporal,
		}
	default:
		return m, false
	}
	return m, true
}

// detail returns the outermost sentence for the client that err has, "" if none.
func detail(err error) string {
	var e *cdn.Error
	for errors.As(err, &e) {
		if e.Detail != "" {
			return e.Detail
		}
		err = e.Err
	}
	return ""
}
