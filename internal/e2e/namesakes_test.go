package delta_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/origin"
)

// namesakes is a network with an origin, and processes that are all called "e1".
type namesakes struct {
	*world
	o   *node
	log logBook // of the origin
}

func newNamesakes(t *testing.T, trust func(name string) cdn.Trust) *namesakes {
	n := &namesakes{world: newWorld(t)}
	n.o = n.origin("o1", cdntest.Path{Delay: ms(10)}, origin.Config{}, func(c *cdn.Config) {
		c.Trust, c.Logger = trust("o1"), n.log.logger()
		c.OnEvent = func(e cdn.Event) {
			select {
			case n.events <- e:
			default:
			}
		}
	})
	return n
}

// start starts a process called e1 on a host of its own.
func (n *namesakes) start(host string, trust cdn.Trust, log *logBook) *node {
	made := n.node(host, cdntest.Path{Delay: ms(10)}, func(c *cdn.Config) {
		c.ID, c.Trust, c.Logger, c.OnEvent, c.URL = "e1", trust, log.logger(), nil, "http://"+host
	})
	n.fetch(made, n.o)
	return made
}

// count counts the links that came up and went down since it was last called.
func (n *namesakes) count() (ups, downs int) {
	synctest.Wait()
	for {
		select {
		case e := <-n.events:
			switch e.(type) {
			case cdn.LinkUp:
				ups++
			case cdn.LinkDown:
				downs++
			}
		default:
			return ups, downs
		}
	}
}

func bySecret(string) cdn.Trust { return cdn.Trust{Secret: "s"} }

// Of two processes of one name the first stays, whatever the second does, and both of
// those that see them say so, with both addresses; when the first has gone, the second
// gets in.
func TestTwoNodesOfOneName(t *testing.T) {
	needLinks(t)
	for name, trust := range map[string]func(string) cdn.Trust{
		"by a secret": bySecret,
		"by nothing":  func(string) cdn.Trust { return cdn.Trust{} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNamesakes(t, trust)
				var firstLog, secondLog logBook
				first := n.start("first", trust("e1"), &firstLog)
				time.Sleep(time.Second)
				ups, downs := n.count()
				require.Equal(t, []int{1, 0}, []int{ups, downs})

				second := n.start("second", trust("e1"), &secondLog)
				time.Sleep(3 * time.Second)
				both := []string{"cause=two-nodes-one-name", first.host.IP().String(), second.host.IP().String()}
				for who, log := range map[string]*logBook{"the origin": &n.log, "the second": &secondLog} {
					require.Len(t, log.having("level=WARN", "cause="), 1, who)
					require.Len(t, log.having(both...), 1, "%s: %s", who, log.having("level=WARN"))
				}
				time.Sleep(10 * time.Minute)
				ups, downs = n.count()
				require.Zero(t, ups+downs, "links flap")
				require.False(t, second.relay.Ready())
				require.True(t, first.relay.Ready())
				require.Empty(t, firstLog.having("level=WARN", "cause="))
				for _, log := range []*logBook{&n.log, &secondLog} {
					require.Len(t, log.having("level=WARN", "cause="), 2)
				}

				first.host.Cut()
				time.Sleep(10 * time.Second) // it tries again every eight
				require.True(t, second.relay.Ready())
				require.Len(t, secondLog.having("level=INFO", "a trouble with another node is over"), 1)
				first.host.Heal()
				time.Sleep(time.Minute)
				ups, downs = n.count()
				require.Equal(t, []int{1, 1}, []int{ups, downs}, "the first one's, and the second one's")
			})
		})
	}
}

// A node that is started anew is in within a second, though nobody has noticed yet that
// what it was has died; and nobody takes the two for namesakes.
func TestARestartedNodeIsInAtOnce(t *testing.T) {
	needLinks(t)
	for _, after := range []time.Duration{0, ms(1), ms(20), ms(300), ms(1500), ms(2500)} {
		t.Run(after.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNamesakes(t, bySecret)
				var log logBook
				old := n.start("first", bySecret(""), &log)
				time.Sleep(5 * time.Second)
				require.True(t, old.relay.Ready())
				old.host.Cut() // its goodbye does not arrive
				require.NoError(t, old.Close())
				time.Sleep(after)
				again := n.start("again", bySecret(""), &log)
				time.Sleep(time.Second)
				require.True(t, again.relay.Ready())
				require.Empty(t, n.log.having("level=WARN", "cause="))
				time.Sleep(time.Minute)
				ups, downs := n.count()
				require.Equal(t, []int{2, 1}, []int{ups, downs})
			})
		})
	}
}
