package cdn

import (
	"crypto/rand"
	"fmt"
	"strings"
)

// MaxStreamIDLen is the longest StreamID, in bytes.
const MaxStreamIDLen = 255

// A StreamID names a live stream; it is unique in a CDN. It consists of one or
// more elements separated by "/", as in "live/camera1". An element holds
// letters, digits and any of "-._~@+=:" (the characters that a URL path needs
// no escaping for), and is not ".", ".." or "-": the last is how session URLs
// separate the stream from the session.
type StreamID string

// ParseStreamID returns s as a StreamID, or an error wrapping [ErrInvalid]
// that says what is wrong with it.
func ParseStreamID(s string) (StreamID, error) {
	if s == "" {
		return "", fmt.Errorf("%w: empty stream id", ErrInvalid)
	}
	if len(s) > MaxStreamIDLen {
		return "", fmt.Errorf("%w: stream id of %d bytes, %d are allowed", ErrInvalid, len(s), MaxStreamIDLen)
	}
	for element := range strings.SplitSeq(s, "/") {
		switch element {
		case "":
			return "", fmt.Errorf("%w: stream id %q has an empty element", ErrInvalid, s)
		case ".", "..", "-":
			return "", fmt.Errorf("%w: stream id %q has the reserved element %q", ErrInvalid, s, element)
		}
		if i := strings.IndexFunc(element, func(r rune) bool { return !streamIDRune(r) }); i >= 0 {
			return "", fmt.Errorf("%w: stream id %q may not contain %q", ErrInvalid, s, []rune(element[i:])[0])
		}
	}
	return StreamID(s), nil
}

func streamIDRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' ||
		strings.ContainsRune("-._~@+=:", r)
}

// A NodeID names a node for as long as its process lives.
type NodeID string

// ParseNodeID returns s as a NodeID, or an error wrapping [ErrInvalid]: it may
// hold what an element of a [StreamID] may.
func ParseNodeID(s string) (NodeID, error) {
	const most = 128
	if s == "" || len(s) > most {
		return "", fmt.Errorf("%w: node id of %d bytes", ErrInvalid, len(s))
	}
	if i := strings.IndexFunc(s, func(r rune) bool { return !streamIDRune(r) }); i >= 0 {
		return "", fmt.Errorf("%w: node id %q has other characters than a stream id's", ErrInvalid, s)
	}
	return NodeID(s), nil
}

// NewNodeID returns a random NodeID.
func NewNodeID() NodeID { return NodeID("n-" + strings.ToLower(rand.Text()[:12])) }
