package signal

import "context"

// A Status is what a viewer's client is told while its session lasts. Statuses are compared
// with ==.
type Status struct {
	// Active reports whether the stream has an input at this node: a publisher here, or
	// another node from which it is fetched.
	Active bool
	// Viewers is the number of sessions that play the stream at this node.
	Viewers int
	// Reconnect asks the client to start another session and then to end this one, because
	// the node is about to leave. ReconnectURL is the base URL of the signaling of the node
	// to go to ([cdn.Entry].URL), "" for this one.
	Reconnect    bool
	ReconnectURL string
	// Layer is the layer (simulcast RID) of the video that is sent. Paused reports that no
	// video is sent until the client can receive it again.
	Layer  string
	Paused bool
	// Adaptation is the last step by which the video was fitted to the client's path.
	Adaptation Adaptation
	// Mismatch is a track of the stream that the client cannot decode.
	Mismatch Mismatch
}

// An Adaptation is a step by which a viewer's video was fitted to what the viewer's path
// carries, and what is sent since. The zero value: no step was taken since the session began.
type Adaptation struct {
	// Layer is the layer (simulcast RID) of the video that is sent, or is about to be.
	Layer string
	// Mode is how much of it is sent: "full", "partial" (its lower temporal layers),
	// "keyframes" (nothing else), or "paused" (no video; sound goes on).
	Mode string
	// Height is that of the layer's picture, in pixels; 0: it is not known, or none is sent.
	Height int
	// Bitrate is what the layer takes at most, in bits a second with headers; 0: that is not
	// known, or none is sent.
	Bitrate int
	// Limited reports whether less is sent than before, because the path did not carry it.
	// It is false of a viewer that began low and has not climbed yet.
	Limited bool
	// Reason is why the step was taken, as in the statistics of an edge.
	Reason string
}

// A Mismatch is a track that is not sent because the client's offer has no codec
// that decodes it. Codecs are written as in "video/H264 profile-level-id=640c34".
// The zero value: there is none.
type Mismatch struct {
	Kind    string // "audio" or "video"
	Stream  string // the codec that the stream has
	Offered string // the codecs that the client offered, separated by ", "
}

// A StatusSession is a Session with a Status: an edge's sessions are.
type StatusSession interface {
	Session
	// Status returns the current status.
	Status() Status
	// AwaitStatus returns the status as soon as it differs from seen in more than
	// Viewers, or when ctx or the session has ended.
	AwaitStatus(ctx context.Context, seen Status) Status
}
