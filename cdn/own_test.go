package cdn_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
)

type closer struct{ closed int }

func (c *closer) Close() error {
	c.closed++
	return nil
}

// What is made on a node that has been closed is closed at once: nobody would do it later.
func TestWhatAClosedNodeOwns(t *testing.T) {
	inBubble(t, func(t *testing.T, n *cdn.Node) {
		before, after := &closer{}, &closer{}
		n.Own(before)
		require.Zero(t, before.closed)
		require.NoError(t, n.Close())
		n.Own(after)
		require.NoError(t, n.Close())
		require.Equal(t, []int{1, 1}, []int{before.closed, after.closed})
	})
}

// A slowCloser takes a second to close.
type slowCloser struct{}

func (slowCloser) Close() error {
	time.Sleep(time.Second)
	return nil
}

// Whoever closes a node waits until it is closed, though somebody else began to close it.
func TestEveryCloseOfANodeWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := cdntest.NewNetwork(t, cdntest.NetworkConfig{}).Host("node", cdntest.Path{})
		n, err := cdn.Listen(cdn.Config{Addr: host.IP().String() + ":7000", Net: host.Net()})
		require.NoError(t, err)
		n.Own(slowCloser{})
		first, began := make(chan error, 1), time.Now()
		go func() { first <- n.Close() }()
		synctest.Wait()
		require.NoError(t, n.Close())
		require.Equal(t, time.Second, time.Since(began))
		require.NoError(t, <-first)
	})
}

// A sender of which nothing can be asked needs no Upstream.
func TestALayerWithoutUpstream(t *testing.T) {
	inBubble(t, func(t *testing.T, n *cdn.Node) {
		s := newStream(t, n)
		li, err := newInput(t, s, cdn.InputConfig{}, vp8).Layer(0, "", nil)
		require.NoError(t, err)
		s.Tracks()[0].Layers()[0].RequestKeyframe()
		li.Write(time.Now(), frame(1, 0, false, 1), nil)
		li.Write(time.Now(), frame(5, 3000, false, 5), nil) // and three are missing
		time.Sleep(2 * time.Second)
		li, err = li.Successor(nil)
		require.NoError(t, err)
		li.Write(time.Now(), frame(9, 6000, true, 9), nil)
		time.Sleep(2 * time.Second)
		require.EqualValues(t, 3, s.Tracks()[0].Layers()[0].Stats().Packets)
	})
}
