package admin

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/access"
)

// What an operator asks for last counts, by whatever clock the change before was made.
func TestTheLastChangeCounts(t *testing.T) {
	for name, ahead := range map[string]time.Duration{"the same clock": 0, "a clock ahead": time.Minute, "a clock behind": -time.Minute} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.start("origin")
				w.start("edge", "origin")
				time.Sleep(5 * time.Second)
				blocked := func(at string) int {
					list, err := w.nodes[at].api.Blocks(t.Context())
					require.NoError(t, err)
					return len(list.Blocks)
				}
				require.NoError(t, w.nodes["edge"].api.ledger.put(entry{Kind: entryBlock, ID: "live", At: time.Now().UTC().Add(ahead)}))
				time.Sleep(2 * compareEvery)
				require.Equal(t, 1, blocked("origin"))
				for range 2 { // several within the time that the clocks differ
					o, err := w.nodes["origin"].api.Unblock(t.Context(), "ops", "live")
					require.NoError(t, err)
					require.Equal(t, []Result{{Node: "edge", OK: true}, {Node: "origin", OK: true}}, o.Results)
					require.Zero(t, blocked("origin")+blocked("edge"))
					_, err = w.nodes["origin"].api.Block(t.Context(), "ops", "live", Block{})
					require.NoError(t, err)
					require.Equal(t, 2, blocked("origin")+blocked("edge"))
				}
			})
		})
	}
}

// A node that knows of a newer change says that it has not done what it was asked.
func TestAChangeThatIsIgnoredIsNotDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start("origin")
		w.start("edge", "origin")
		time.Sleep(5 * time.Second)
		p := w.publish("origin", "live")
		require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
		v := w.view("edge", "live", "viewer")
		require.NoError(t, v.WaitFrames(w.within(10*time.Second), 20))
		require.NoError(t, w.nodes["edge"].api.ledger.put(entry{Kind: entryBlock, ID: "live", Gone: true, At: time.Now().UTC().Add(time.Minute)}))
		o, err := w.nodes["origin"].api.Block(t.Context(), "ops", "live", Block{})
		require.NoError(t, err)
		require.Len(t, o.Results, 2)
		require.Equal(t, "edge", o.Results[0].Node)
		require.False(t, o.Results[0].OK)
		require.Zero(t, o.Results[0].Ended)
		require.Contains(t, o.Results[0].Problem, "newer")
		require.True(t, o.Results[1].OK)

		time.Sleep(2 * compareEvery)
		o, err = w.nodes["origin"].api.Block(t.Context(), "ops", "live", Block{})
		require.NoError(t, err)
		require.True(t, o.Results[0].OK, o.Results[0].Problem)
	})
}

// What was made by a clock that is far ahead is not taken, rather than by each node with a
// time of its own: nodes that have the same entries have the same digest.
func TestAnEntryOfAClockThatIsWrong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var nodes [2]ledger
		for i := range nodes {
			list, err := access.New(cdn.AuthorizerFunc(func(context.Context, cdn.AuthRequest) (cdn.Grant, error) { return cdn.Grant{}, nil }), access.Policy{})
			require.NoError(t, err)
			nodes[i].init(list)
		}
		e := entry{Kind: entryBlock, ID: "live", At: time.Now().UTC().Add(clocksDiffer + time.Minute)}
		for i := range nodes {
			require.ErrorIs(t, nodes[i].put(e), cdn.ErrInvalid)
			require.Empty(t, nodes[i].blocks())
			time.Sleep(time.Second)
		}
		old := entry{Kind: entryBlock, ID: "old", Gone: true, At: time.Now().UTC().Add(-goneFor - time.Second)}
		require.ErrorIs(t, nodes[0].put(old), cdn.ErrInvalid, "it would be forgotten at once, and come again")
		time.Sleep(time.Minute)
		for i := range nodes {
			require.NoError(t, nodes[i].put(e))
			require.NoError(t, nodes[i].put(e), "it is known already")
			time.Sleep(time.Second)
		}
		first, digest := nodes[0].all()
		second, same := nodes[1].all()
		require.Equal(t, first, second)
		require.Equal(t, digest, same)
		require.Equal(t, e.At, first[0].At)
	})
}
