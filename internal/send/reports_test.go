package send

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/rtp/feedback"
	"github.com/deltacdn/delta/internal/rtp/ntp"
)

// A report block may name the sender report before the last one: it was on its way when the
// last one was sent. Where both have a period of a second, as they do with browsers, it may
// be so each time. The round trip is known all the same, also where the publisher's clock,
// which the stamps are of, has moved meanwhile.
func TestRoundTripByAnEarlierSenderReport(t *testing.T) {
	const trip, delay = 90 * time.Millisecond, 940 * time.Millisecond
	begun := time.Unix(1_800_000_000, 0)
	for name, c := range map[string]struct {
		named int           // of the sender reports 0 to 3, one a second
		moved time.Duration // by how much the publisher's clock moves each second
		known bool
	}{
		"the last":              {named: 3, known: true},
		"the one before":        {named: 2, known: true},
		"the clock has moved":   {named: 2, moved: 30 * time.Millisecond, known: true},
		"the clock has jumped":  {named: 2, moved: -40 * time.Minute, known: true},
		"of long ago":           {named: 1},
		"before the first":      {named: -1},
		"yet to be sent":        {named: 4},
		"of long ago and moved": {named: 0, moved: 30 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			var r reports
			at := func(n int) time.Time { return begun.Add(time.Duration(n) * time.Second) }
			stamp := func(n int) uint32 { return ntp.Middle(ntp.Stamp(at(n).Add(time.Duration(n) * c.moved))) }
			for n := range 4 {
				r.issue(at(n), stamp(n), cdn.Clock{})
			}
			_, rtt := r.received(at(c.named).Add(delay+trip), &feedback.Message{
				LastSR: stamp(c.named), Delay: uint32(delay * 65536 / time.Second),
			})
			if !c.known {
				require.Zero(t, rtt)
				return
			}
			require.InDelta(t, trip, rtt, float64(100*time.Microsecond))
			require.Equal(t, rtt, r.minRTT)
		})
	}
}

// Before any sender report none is named.
func TestNoRoundTripWithoutASenderReport(t *testing.T) {
	var r reports
	_, rtt := r.received(time.Now(), &feedback.Message{Delay: 1})
	require.Zero(t, rtt)
}
