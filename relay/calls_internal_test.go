package relay

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
)

// Whatever another node sends, it is answered or refused, and reaches a handler only as
// what it says it is.
func FuzzCall(f *testing.F) {
	for _, e := range []envelope{
		{Path: []cdn.NodeID{"peer", "me"}, At: 1, Method: "hello", Patience: 1000},
		{Path: []cdn.NodeID{"far", "peer", "me"}, At: 2, Method: "hello", Patience: -1},
		{Path: []cdn.NodeID{"far", "peer", "me"}, At: 1, Method: "hello"},
		{Path: []cdn.NodeID{"peer", "me", "next"}, At: 1, Method: "hello", Patience: 1 << 62},
		{Path: []cdn.NodeID{"peer", "me", "peer"}, At: 1},
		{At: -1},
	} {
		f.Add(seal(e, []byte("payload")))
	}
	node, err := cdn.Listen(cdn.Config{ID: "me", Addr: "127.0.0.1:0"})
	require.NoError(f, err)
	defer node.Close()
	c, err := CallsOf(node)
	require.NoError(f, err)
	var got []Call
	c.Handle("hello", func(ctx context.Context, q Call) ([]byte, error) {
		got = append(got, q)
		_, ok := ctx.Deadline()
		if !ok {
			f.Error("a call without an end")
		}
		return []byte("yes"), nil
	})
	f.Fuzz(func(t *testing.T, question []byte) {
		got = nil
		answer, err := c.answer(t.Context(), "peer", question)
		require.Equal(t, err == nil, len(got) == 1)
		if err != nil {
			return
		}
		require.Equal(t, "yes", string(answer))
		q := got[0]
		require.Equal(t, cdn.NodeID("me"), q.Path[len(q.Path)-1])
		require.Equal(t, cdn.NodeID("peer"), q.Path[len(q.Path)-2])
		require.LessOrEqual(t, len(q.Path), MaxCallHops+1)
		seen := map[cdn.NodeID]bool{}
		for _, id := range q.Path {
			require.False(t, seen[id])
			seen[id] = true
		}
	})
}

// What is sealed is opened again.
func TestEnvelope(t *testing.T) {
	e := envelope{Path: []cdn.NodeID{"a", "b"}, At: 1, Method: "m", Patience: 7}
	for _, payload := range [][]byte{nil, []byte("{}"), make([]byte, MaxCall)} {
		got, rest, err := open(seal(e, payload))
		require.NoError(t, err)
		require.Equal(t, e, got)
		require.Equal(t, len(payload), len(rest))
	}
	longest := envelope{Method: string(make([]byte, maxMethod))}
	for range MaxCallHops + 1 {
		longest.Path = append(longest.Path, cdn.NodeID(make([]byte, 128)))
	}
	head, err := json.Marshal(longest)
	require.NoError(t, err)
	require.Less(t, len(head)+MaxCall, 64<<10, "the longest call fits the link's")
}
