package send

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/send/allot"
	"github.com/deltacdn/delta/internal/send/bwe"
)

// A viewer has two senders at least. With the 8 bytes that the runtime adds to objects of
// more than 512, these sizes are the largest of their size classes: a field more costs a
// viewer an eighth of a sender's memory.
func TestSizes(t *testing.T) {
	require.LessOrEqual(t, unsafe.Sizeof(Sender{}), uintptr(1408-8))
	require.LessOrEqual(t, unsafe.Sizeof(Set{}), uintptr(640-8))
	// The path of a viewer that dozes.
	require.LessOrEqual(t, unsafe.Sizeof(adaptation{}), uintptr(192))
	require.LessOrEqual(t, unsafe.Sizeof(bwe.Estimator{}), uintptr(448))
	require.LessOrEqual(t, unsafe.Sizeof(allot.Adaptive{}), uintptr(288))
	// What comes to it when the viewer is awake, beside the estimator's own.
	require.LessOrEqual(t, unsafe.Sizeof(awake{}), uintptr(224))
}
