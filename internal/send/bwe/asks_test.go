package bwe

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A viewer that sends reports, one a second, asks for packets again. Those that overtake one
// another are asked for as well, always as many, and so are those of a moment's outage. Many
// more than always, for more than half a second, are congestion, ahead of the next report.
func TestRequests(t *testing.T) {
	for name, c := range map[string]struct {
		asked  [2]float64 // part of the packets, at first and from the sixth second on
		lost   float64    // of the first, as the reports say
		once   bool       // the second is all of 300 ms, in one moment
		within time.Duration
	}{
		"none":                         {},
		"loss":                         {asked: [2]float64{0.11, 0.11}, lost: 0.1},
		"reordering":                   {asked: [2]float64{0.24, 0.24}},
		"flood":                        {asked: [2]float64{0, 85}},
		"flood from the start on":      {asked: [2]float64{85, 85}},
		"loss doubles":                 {asked: [2]float64{0.05, 0.11}, lost: 0.05},
		"moment":                       {once: true},
		"congestion":                   {asked: [2]float64{0, 0.6}, within: 750 * ms},
		"congestion, with loss":        {asked: [2]float64{0.11, 0.8}, lost: 0.1, within: 750 * ms},
		"congestion, with reordering":  {asked: [2]float64{0.24, 1.5}, within: 750 * ms},
		"congestion from the start on": {asked: [2]float64{1.5, 1.5}, within: 750 * ms},
	} {
		t.Run(name, func(t *testing.T) {
			e := New(Config{}, epoch)
			now, highest, asked, noticed := epoch, uint32(0), 0., time.Duration(0)
			changes := 5500 * ms
			for at := 10 * ms; at <= 6500*ms && noticed == 0; at += 10 * ms {
				now = epoch.Add(at)
				for range 3 {
					e.SentPlain(now, 1, 1200)
					highest++
				}
				switch share := c.asked[min(1, at/changes)]; {
				case c.once && at == changes:
					e.Nack(now, 90)
				default:
					asked += 3 * share
					e.Nack(now, int(asked))
					asked -= float64(int(asked))
				}
				if at%time.Second == 300*ms {
					e.Report(now, Report{SSRC: 1, Lost: uint8(c.lost * 256), Highest: highest, RoundTrip: 100 * ms})
				}
				if s := e.State(now); s.Verdict == Overuse {
					require.Equal(t, ByLoss, s.LimitedBy)
					noticed = at
				}
			}
			if c.within == 0 {
				require.Zero(t, noticed)
				return
			}
			if c.asked[0] == c.asked[1] {
				changes = 0
			}
			require.NotZero(t, noticed)
			require.LessOrEqual(t, noticed-changes, c.within)
			require.Less(t, e.State(now).Bitrate, (1-c.asked[1]/(1+c.asked[1])+0.2)*3*100*8*1200)
		})
	}
}
