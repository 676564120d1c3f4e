package lite

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
)

// One clock is enough for all sessions; it stands still when there are none.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := cdntest.NewNetwork(t, cdntest.NetworkConfig{}).Host("node", cdntest.Path{})
		node, err := cdn.Listen(cdn.Config{Addr: host.IP().String() + ":7000", Net: host.Net()})
		require.NoError(t, err)
		defer func() { require.NoError(t, node.Close()) }()
		w := &Watch{}
		begun := time.Now()
		var all []*Session
		for range 10 {
			s, err := Answer(Config{Transport: node.Transport(), Log: node.PionLogger(), Watch: w}, offerOfOneVideo)
			require.NoError(t, err)
			all = append(all, s)
			time.Sleep(300 * time.Millisecond)
		}
		early := all[9]
		require.NoError(t, early.Close())
		for i, s := range all[:9] {
			<-s.Done()
			require.ErrorIs(t, s.Err(), cdn.ErrTimeout)
			late := time.Since(begun.Add(connectTimeout + time.Duration(i)*300*time.Millisecond))
			require.GreaterOrEqual(t, late, time.Duration(0))
			require.Less(t, late, watchEvery)
		}
		require.Empty(t, w.sessions)
		require.Nil(t, w.timer)
	})
}
