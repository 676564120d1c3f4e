package resource

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/signal"
)

// A stream on which nothing happens says that it is there, and counts are told once
// a second at most.
func TestStreamsStayAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &cdntest.ScriptedHandler{}
		session, err := h.Offer(t.Context(), signal.Offer{})
		require.NoError(t, err)
		scripted := h.Sessions()[0]
		for names, want := range map[string]int{EventEnded: 3, eventViewerCount: 50} {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Second)
			var sent []string
			sub := &subscription{names: []string{names}}
			go func() {
				for n := 0; ctx.Err() == nil; n++ { // each counts, and none is to be told at once
					scripted.SetStatus(signal.Status{Active: true, Viewers: n + 1})
					time.Sleep(300 * time.Millisecond)
				}
			}()
			sub.tell(ctx, &entry{Session: session}, func(text string) error {
				sent = append(sent, strings.TrimSpace(text))
				return nil
			})
			cancel()
			if names == EventEnded {
				require.Equal(t, []string{": keep-alive", ": keep-alive", ": keep-alive"}, sent)
			} else {
				require.InDelta(t, want, len(sent), 2)
			}
			synctest.Wait()
			time.Sleep(time.Second)
		}
	})
}

func TestGenerations(t *testing.T) {
	var g generations
	require.False(t, g.past("a"))
	g.use("")
	require.False(t, g.past(""))
	for _, ufrag := range []string{"a", "a", "b", "c"} {
		g.use(ufrag)
	}
	require.True(t, g.past("a"))
	require.True(t, g.past("b"))
	require.False(t, g.past("c"), "the present one")
	require.False(t, g.past("d"), "one that is new restarts")
	g.use("a")
	require.False(t, g.past("a"), "a client that restarts with an earlier one means it")
	for range 100 {
		g.use("x")
		g.use("y")
	}
	require.Len(t, g, maxGenerations)
}
