package signal

import "context"

// A Status is what a session's client may want to know while the session lasts.
// Statuses are compared with ==.
type Status struct {
	// Active reports whether the stream has an input at this node: somebody
	// publishes it here, or it is fetched from another node.
	Active bool
	// Viewers is how many sessions of the same stream play at this node.
	Viewers int
	// Reconnect asks the client to start a new session and then to end this one:
	// the node is going to. ReconnectURL is the endpoint for it, "" if it is the
	// same.
	Reconnect    bool
	ReconnectURL string
	// Layer is the layer (simulcast RID) of the video that is sent, and Paused
	// tells that none is sent until the client can take it again.
	Layer  string
	Paused bool
	// Mismatch is a track of the stream that the client cannot take.
	Mismatch Mismatch
}

// A Mismatch is a track that is not sent because the client's offer has no codec
// that decodes it. Codecs are written as in "video/H264 profile-level-id=640c34".
// The zero value: there is none.
type Mismatch struct {
	Kind    string // "audio" or "video"
	Stream  string // the codec that the stream has
	Offered string // the codecs that the client offered, separated by ", "
}

// A StatusSession is a Session that tells its Status: an edge's sessions are.
type StatusSession interface {
	Session
	// Status returns the present status.
	Status() Status
	// AwaitStatus returns the status as soon as it differs from seen in more than
	// Viewers, or when ctx or the session has ended.
	AwaitStatus(ctx context.Context, seen Status) Status
}
