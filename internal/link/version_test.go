package link

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/link/control"
	"github.com/deltacdn/delta/internal/trouble"
)

// Nodes without a version of the protocol in common say so at both ends.
func TestVersionsThatDoNotFit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, secret, secret)
		l, err := a.to(cdn.Entry{URL: "two"}, wires{map[string]*Links{"two": b}, ""})
		require.NoError(t, err)
		hello := a.hello()
		hello.Min, hello.Max = control.Version+1, control.Version+2
		l.talk.conn = control.New(time.Now(), control.Config{Hello: hello})
		l.start()
		<-l.Done()
		why, ok := trouble.Of(l.Err())
		require.True(t, ok, "%v", l.Err())
		require.Equal(t, trouble.Version, why.Cause, "%v", l.Err())
		require.ErrorIs(t, trouble.Upstream("live", l.Err()), cdn.ErrUpstream)
	})
}
