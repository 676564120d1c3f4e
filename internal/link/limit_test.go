package link

import (
	"fmt"
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
			case <-l.done:
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
