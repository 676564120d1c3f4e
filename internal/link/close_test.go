package link

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
)

// slowLog takes its time with what is logged last of a link.
type slowLog struct {
	slog.Handler
	over *atomic.Int32
}

func (slowLog) Enabled(context.Context, slog.Level) bool { return true }

func (s slowLog) WithAttrs([]slog.Attr) slog.Handler { return s }

func (s slowLog) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "a link did not come about" {
		time.Sleep(100 * time.Millisecond)
		s.over.Add(1)
	}
	return nil
}

// When Close has returned, nothing of a link is heard any more.
func TestCloseWaitsForTheLastWord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		over := &atomic.Int32{}
		a := links(t, cdntest.NewNetwork(t, cdntest.NetworkConfig{Seed: 1}), "one", func(c *cdn.Config) {
			c.Logger = slog.New(slowLog{slog.DiscardHandler, over})
		})
		l, err := a.to(cdn.Entry{URL: "x"}, dialFunc(func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}))
		require.NoError(t, err)
		l.start()
		require.NoError(t, a.Close())
		require.EqualValues(t, 1, over.Load())
		<-l.Done()
	})
}
