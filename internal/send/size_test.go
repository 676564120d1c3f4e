package send

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// A viewer has two senders at least. With the 8 bytes that the runtime adds to objects of
// more than 512, these sizes are the largest of their size classes: a field more costs a
// viewer an eighth of a sender's memory.
func TestSizes(t *testing.T) {
	require.LessOrEqual(t, unsafe.Sizeof(Sender{}), uintptr(1792-8))
	require.LessOrEqual(t, unsafe.Sizeof(Set{}), uintptr(640-8))
	require.LessOrEqual(t, unsafe.Sizeof(adaptation{}), uintptr(512))
}
