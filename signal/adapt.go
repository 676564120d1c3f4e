package signal

// An Adapt is how a viewer wants its video fitted to what its path carries. The server may
// bound each of its fields. The zero value leaves all to the server.
type Adapt struct {
	// Strategy is "quality", "balanced" or "careful"; "": the server's.
	Strategy string
	// FirstBitrate is what the first layer takes at most, in bits a second with sound and
	// all headers. If zero, it is the server's. If negative, the lowest layer is first.
	FirstBitrate int
	// MaxBitrate bounds what the viewer gets, in payload bits a second of video, as
	// [LayerSession].SetMaxBitrate does later. If zero, there is no such bound.
	MaxBitrate int
	// MaxHeight is the height, in pixels, that the picture of a layer has at most. If zero,
	// there is no such bound. If those of all layers are higher, the lowest layer is sent.
	MaxHeight int
}
