package icetcp

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func fits(q *queue, now time.Time, packet string) bool {
	ok, _ := q.put(now, []byte(packet))
	return ok
}

func TestQueue(t *testing.T) {
	now := time.Unix(0, 0)
	var q queue
	put := func(packet string) { require.True(t, fits(&q, now, packet)) }
	put("a")
	put("bc")
	require.Equal(t, 7, q.waiting())
	out, late := q.take(now, nil)
	require.Equal(t, framed("a", "bc"), out)
	require.Zero(t, late)
	require.Equal(t, 7, q.waiting(), "it is not written yet")
	out, _ = q.take(now, out[:0])
	require.Empty(t, out)
	require.Zero(t, q.waiting())
}

func TestQueueIsBoundedInBytes(t *testing.T) {
	now := time.Unix(0, 0)
	var q queue
	packet := make([]byte, 1000)
	n := 0
	for fits(&q, now, string(packet)) {
		n++
	}
	require.Equal(t, MaxWaiting/1002, n)
	out, _ := q.take(now, nil)
	require.Len(t, out, 17*1002, "whole packets")
	require.False(t, fits(&q, now, string(packet)), "what is being written waits, too")
	_, _ = q.take(now, out[:0])
	require.True(t, fits(&q, now, string(packet)))
}

func TestQueueIsBoundedInTime(t *testing.T) {
	now := time.Unix(0, 0)
	var q queue
	q.put(now, []byte("old"))
	q.put(now.Add(time.Second), []byte("new"))
	out, late := q.take(now.Add(MaxWait), nil)
	require.Equal(t, framed("old", "new"), out)
	require.Zero(t, late)
	q.put(now, []byte("old"))
	q.put(now.Add(time.Second), []byte("new"))
	out, late = q.take(now.Add(MaxWait+1), nil)
	require.Equal(t, framed("new"), out)
	require.Equal(t, 1, late)
	for fits(&q, now, strings.Repeat("x", 1000)) {
	}
	ok, late := q.put(now.Add(MaxWait+1), []byte(strings.Repeat("y", 1000)))
	require.True(t, ok, "what is too old makes room")
	require.Greater(t, late, 200)
}

// Memory that a burst took is given back.
func TestQueueShrinks(t *testing.T) {
	now := time.Unix(0, 0)
	var q queue
	for fits(&q, now, strings.Repeat("x", 1000)) {
	}
	out, _ := q.take(now, nil)
	for len(out) > 0 {
		out, _ = q.take(now, out[:0])
	}
	require.LessOrEqual(t, cap(q.bytes), keptQueue)
	require.LessOrEqual(t, cap(out), chunk+headerLen+maxPacket+chunk)
}
