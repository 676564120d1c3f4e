package cdn

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

// A session that is not let in leaves nothing in the count of those that came just now,
// and takes nobody else out of it.
func TestWhoIsNotLetInDoesNotCountAsFresh(t *testing.T) {
	no := errors.New("no")
	for name, refuse := range map[string]func(*Node, *Admission){
		"by a review": func(n *Node, a *Admission) {
			r := n.Review(func(SessionInfo) error { return no })
			defer r.Stop()
			_, err := a.Enter(context.Background())
			require.ErrorIs(t, err, no)
		},
		"since there is no place": func(n *Node, a *Admission) {
			require.NoError(t, n.SetLimits(Limits{Viewers: 1}))
			_, err := a.Enter(context.Background())
			require.ErrorIs(t, err, ErrOverLimit)
		},
		"since it is given up": func(*Node, *Admission) {},
	} {
		t.Run(name, func(t *testing.T) {
			n, err := Listen(Config{Addr: "127.0.0.1:0"})
			require.NoError(t, err)
			defer n.Close()
			fresh := func() int {
				n.throughput.mu.Lock()
				defer n.throughput.mu.Unlock()
				return n.throughput.arrived[0] + n.throughput.arrived[1]
			}
			play := func() *Admission {
				a, err := n.Authorize(t.Context(), AuthRequest{Action: ActionPlay, Stream: "live"})
				require.NoError(t, err)
				return a
			}
			stays := play()
			_, err = stays.Enter(t.Context())
			require.NoError(t, err)
			require.Equal(t, 1, fresh())
			goes := play()
			refuse(n, goes)
			goes.Leave(nil)
			require.Equal(t, 1, fresh())
			stays.Leave(nil)
			require.Zero(t, fresh())
		})
	}
}
