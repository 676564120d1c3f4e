package send

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/netem"
	"github.com/deltacdn/delta/internal/send/allot"
	"github.com/deltacdn/delta/internal/send/bwe"
)

// layered publishes video of two temporal layers for a time, each frame one packet, 25 a
// second, and sound of about the rate of the lower layer.
func (v *narrowViewer) layered(d time.Duration) {
	for i := range int(d / (20 * ms)) {
		v.sound.publish(1, make([]byte, 240)...)
		switch {
		case i%2 == 1:
		case i == 0:
			v.video.publish(1, 0x90, 0x20, 0, 0, 0, 0, 0x9d, 0x01, 0x2a, 0, 1, 180, 0)
		default:
			v.video.publish(1, 0x90, 0x20, byte(i/2%2)<<6, 1, 0, 0)
		}
		time.Sleep(20 * ms)
	}
	synctest.Wait()
}

// withPart calls f with a viewer that is sent the lower temporal layer, and whose estimate is
// lower than what that takes. Nothing else is paced.
func withPart(t *testing.T, f func(v *narrowViewer, s *script)) {
	withNarrowViewer(t, netem.Path{}, func(v *narrowViewer) {
		s := &script{next: allot.Choice{Rung: 99, Reason: allot.Start}}
		v.join(Config{StartRate: -1, Policy: func() allot.Policy { return s }})
		v.layered(6 * time.Second)
		v.set.change()
		v.set.path.estimator = bwe.New(bwe.Config{Start: 100e3}, time.Now())
		s.next = allot.Choice{Rung: 2, Reason: allot.Congestion}
		v.set.mu.Unlock()
		f(v, s)
	})
}

// A part of a layer is paced by what it takes with sound, whose bytes count: it does not get
// later and later.
func TestAPartIsInTimeBesideSound(t *testing.T) {
	withPart(t, func(v *narrowViewer, _ *script) {
		v.layered(30 * time.Second)
		require.Equal(t, allot.Partial, v.set.adaptation.sent.Mode, "%+v", v.set.adaptation.ladder)
		all := v.of(v.video)
		require.Greater(t, len(all), 150+350)
		for i, d := range all {
			late := d.at.Sub(all[0].at) - ticks(d.Timestamp-all[0].Timestamp)
			require.LessOrEqual(t, late, 400*ms, "packet %d", i)
		}
	})
}

// An estimate that is far above what a part takes was never tried. A burst of the part leaves no
// faster than the part's rate, since sound would wait behind it.
func TestAPartLeavesAtItsOwnRate(t *testing.T) {
	withPart(t, func(v *narrowViewer, _ *script) {
		v.set.change()
		v.set.path.estimator = bwe.New(bwe.Config{Start: 5e6}, time.Now())
		v.set.mu.Unlock()
		v.layered(time.Second)
		require.InEpsilon(t, 8e9/(partSlack*v.set.adaptation.sent.Cost), v.set.pace.perByte, 0.01)
	})
}

// With the step from a part of a layer to all of it the pacer may end. What waits for it then
// leaves, and does not wait for the next packet to come.
func TestNothingWaitsForAPacerThatEnds(t *testing.T) {
	withPart(t, func(v *narrowViewer, s *script) {
		v.layered(2 * time.Second)
		require.NotZero(t, v.set.pace.perByte)
		time.Sleep(time.Second)
		v.sent = nil
		v.video.publish(12, 0x90, 0x20, 0, 1, 0, 0)
		synctest.Wait()
		require.Less(t, len(v.sent), 12)
		v.set.change()
		s.next = allot.Choice{Rung: 99, Reason: allot.Room}
		v.set.mu.Unlock()
		time.Sleep(200 * ms)
		synctest.Wait()
		require.Equal(t, allot.Full, v.set.adaptation.sent.Mode)
		require.Len(t, v.of(v.video), 12)
	})
}

// Sound must not wait behind the padding of a probe and a burst at once. A part of a layer leaves
// packet by packet meanwhile, and a burst that left before the probe is part of the probe's rate.
func TestAPartLeavesNoBurstBesidePadding(t *testing.T) {
	withPart(t, func(v *narrowViewer, _ *script) {
		v.set.change()
		v.set.path.estimator = bwe.New(bwe.Config{Start: 5e6}, time.Now())
		v.set.mu.Unlock()
		v.layered(2 * time.Second)
		cost := v.set.adaptation.sent.Cost
		v.set.change()
		defer v.set.mu.Unlock()
		now := time.Now()
		v.set.adaptation.sent.Cost = 2e6
		v.set.repace(now)
		require.Greater(t, v.set.pace.most, uint8(1))
		v.set.pace.sent(now, 5000, false)
		onItsWay := v.set.pace.onItsWay(now)
		require.InDelta(t, 5000+lowerHeaders, onItsWay, 100)
		v.set.startProbe(now, allot.Choice{Probe: bwe.Probe{ID: 1, Rate: 2 * cost, Duration: 400 * ms}})
		require.Equal(t, uint8(1), v.set.pace.most)
		require.Equal(t, onItsWay, v.set.wireBytes()-v.set.adaptation.probe.base)
	})
}
