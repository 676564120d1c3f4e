package cdn_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
)

// The newest Drain says until when sessions may stay, be it sooner or later than before.
// Earlier ones are over.
func TestTheNewestDrainCounts(t *testing.T) {
	const never = 1000 * time.Hour
	for name, tc := range map[string]struct {
		times []time.Duration // one Drain after another, a second apart
		ends  time.Duration   // of the session, after the first one; never: it stays
	}{
		"one":                  {[]time.Duration{10 * time.Second}, 10 * time.Second},
		"a later time":         {[]time.Duration{10 * time.Second, time.Minute}, 61 * time.Second},
		"a sooner time":        {[]time.Duration{time.Minute, 10 * time.Second}, 11 * time.Second},
		"no time":              {[]time.Duration{10 * time.Second, never}, never},
		"a time ahead of none": {[]time.Duration{never, 10 * time.Second}, 11 * time.Second},
		"many":                 {[]time.Duration{3 * time.Second, never, 2 * time.Second, time.Minute}, 63 * time.Second},
		"the same moment":      {[]time.Duration{11 * time.Second, 10 * time.Second}, 11 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, _ := admitting(t, cdn.Limits{}, nil)
				a := enter(t, n, cdn.AuthRequest{Action: cdn.ActionPlay, Stream: "live"})
				began, ended := time.Now(), never
				a.Start(func(err error) {
					ended = time.Since(began)
					a.Leave(err)
				})
				var results []chan error
				for _, d := range tc.times {
					ctx, cancel := context.WithCancel(t.Context())
					if d != never {
						ctx, cancel = context.WithTimeout(t.Context(), d)
					}
					defer cancel()
					over := make(chan error, 1)
					results = append(results, over)
					go func() { over <- n.Drain(ctx) }()
					synctest.Wait()
					for _, earlier := range results[:len(results)-1] {
						require.ErrorIs(t, <-earlier, cdn.ErrSuperseded)
						earlier <- cdn.ErrSuperseded
					}
					time.Sleep(time.Second)
				}
				last := results[len(results)-1]
				if tc.ends == never {
					time.Sleep(24 * time.Hour)
					n.Undrain()
					require.ErrorIs(t, <-last, cdn.ErrSuperseded)
				} else {
					require.ErrorIs(t, <-last, context.DeadlineExceeded)
					require.True(t, n.Draining())
				}
				require.Equal(t, tc.ends, ended)
			})
		})
	}
}
