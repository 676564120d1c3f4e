package keyreq

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const ms = time.Millisecond

var epoch = time.Unix(1000, 0)

func at(d time.Duration) time.Time { return epoch.Add(d) }

func requireSent(t *testing.T, a *Arbiter, now time.Duration, next time.Duration) {
	t.Helper()
	send, when := a.Due(at(now))
	require.True(t, send, "at %v", now)
	require.Equal(t, at(next), when)
}

func requireQuiet(t *testing.T, a *Arbiter, now time.Duration) {
	t.Helper()
	send, when := a.Due(at(now))
	require.False(t, send, "at %v", now)
	require.Zero(t, when)
}

func TestFirstRequestGoesOutAtOnce(t *testing.T) {
	a := New(Config{})
	requireQuiet(t, a, 0)
	require.Equal(t, at(10*ms), a.Request(at(10*ms)))
	requireSent(t, a, 10*ms, 510*ms)
	send, next := a.Due(at(11 * ms))
	require.False(t, send)
	require.Equal(t, at(510*ms), next)
}

func TestAnyNumberOfRequestsIsOne(t *testing.T) {
	a := New(Config{})
	for i := range 1000 {
		a.Request(at(time.Duration(i) * 100 * time.Microsecond))
	}
	requireSent(t, a, 100*ms, 600*ms)
	a.Keyframe(at(150 * ms))
	requireQuiet(t, a, time.Second)
	require.Equal(t, Stats{Requested: 1000, Sent: 1, Satisfied: 1}, a.Stats())
}

func TestRepeatedEachWindowUntilAKeyframe(t *testing.T) {
	a := New(Config{Window: 100 * ms})
	a.Request(at(0))
	for i := range 5 {
		now := time.Duration(i) * 100 * ms
		requireSent(t, a, now, now+100*ms)
	}
	a.Keyframe(at(450 * ms))
	requireQuiet(t, a, 500*ms)
}

func TestRequestInAWindowIsDeferredNotLost(t *testing.T) {
	a := New(Config{})
	a.Request(at(0))
	requireSent(t, a, 0, 500*ms)
	a.Keyframe(at(50 * ms))
	require.Equal(t, at(500*ms), a.Request(at(100*ms)), "asked after the keyframe began")
	send, next := a.Due(at(499 * ms))
	require.False(t, send)
	require.Equal(t, at(500*ms), next)
	requireSent(t, a, 500*ms, 1000*ms)
}

func TestRequestAfterTheWindowIsNotDeferred(t *testing.T) {
	a := New(Config{})
	a.Request(at(0))
	requireSent(t, a, 0, 500*ms)
	a.Keyframe(at(50 * ms))
	require.Equal(t, at(700*ms), a.Request(at(700*ms)))
	requireSent(t, a, 700*ms, 1200*ms)
}

func TestWhichKeyframeSatisfies(t *testing.T) {
	for _, c := range []struct {
		name      string
		start     time.Duration
		satisfied bool
	}{
		{"it began before anyone asked", 99 * ms, false},
		{"it began as the first asked", 100 * ms, true},
		{"it was under way as the second asked", 150 * ms, true},
		{"it began after all asked", 250 * ms, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := New(Config{})
			a.Request(at(100 * ms))
			a.Request(at(200 * ms))
			a.Keyframe(at(c.start))
			send, _ := a.Due(at(300 * ms))
			require.Equal(t, !c.satisfied, send)
		})
	}
}

func TestKeyframeBeforeTheRequestWasSent(t *testing.T) {
	a := New(Config{})
	a.Request(at(0))
	a.Keyframe(at(0))
	requireQuiet(t, a, 0)
	require.Zero(t, a.Stats().Sent)
}

func TestSlowPaceForAPublisherThatIgnoresRequests(t *testing.T) {
	a := New(Config{Tries: 3})
	a.Request(at(0))
	requireSent(t, a, 0, 500*ms)
	requireSent(t, a, 500*ms, 1000*ms)
	requireSent(t, a, 1000*ms, 6000*ms)
	require.Equal(t, at(6000*ms), a.Request(at(2000*ms)), "more who ask do not help")
	requireSent(t, a, 6000*ms, 11000*ms)
	a.Keyframe(at(7000 * ms))
	require.Equal(t, at(7100*ms), a.Request(at(7100*ms)), "it does answer")
	requireSent(t, a, 7100*ms, 7600*ms)
}

func TestSlowIsNeverFasterThanWindow(t *testing.T) {
	a := New(Config{Window: 10 * time.Second, Tries: 1})
	a.Request(at(0))
	requireSent(t, a, 0, 10*time.Second)
}

// However requests and keyframes fall, two sent requests are a window apart,
// and each request is followed by one that is sent or by a keyframe.
func TestInvariantsUnderDisorder(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	a := New(Config{Tries: 1 << 30})
	var sent, asked time.Duration = -time.Hour, -1
	for now := time.Duration(0); now < 10*time.Minute; now += ms {
		if rng.IntN(300) == 0 {
			a.Request(at(now))
			if asked < 0 {
				asked = now
			}
		}
		if rng.IntN(2000) == 0 {
			a.Keyframe(at(now))
			asked = -1
		}
		send, next := a.Due(at(now))
		if send && (now-sent < 500*ms || asked < 0) {
			t.Fatalf("sent at %v and %v, asked at %v", sent, now, asked)
		}
		if send {
			sent = now
		}
		if asked >= 0 && now-max(asked, sent) >= 500*ms || (asked >= 0) == next.IsZero() {
			t.Fatalf("at %v: asked at %v, sent at %v, next %v", now, asked, sent, next)
		}
	}
}

func TestDoesNotAllocate(t *testing.T) {
	a, now := New(Config{}), epoch
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		now = now.Add(30 * ms)
		a.Request(now)
		a.Due(now)
		a.Keyframe(now.Add(-10 * ms))
	}))
}
