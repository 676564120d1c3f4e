package endpoint

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
)

// quiet is an owner to whom nothing happens.
type quiet struct{}

func (quiet) Connected() error                            { return nil }
func (quiet) RTP(time.Time, []byte) bool                  { return false }
func (quiet) RTCP(time.Time, []byte, netip.AddrPort)      {}
func (quiet) Ending(error) (goodbye []byte, ended func()) { return nil, func() {} }

// One clock is enough for all endpoints; it stands still when there are none.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := cdntest.NewNetwork(t, cdntest.NetworkConfig{}).Host("node", cdntest.Path{})
		node, err := cdn.Listen(cdn.Config{Addr: host.IP().String() + ":7000", Net: host.Net()})
		require.NoError(t, err)
		defer func() { require.NoError(t, node.Close()) }()
		w := &Watch{}
		begun := time.Now()
		var all []*Endpoint
		for range 10 {
			e := &Endpoint{}
			e.Init(Config{Transport: node.Internal(), Log: node.Internal().PionLog, Watch: w}, &quiet{})
			_, err := e.Open()
			require.NoError(t, err)
			e.Begin("", nil)
			all = append(all, e)
			time.Sleep(300 * time.Millisecond)
		}
		early := all[9]
		require.NoError(t, early.Close())
		for i, e := range all[:9] {
			<-e.Done()
			require.ErrorIs(t, e.Err(), cdn.ErrTimeout)
			late := time.Since(begun.Add(connectTimeout + time.Duration(i)*300*time.Millisecond))
			require.GreaterOrEqual(t, late, time.Duration(0))
			require.Less(t, late, watchEvery)
		}
		require.Empty(t, w.endpoints)
		require.Nil(t, w.timer)
	})
}
