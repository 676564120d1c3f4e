package replica

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
)

func TestObjections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var o Objections
		send, next := o.Due()
		require.Empty(t, send)
		require.Equal(t, time.Hour, next)

		o.Old(Key{"s", "a"}, 7)
		o.Old(Key{"t", "a"}, 9)
		o.Old(Key{"t", "b"}, 3)
		o.Heard(Value{Seq: 3, Seen: "b"}) // another one was faster
		time.Sleep(objectWithin)
		send, _ = o.Due()
		require.Equal(t, []Value{{Seq: 9, Seen: "a"}}, send, "once for all of a node's keys")
		o.Old(Key{"s", "a"}, 7)
		time.Sleep(objectWithin)
		send, _ = o.Due()
		require.Empty(t, send, "not so soon again")
		o.Heard(Value{Seq: 9, Seen: "a"}) // it comes back
		o.Old(Key{"s", "a"}, 10)
		time.Sleep(objectWithin)
		send, _ = o.Due()
		require.Equal(t, []Value{{Seq: 10, Seen: "a"}}, send, "that is news")

		time.Sleep(2 * objectApart)
		_, _ = o.Due()
		require.Empty(t, o.about)
		for i := range 2 * maxObjections {
			o.Old(Key{"", cdn.NodeID(fmt.Sprint("n", i))}, 1)
		}
		assert.Len(t, o.about, maxObjections)
	})
}
