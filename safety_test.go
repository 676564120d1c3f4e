package delta_test

import (
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
)

// logBuffer keeps what is logged.
type logBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

// lines returns what was logged at WARN or above.
func (b *logBuffer) lines() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.FieldsFunc(b.text.String(), func(r rune) bool { return r == '\n' })
}

func (b *logBuffer) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// A node that another one refuses does not blame its viewers, however many hops
// away, and its operator reads why, once, and not for each viewer.
func TestARefusedNodeDoesNotBlameItsViewers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		path := cdntest.Path{Delay: ms(5)}
		secret := func(s string) func(*cdn.Config) {
			return func(c *cdn.Config) { c.Trust.Secret = s }
		}
		o := w.origin("origin", path, origin.Config{}, secret("the right one"))
		p := w.publish(o, "live", path, cdntest.PublisherConfig{})
		require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
		var log logBuffer
		r := w.node("relay", path, secret("the wrong one"), func(c *cdn.Config) { c.Logger = log.logger() })
		w.fetch(r, o)
		w.serveNodes(r, r.relay)
		w.serveViewers(r, r.relay, edge.Config{})
		e := w.node("edge", path, secret("the wrong one"))
		w.fetch(e, r)
		w.serveViewers(e, e.relay, edge.Config{AnswerAfter: time.Second})
		for _, n := range []*node{r, e, r} {
			err := w.refusal(n, "live")
			require.ErrorIs(t, err, cdn.ErrUpstream, n.name)
			require.NotErrorIs(t, err, cdn.ErrUnauthorized)
			time.Sleep(2 * time.Second)
		}
		warnings := 0
		for _, line := range log.lines() {
			if strings.Contains(line, "another node refuses this one") {
				warnings++
				require.Contains(t, line, "node relay is not known here")
			}
		}
		require.Equal(t, 1, warnings, log.lines())
	})
}
