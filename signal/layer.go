package signal

// A LayerSession is the Session of a viewer whose layer can be changed while it lasts,
// without a new negotiation: an edge's sessions are. The client is told by the session's
// [Status].
type LayerSession interface {
	Session
	// SetLayer has the viewer get another layer (simulcast RID) than it asked for; "" is
	// the best. It fails with [cdn.ErrNotFound] if the stream has none of that name.
	SetLayer(layer string) error
	// SetMaxBitrate bounds the layer that the viewer gets, in payload bits a second; 0
	// takes the bound back. It fails with [cdn.ErrInvalid] for less.
	SetMaxBitrate(bits int) error
}
