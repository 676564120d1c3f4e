package origin_test

import (
	"fmt"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/internal/bubble"
	"github.com/deltacdn/delta/origin"
)

// A publisher costs its node no goroutine beside its stream's one. That PeerConnections cost
// some shows that the test would see it.
func TestAPublisherHasNoGoroutine(t *testing.T) {
	const publishers = 20
	for name, c := range map[string]origin.Config{"own sessions": {}, "PeerConnections": {PeerConnections: true}} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, c, func(t *testing.T, w *world) {
				w.shoot(0)
				one := goroutinesOfNode()
				for i := 1; i < publishers; i++ {
					w.shoot(i)
				}
				require.Len(t, w.node.Sessions(), publishers)
				all := goroutinesOfNode()
				require.Equal(t, 1, one["cdn.(*Stream).run"])
				require.Equal(t, publishers, all["cdn.(*Stream).run"])
				delete(one, "cdn.(*Stream).run")
				delete(all, "cdn.(*Stream).run")
				if c.PeerConnections {
					require.NotEqual(t, one, all)
				} else {
					require.Equal(t, one, all)
				}
			})
		})
	}
}

// shoot has a camera publish a stream of its own, and returns when it has done so for long
// enough to be in its steady state.
func (w *world) shoot(i int) {
	host := w.network.Host(fmt.Sprint("camera ", i), cdntest.Path{Delay: 10 * time.Millisecond})
	stream := fmt.Sprint("live", i)
	cdntest.Publish(w.t, cdntest.PublisherConfig{
		Net: host.Net(), Dialer: w.dialer, URL: "http://node/whip/" + stream, Stream: cdn.StreamID(stream), Credential: "ada",
		Video: &cdntest.Video{}, Audio: &cdntest.Audio{},
	})
	time.Sleep(3 * time.Second)
}

// Functions of this module on a stack, and those among them of the clients and of the network
// between them and the node.
var (
	oursOnStack   = regexp.MustCompile(`(?m)^(?:created by )?github\.com/deltacdn/delta/([^\s(]*(?:\(\*\w+\)[^\s(]*)?)`)
	clientOnStack = regexp.MustCompile(`^(cdn/cdntest|internal/(udp/pionnet|netem|bubble)|origin_test)[./]`)
)

// goroutinesOfNode counts the goroutines that a node has, by the outermost of its functions.
func goroutinesOfNode() map[string]int {
	count := make(map[string]int)
	for _, stack := range bubble.Stacks() {
		outermost := ""
		for _, m := range oursOnStack.FindAllStringSubmatch(stack, -1) {
			if !clientOnStack.MatchString(m[1]) {
				outermost = m[1]
			}
		}
		if outermost != "" {
			count[outermost]++
		}
	}
	return count
}
