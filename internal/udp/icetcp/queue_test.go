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

// A sender that fills what room there is loses nothing after the first seconds, however
// narrow the connection is, and a wide one is used.
func TestRoomFollowsTheConnection(t *testing.T) {
	for _, c := range []struct {
		rate int // bits a second
		lost int // packets after 5 s, at most
	}{{60_000, 0}, {100_000, 0}, {250_000, 0}, {1_000_000, 0}, {10_000_000, 0}} {
		var q queue
		now, packet := time.Unix(1000, 0), make([]byte, 1000)
		written, lost := 0, 0
		var free time.Time // when the connection takes more
		for tick := range 30_000 {
			now = now.Add(time.Millisecond)
			if tick%20 == 0 {
				for q.hasRoom() {
					_, late := q.put(now, packet)
					lost += late
				}
			}
			if tick == 5000 {
				written, lost = 0, 0
			}
			if now.Before(free) {
				continue
			}
			out, late := q.take(now, nil)
			written += len(out)
			lost += late
			free = now.Add(time.Duration(len(out)*8) * time.Second / time.Duration(c.rate))
		}
		require.LessOrEqual(t, lost, c.lost, "at %d bit/s", c.rate)
		require.Greater(t, float64(written*8), 0.8*25*float64(min(c.rate, 8*mostRoom*50/2)), "at %d bit/s", c.rate)
	}
}
