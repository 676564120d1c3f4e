package cdn

// A Stream is a live stream at this node.
type Stream struct{}
