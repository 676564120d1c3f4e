package clients

import (
	"encoding/json"
	"net/netip"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
)

// whipWhep is npm's whip-whep in Chromium: it trickles candidates and restarts ICE.
type whipWhep struct{ browserClient }

func (w *whipWhep) version(t *testing.T) string {
	text, err := os.ReadFile("drivers/node_modules/whip-whep/package.json")
	if err != nil {
		missing(t, "whip-whep", "npm ci --prefix internal/clients/drivers")
	}
	var p struct{ Version string }
	require.NoError(t, json.Unmarshal(text, &p))
	return "whip-whep " + p.Version + " in " + w.browserClient.version(t)
}

func (w *whipWhep) publish(t *testing.T, on *place, path string) session {
	return w.run(t, on, `client.publishByLibrary("`+path+`")`)
}

func (w *whipWhep) play(t *testing.T, on *place, path string) session {
	return w.run(t, on, `client.playByLibrary("`+path+`")`)
}

// oneAddress has a node offer one address, of those that this machine has: of a
// fragment with several candidates whip-whep 1.2.0 makes SDP that no browser takes.
func oneAddress(t *testing.T) func(*cdn.Config) {
	all, err := cdn.SystemNetwork().Addrs()
	require.NoError(t, err)
	i := slices.IndexFunc(all, func(a netip.Addr) bool { return a.Is4() && !a.IsLoopback() })
	if i < 0 {
		missing(t, "a network", "browsers do not use the loopback address")
	}
	return func(c *cdn.Config) { c.PublicIPs = all[i : i+1] }
}

// whip-whep restarts ICE, both ways, and media goes on.
func TestLibraryRestartsICE(t *testing.T) {
	c := &whipWhep{browserClient{find: findChromium, start: startChromium}}
	t.Log(c.version(t))
	n := startNodes(t, nil, oneAddress(t))
	publisher := c.publish(t, n.origin, "/whip/theirs")
	n.origin.waitLive(t, "theirs", true)
	player := c.play(t, n.origin, "/whep/theirs")
	for name, s := range map[string]session{"publisher": publisher, "player": player} {
		waitEnough(t, name, s.read)
		var fragments [2]string
		require.NoError(t, json.Unmarshal([]byte(s.(pageSession).eval(t, `client.restart()`)), &fragments))
		require.NotEqual(t, fragments[0], fragments[1], name)
	}
	before := player.read(t)
	waitEnough(t, "the player afterwards", func(t *testing.T) counts {
		now := player.read(t)
		require.Equal(t, "connected", now.State)
		now.Video, now.Audio = now.Video-before.Video, now.Audio-before.Audio
		return now
	})
	player.stop(t)
	publisher.stop(t)
}
