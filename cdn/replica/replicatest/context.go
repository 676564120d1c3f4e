package replicatest

import (
	"context"
	"testing"
)

// AtOnce returns a context for calls that must not wait: the test fails where one asks for
// the channel that tells of the context's end.
func AtOnce(t *testing.T) context.Context { return atOnce{t.Context(), t} }

type atOnce struct {
	context.Context
	t *testing.T
}

func (c atOnce) Done() <-chan struct{} {
	c.t.Error("a call waits for an engine that is known to be away")
	return c.Context.Done()
}
