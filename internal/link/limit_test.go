package link

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
)

// A node has as many links as it may, whoever dials, and another one when one goes.
func TestLinksAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := cdntest.NewNetwork(t, cdntest.NetworkConfig{Seed: 1})
		full := links(t, network, "full", func(c *cdn.Config) { c.Limits.Links = 2 })
		w := wires{to: map[string]*Links{"full": full}}
		dial := func(from *Links, to string) (*Link, error) {
			l, err := from.to(cdn.Entry{URL: to}, w)
			if err != nil {
				return nil, err
			}
			l.start()
			select {
			case <-l.up:
				time.Sleep(time.Second)
			case <-l.Done():
			}
			return l, l.Err()
		}
		var first *Link
		for i := range 2 {
			l, err := dial(links(t, network, fmt.Sprint("n", i), trusting(cdn.Trust{})), "full")
			require.NoError(t, err)
			first = l
		}
		third := links(t, network, "third", trusting(cdn.Trust{}))
		_, err := dial(third, "full")
		require.ErrorIs(t, err, cdn.ErrOverLimit)
		w.to["third"] = third
		_, err = dial(full, "third")
		require.ErrorIs(t, err, cdn.ErrOverLimit)
		require.NoError(t, first.Close())
		time.Sleep(time.Second)
		_, err = dial(full, "third")
		require.NoError(t, err)
		require.Len(t, full.Stats(), 2)
	})
}

// An edge gives no stream to other nodes, on the link that it made itself, either.
func TestAnEdgeServesNoNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, cdn.Trust{}, cdn.Trust{})
		a.Serve(hangs{})
		l, err := b.to(cdn.Entry{URL: "one"}, wires{to: map[string]*Links{"one": a}})
		require.NoError(t, err)
		l.start()
		<-l.up
		time.Sleep(time.Second)
		s, err := a.node.NewStream("live")
		require.NoError(t, err)
		defer s.End(nil)
		begun := time.Now()
		require.ErrorIs(t, <-fetchInto(b, a, s), cdn.ErrUnsupported)
		require.Less(t, time.Since(begun), 100*time.Millisecond)
		require.NoError(t, l.Err())
	})
}

// Where nothing is configured by which nodes know each other, the log says so, once.
func TestAnOpenNodeSaysSoOnce(t *testing.T) {
	for name, tc := range map[string]struct {
		trust cdn.Trust
		lines int
	}{"open": {cdn.Trust{}, 1}, "a secret": {cdn.Trust{Secret: "s"}, 0}} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			synctest.Test(t, func(t *testing.T) {
				network := cdntest.NewNetwork(t, cdntest.NetworkConfig{Seed: 1})
				a := links(t, network, "one", func(c *cdn.Config) {
					c.Trust, c.Logger = tc.trust, slog.New(slog.NewTextHandler(&log, nil))
				})
				a.Serve(hangs{})
				a.Serve(hangs{})
				for i := range 3 {
					b := links(t, network, fmt.Sprint("n", i), trusting(tc.trust))
					l, err := b.to(cdn.Entry{URL: "one"}, wires{to: map[string]*Links{"one": a}})
					require.NoError(t, err)
					l.start()
					<-l.up
					time.Sleep(time.Second)
				}
			})
			require.Equal(t, tc.lines, strings.Count(log.String(), "no secret, pin or CA is configured"))
		})
	}
}

// A node that is not there is dialled ever more rarely, and by no two at one moment.
func TestLinksComeBackOneByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const nodes = 10
		network := cdntest.NewNetwork(t, cdntest.NetworkConfig{Seed: 1})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var mu sync.Mutex
		dialled := make(map[int][]time.Time)
		for i := range nodes {
			a := links(t, network, fmt.Sprint("n", i), trusting(cdn.Trust{}))
			nobody := dialFunc(func(context.Context, string, []byte) ([]byte, error) {
				mu.Lock()
				defer mu.Unlock()
				dialled[i] = append(dialled[i], time.Now())
				return nil, cdn.ErrPeerLost
			})
			go a.Keep(ctx, cdn.Entry{URL: "nobody"}, nobody, ignore)
		}
		time.Sleep(time.Minute)
		cancel()
		synctest.Wait()
		seen := map[time.Time]bool{}
		for i := range nodes {
			pause := 250 * time.Millisecond
			for k, at := range dialled[i][1:] {
				waited := at.Sub(dialled[i][k])
				require.Greater(t, waited, pause/2)
				require.LessOrEqual(t, waited, pause)
				require.False(t, seen[at], "two at one moment")
				seen[at] = true
				pause = min(2*pause, 8*time.Second)
			}
			require.Greater(t, len(dialled[i]), 10)
		}
	})
}
