package fanout

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

const ms = time.Millisecond

// A sleeper records when it is served, and asks for whatever the test wants then.
type sleeper struct {
	serveAt func(time.Time)
	begun   time.Time
	served  []time.Duration
	asks    func(s *sleeper) // while it is served; nil: nothing
}

func (s *sleeper) tell(serveAt func(time.Time)) { s.serveAt, s.begun = serveAt, time.Now() }

func (s *sleeper) Consume(*flushes) {
	s.served = append(s.served, time.Since(s.begun))
	if s.asks != nil {
		s.asks(s)
	}
}

// sleep sleeps, and waits for what the bubble's goroutines do then.
func sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// in asks to be served after a time.
func (s *sleeper) in(d time.Duration) { s.serveAt(time.Now().Add(d)) }

// withSleeper calls f with a sleeper that has been served once, and others who must not
// be served with it.
func withSleeper(t *testing.T, f func(t *testing.T, s *sleeper, remove func())) {
	for _, others := range []int{0, 10} { // with so few producers serve consumers themselves, or not
		t.Run(fmt.Sprint("others ", others), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := New(1, newFlushes)
				defer p.Close()
				feed, all := p.NewFeed(), make([]counter, others)
				for i := range all {
					feed.Add(&all[i], nil)
				}
				s := &sleeper{}
				remove := feed.Add(s, s.tell)
				synctest.Wait()
				require.Equal(t, []time.Duration{0}, s.served)
				s.served = nil
				f(t, s, remove)
				for i := range all {
					require.Equal(t, int32(1), all[i].n.Load(), "others are left alone")
				}
			})
		})
	}
}

func TestServedAtATime(t *testing.T) {
	for name, test := range map[string]struct {
		asks []time.Duration
		want []time.Duration
	}{
		"once":                {[]time.Duration{7 * ms}, []time.Duration{7 * ms}},
		"never ahead of it":   {[]time.Duration{7*ms + 1}, []time.Duration{8 * ms}},
		"the earliest counts": {[]time.Duration{9 * ms, 5 * ms, 7 * ms}, []time.Duration{5 * ms}},
		"now":                 {[]time.Duration{0}, []time.Duration{0}},
		"it is over":          {[]time.Duration{-time.Hour}, []time.Duration{0}},
		"far away":            {[]time.Duration{time.Hour}, []time.Duration{time.Hour}},
	} {
		t.Run(name, func(t *testing.T) {
			withSleeper(t, func(t *testing.T, s *sleeper, _ func()) {
				for _, d := range test.asks {
					s.in(d)
				}
				sleep(2 * time.Hour)
				require.Equal(t, test.want, s.served)
			})
		})
	}
}

// A consumer asks while it is served, and between. An earlier time takes the place of a later
// one.
func TestAskingAgain(t *testing.T) {
	withSleeper(t, func(t *testing.T, s *sleeper, _ func()) {
		s.asks = func(s *sleeper) {
			if len(s.served) < 4 {
				s.in(10 * ms)
			}
		}
		s.in(5 * ms)
		sleep(17 * ms)
		s.in(ms)
		sleep(time.Second)
		require.Equal(t, []time.Duration{5 * ms, 15 * ms, 18 * ms, 28 * ms}, s.served)
	})
}

// Whoever was removed is not served any more, and asks in vain.
func TestRemovedWhileItWaits(t *testing.T) {
	withSleeper(t, func(t *testing.T, s *sleeper, remove func()) {
		s.in(5 * ms)
		sleep(2 * ms)
		remove()
		s.in(ms)
		sleep(time.Second)
		require.Empty(t, s.served)
	})
}

// Appointments neither hold a pool up that is closed, nor are they kept then.
func TestCloseWithAppointments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s := New(1, newFlushes), &sleeper{}
		remove := p.NewFeed().Add(s, s.tell)
		synctest.Wait()
		s.in(time.Hour)
		p.Close()
		require.Less(t, time.Since(s.begun), ms)
		s.in(ms)
		sleep(time.Second)
		require.Len(t, s.served, 1)
		remove()
	})
}

// A wake of the stream does not cancel what a consumer has asked for: it may have nothing
// to do then, and not ask again.
func TestWakesAndAppointments(t *testing.T) {
	for _, others := range []int{0, 10} {
		synctest.Test(t, func(t *testing.T) {
			p, s := New(2, newFlushes), &sleeper{}
			defer p.Close()
			feed := p.NewFeed()
			for range others {
				feed.Add(&counter{}, nil)
			}
			feed.Add(s, s.tell)
			synctest.Wait()
			s.in(5 * ms)
			sleep(2 * ms)
			feed.Wake()
			sleep(time.Second)
			require.Equal(t, []time.Duration{0, 2 * ms, 5 * ms}, s.served)
		})
	}
}

// Members ask, are served and leave at random; each is served when it has asked to be, in
// that order, and together if it is at the same time.
func TestManyAppointments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(1, newFlushes)
		defer p.Close()
		rng, feed := rand.New(rand.NewPCG(1, 2)), p.NewFeed()
		var all []*sleeper
		var removes []func()
		for range 200 {
			s := &sleeper{}
			removes = append(removes, feed.Add(s, s.tell))
			all = append(all, s)
		}
		synctest.Wait()
		want := make([][]time.Duration, len(all))
		for range 50 {
			begun := time.Since(all[0].begun)
			for i, s := range all {
				s.served = nil
				want[i] = nil
				if rng.IntN(3) > 0 {
					first, second := time.Duration(1+rng.IntN(50))*ms, time.Duration(1+rng.IntN(50))*ms
					s.in(first)
					s.in(second)
					want[i] = []time.Duration{begun + min(first, second)}
				}
			}
			if gone := rng.IntN(len(all)); rng.IntN(2) == 0 {
				removes[gone]()
				all[gone] = all[len(all)-1]
				want[gone] = want[len(all)-1]
				removes[gone] = removes[len(all)-1]
				all, want, removes = all[:len(all)-1], want[:len(all)-1], removes[:len(all)-1]
			}
			sleep(100 * ms)
			for i, s := range all {
				require.Equal(t, want[i], s.served)
			}
		}
	})
}

// It may be asked from anywhere while members come and go.
func TestAppointmentsConcurrently(t *testing.T) {
	p := New(2, newFlushes)
	feed := p.NewFeed()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				c := &asking{}
				remove := feed.Add(c, c.tell)
				for i := range 10 {
					c.serveAt(time.Now().Add(time.Duration(i) * 100 * time.Microsecond))
				}
				feed.Wake()
				remove()
			}
		})
	}
	wg.Wait()
	p.Close()
	for _, w := range p.workers {
		require.Empty(t, w.appointments.heap)
	}
}

type asking struct{ serveAt func(time.Time) }

func (a *asking) tell(serveAt func(time.Time)) { a.serveAt = serveAt }
func (a *asking) Consume(*flushes)             { a.serveAt(time.Now().Add(ms)) }

// BenchmarkServeAt is what it costs that one of a thousand consumers has something to do at a
// time, against waking all of them.
func BenchmarkServeAt(b *testing.B) {
	for _, one := range []bool{true, false} {
		name := map[bool]string{true: "one", false: "all"}[one]
		b.Run(name, func(b *testing.B) {
			p := New(1, newFlushes)
			defer p.Close()
			feed := p.NewFeed()
			all := make([]notifier, 1000)
			for i := range all {
				all[i].served = make(chan struct{}, 1)
				feed.Add(&all[i], all[i].tell)
				<-all[i].served
			}
			for _, other := range all[1:] { // who have theirs, later
				other.serveAt(time.Now().Add(time.Hour))
			}
			b.ReportAllocs()
			for b.Loop() {
				if one {
					all[0].serveAt(time.Time{})
				} else {
					feed.Wake()
				}
				for i := range all {
					<-all[i].served
					if one {
						break
					}
				}
			}
		})
	}
}

// A notifier says that it was served.
type notifier struct {
	serveAt func(time.Time)
	served  chan struct{}
}

func (n *notifier) tell(serveAt func(time.Time)) { n.serveAt = serveAt }
func (n *notifier) Consume(*flushes)             { n.served <- struct{}{} }
