package cdn

import (
	"io"
	"reflect"
)

// Shared returns the T that the services of a node have in common, such as its
// links with other nodes: the first call makes it, and the node owns it then.
func Shared[T io.Closer](n *Node, create func() (T, error)) (T, error) {
	n.sharing.Lock()
	defer n.sharing.Unlock()
	kind := reflect.TypeFor[T]()
	if have, ok := n.shared[kind]; ok {
		return have.(T), nil
	}
	made, err := create()
	if err != nil {
		return made, err
	}
	if n.shared == nil {
		n.shared = make(map[reflect.Type]io.Closer)
	}
	n.shared[kind] = made
	n.Own(made)
	return made, nil
}

// Trust returns by what the node and others know each other.
func (n *Node) Trust() Trust { return n.config.Trust }

// Guarded reports whether the node has an [Authorizer].
func (n *Node) Guarded() bool { return n.config.Authorizer != nil }

// Limits returns what the node takes on, for the services on it.
func (n *Node) Limits() Limits { return n.config.Limits }
