package viewer

import (
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/srtp/v3"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/deltacdn/delta/internal/sdp"
	"github.com/deltacdn/delta/internal/send/allot"
	"github.com/deltacdn/delta/internal/send/bwe"
	"github.com/deltacdn/delta/internal/send/bwe/bwetest"
)

// offerOfSignals is offerOfOneVideo with what Chromium tells of its path.
var offerOfSignals = offerOfOneVideo +
	"a=rtcp-fb:96 transport-cc\r\na=rtcp-fb:96 goog-remb\r\n" +
	"a=extmap:4 " + sdp.URITransportCC + "\r\na=extmap:5 " + sdp.URIAbsSendTime + "\r\n"

// A dozes lets its viewer doze at once, or never.
type dozes struct {
	allot.Policy
	yes   bool
	asked *int // how often; nil: nobody counts
}

func (p dozes) Choose(v allot.View) allot.Choice {
	if p.asked != nil {
		*p.asked++
	}
	c := p.Policy.Choose(v)
	c.Doze = p.yes
	return c
}

// A way is how viewers are served, and what they tell of their paths.
type way struct {
	offer    string
	dozes    bool
	feedback bool // each turn
	estimate bool // (REMB) each fourth turn
	asked    *int // see dozes
}

var (
	off      = way{offer: offerOfOneVideo, dozes: true}
	dozing   = way{offer: offerOfSignals, dozes: true, estimate: true}
	adapting = way{offer: offerOfSignals, feedback: true}
)

// BenchmarkAdapting measures the CPU time that it takes to estimate each viewer's path, while the
// estimators are awake and while they doze. Viewers whose paths are not estimated ("off") and viewers
// whose paths are take turns. The result is the median of the pairs' ratios, since other work on the
// machine slows both.
//
// A turn is what happens in 50 ms at 2.5 Mbit/s: two bursts, and a message about them. The system
// calls are left out.
func BenchmarkAdapting(b *testing.B) {
	for name, w := range map[string]way{"dozing": dozing, "adapting": adapting} {
		b.Run(name, func(b *testing.B) {
			runtime.LockOSThread() // see onCore
			defer runtime.UnlockOSThread()
			without, with := newTurns(b, off, turnViewers), newTurns(b, w, turnViewers)
			for b.Loop() {
				without.take(b)
				with.take(b)
			}
			with.require(b)
			report := func(unit string, per float64, of func(i int) float64) {
				all := make([]float64, len(with.serving))
				for i := range all {
					all[i] = of(i) / per
				}
				slices.Sort(all)
				b.ReportMetric(all[len(all)/2], unit)
			}
			report("serving/off", 1, func(i int) float64 { return with.serving[i] / without.serving[i] })
			report("all/off", 1, func(i int) float64 {
				return (with.serving[i] + with.hearing[i]) / (without.serving[i] + without.hearing[i])
			})
			report("ns/packet", turnPackets*turnViewers, func(i int) float64 { return with.serving[i] })
			report("off-ns/packet", turnPackets*turnViewers, func(i int) float64 { return without.serving[i] })
			report("heard-ns/turn", turnViewers, func(i int) float64 { return with.hearing[i] })
			b.ReportMetric(0, "ns/op")
		})
	}
}

const (
	turnLasts   = 50 * time.Millisecond
	turnViewers = 300 // whose state does not stay in a core's own caches
	turnPackets = 9 + 7
)

// onCore returns for how long the calling thread was on a core, in nanoseconds: what others do on
// the machine does not count.
func onCore() float64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		panic(err) // does not happen
	}
	return float64(t.Nano())
}

// turns are those of one way.
type turns struct {
	*pipeline
	way     way
	now     time.Time // virtual
	theirs  []*srtp.Context
	n       int       // taken
	serving []float64 // nanoseconds of each turn
	hearing []float64
}

func newTurns(tb testing.TB, w way, viewers int) *turns {
	t := &turns{way: w, pipeline: newPipelineOf(tb, pipelineConfig{viewers: viewers, rate: 1e12, offer: w.offer, policy: func() allot.Policy {
		return dozes{allot.NewAdaptive(allot.Config{First: 1e12}), w.dozes, w.asked}
	}})}
	for _, s := range t.viewers {
		t.theirs = append(t.theirs, viewerOf(tb, s))
	}
	t.now = time.Now().Add(time.Hour) // ahead of the real time all along, which the endpoints' Watch goes by
	for range 60 {                    // 64 packets are not as all the others
		t.take(tb)
	}
	t.serving, t.hearing = nil, nil
	return t
}

// serve publishes a burst, and returns how long it takes to serve it, in nanoseconds.
func (t *turns) serve(packets int) float64 {
	t.now = t.now.Add(turnLasts / 2)
	t.publishAt(t.now, packets)
	begun := onCore()
	for _, s := range t.viewers {
		s.media.Into(t.batch, s.To())
		s.set.Consume(t.now, &s.media)
	}
	_ = t.batch.Flush()
	return onCore() - begun
}

// take takes a turn.
func (t *turns) take(tb testing.TB) {
	first := t.sink.datagrams/len(t.viewers) + 1
	t.serving = append(t.serving, t.serve(9)+t.serve(turnPackets-9))
	t.hearing = append(t.hearing, 0)
	t.n++
	ssrc := func(s *Session) uint32 { return s.ssrcs[0] }
	if t.n%20 == 0 {
		t.hear(tb, func(s *Session) rtcp.Packet {
			return &rtcp.ReceiverReport{SSRC: 1, Reports: []rtcp.ReceptionReport{{SSRC: ssrc(s), LastSequenceNumber: uint32(t.n * turnPackets)}}}
		})
	}
	if t.way.estimate && t.n%4 == 0 {
		t.hear(tb, func(s *Session) rtcp.Packet {
			return &rtcp.ReceiverEstimatedMaximumBitrate{Bitrate: 1e7, SSRCs: []uint32{ssrc(s)}}
		})
	}
	if t.way.feedback {
		t.hear(tb, t.feedback(first))
	}
}

// feedback returns what viewers tell of the packets of a turn, whose transport-wide numbers begin
// with first.
func (t *turns) feedback(first int) func(*Session) rtcp.Packet {
	arrivals := make([]bwetest.Arrival, turnPackets)
	for i := range arrivals {
		arrivals[i] = bwetest.Arrival{Number: first + i, At: t.now.Sub(t.began) + time.Duration(i)*200*time.Microsecond}
	}
	raw := rtcp.RawPacket(bwetest.Feedback(0, first, arrivals))
	return func(*Session) rtcp.Packet { return &raw }
}

// hear has each viewer tell something.
func (t *turns) hear(tb testing.TB, what func(s *Session) rtcp.Packet) {
	sealed := t.seal(tb, what)
	begun := onCore()
	for i, s := range t.viewers {
		s.Receive(t.now, t.now, sealed[i], s.To())
	}
	t.hearing[len(t.hearing)-1] += onCore() - begun
}

// seal returns what each viewer tells, sealed.
func (t *turns) seal(tb testing.TB, what func(s *Session) rtcp.Packet) (sealed [][]byte) {
	for i, s := range t.viewers {
		raw, err := rtcp.Marshal([]rtcp.Packet{what(s)})
		require.NoError(tb, err)
		one, err := t.theirs[i].EncryptRTCP(nil, raw, nil)
		require.NoError(tb, err)
		sealed = append(sealed, one)
	}
	return sealed
}

// require checks that the estimators have done what they should.
func (t *turns) require(tb testing.TB) {
	for _, s := range t.viewers {
		path := s.set.Stats().Path
		require.Equal(tb, t.way.dozes, path.Dozing)
		if t.way.feedback {
			require.Equal(tb, bwe.TransportFeedback, path.Source)
		}
	}
}

// To estimate what a viewer's path carries allocates nothing, and neither does it to ask the
// policy.
func TestAdaptingDoesNotAllocate(t *testing.T) {
	const rounds = 200
	all := newTurns(t, adapting, 1)
	s := all.viewers[0]
	publishing := testing.AllocsPerRun(rounds, func() { all.publishAt(all.now, turnPackets) })
	for range 10 {
		all.serve(1) // all that was published
	}
	first := all.sink.datagrams + 1
	var sealed [][]byte
	for i := range rounds + 1 {
		sealed = append(sealed, all.seal(t, all.feedback(first+i*turnPackets))...)
	}
	allocs := testing.AllocsPerRun(rounds, func() {
		all.serve(turnPackets)
		all.now = all.now.Add(turnLasts / 2)
		s.Receive(all.now, all.now, sealed[0], s.To())
		sealed = sealed[1:]
	})
	all.require(t)
	require.LessOrEqual(t, allocs, publishing) // a sender report each second is less than one a round
}

// The policy of a viewer that has the best there is, without trouble, is asked twice a second, and
// not ten times. What the viewer may have at most can change at once all the same.
func TestASettledPolicyIsAskedSeldom(t *testing.T) {
	asked := 0
	w := adapting
	w.asked = &asked
	all := newTurns(t, w, 1)
	asked = 0
	const seconds = 5
	for range seconds * int(time.Second/turnLasts) {
		all.take(t)
	}
	all.require(t)
	require.InDelta(t, 2*seconds, asked, 2)
	before := asked
	for asked == before {
		all.take(t)
	}
	all.viewers[0].set.BoundChanged()
	all.take(t)
	require.Equal(t, before+2, asked)
}
