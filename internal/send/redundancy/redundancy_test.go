package redundancy

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A report is of so many packets.
type report struct {
	packets uint64
	part    float64
	queued  bool
}

func reports(times int, r report) (all []report) {
	for range times {
		all = append(all, r)
	}
	return all
}

func TestNeed(t *testing.T) {
	for name, c := range map[string]struct {
		reports []report
		on      bool
		changes int
	}{
		"none":                    {},
		"clean":                   {reports: reports(20, report{packets: 250})},
		"2 %, every five seconds": {reports: reports(1, report{packets: 250, part: 0.02}), on: true, changes: 1},
		"2 %, every second":       {reports: reports(2, report{packets: 50, part: 0.02}), on: true, changes: 1},
		"too little to tell":      {reports: reports(1, report{packets: 50, part: 0.1})},
		"little, once":            {reports: append(reports(1, report{packets: 250, part: 0.004}), report{packets: 250})},
		"little, again and again": {reports: reports(2, report{packets: 250, part: 0.004}), on: true, changes: 1},
		"little, now and then": {reports: append(append(reports(1, report{packets: 250, part: 0.004}), reports(3, report{packets: 250})...),
			reports(1, report{packets: 250, part: 0.004})...)},
		"congestion":            {reports: reports(20, report{packets: 250, part: 0.2, queued: true})},
		"of nothing":            {reports: reports(20, report{part: 1})},
		"not for long after it": {reports: append(reports(4, report{packets: 250, part: 0.02}), reports(6, report{packets: 250})...), changes: 2},
		"for a while after it":  {reports: append(reports(4, report{packets: 250, part: 0.02}), reports(5, report{packets: 250})...), on: true, changes: 1},
		"a short queue":         {reports: append(reports(1, report{packets: 250, part: 0.02}), report{packets: 250, queued: true}), on: true, changes: 1},
		"two short queues": {reports: append(reports(1, report{packets: 250, part: 0.02}), report{packets: 250, queued: true},
			report{packets: 50, part: 0.02}, report{packets: 250, queued: true}), on: true, changes: 1},
		"a queue that lasts": {reports: append(reports(1, report{packets: 250, part: 0.02}), reports(2, report{packets: 250, part: 0.02, queued: true})...), changes: 2},
		"after a queue": {reports: append(append(reports(1, report{packets: 250, part: 0.02}), reports(9, report{packets: 250, part: 0.02, queued: true})...),
			report{packets: 250, part: 0.02}), on: true, changes: 3},
	} {
		t.Run(name, func(t *testing.T) {
			var n Need
			changes := 0
			for _, r := range c.reports {
				before := n.On()
				changed := n.Report(r.packets, r.part, r.queued)
				require.Equal(t, n.On() != before, changed)
				if changed {
					changes++
				}
			}
			require.Equal(t, c.on, n.On())
			require.Equal(t, c.changes, changes)
		})
	}
}
