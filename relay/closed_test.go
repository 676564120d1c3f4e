package relay_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/access"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/relay"
)

// A program that is told to stop while it starts makes its services on a node that has been
// closed: they leave nothing, and refuse what they are asked.
func TestServicesOfAClosedNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // which fails for a goroutine that is left
		host := cdntest.NewNetwork(t, cdntest.NetworkConfig{}).Host("node", cdntest.Path{})
		node, err := cdn.Listen(cdn.Config{Addr: host.IP().String() + ":7000", Net: host.Net()})
		require.NoError(t, err)
		require.NoError(t, node.Close())

		live, err := origin.New(node, origin.Config{})
		require.NoError(t, err)
		up, err := relay.New(node, relay.Config{Directory: cdn.Static("http://192.0.2.1")})
		require.NoError(t, err)
		_, err = edge.New(node, edge.Config{Source: up})
		require.NoError(t, err)
		_, err = cdn.KeepPublicHosts(t.Context(), node, cdn.PublicHostsConfig{Hosts: []string{"node.invalid"}, Resolver: &cdntest.Names{}})
		require.NoError(t, err)
		list, err := access.New(nil, access.Policy{})
		require.NoError(t, err)
		list.Bind(node)

		_, err = live.Publish(t.Context(), origin.PublishRequest{Stream: "live", Tracks: []cdn.TrackInfo{{Codec: cdn.Codec{MimeType: "video/VP8"}}}})
		require.ErrorIs(t, err, cdn.ErrClosed)
		_, err = up.Open(t.Context(), cdn.Request{Stream: "live"})
		require.ErrorIs(t, err, cdn.ErrClosed)
		require.NoError(t, node.Drain(t.Context()))
		time.Sleep(time.Minute)
	})
}
