package webhook_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/webhook"
)

func TestMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver(t)
		s := sender(t, r, nil)
		began := time.Now()
		for _, e := range []cdn.Event{
			cdn.SessionStarted{Stream: "live/a", Action: cdn.ActionPublish, Session: "P", Subject: "ann", Grant: "t-1", Tag: "acme", RemoteAddr: "192.0.2.1:7"},
			cdn.SessionStarted{Stream: "live/a", Action: cdn.ActionFetch, Session: "F"},
			cdn.SessionStarted{Stream: "live/a", Action: cdn.ActionPlay, Session: "V"},
			cdn.StreamStarted{Stream: "live/a"},
			cdn.ViewerSlow{Stream: "live/a", Session: "V", Layer: "l"},
			cdn.SessionEnded{Stream: "live/a", Action: cdn.ActionFetch, Session: "F"},
			cdn.SessionEnded{Stream: "live/a", Action: cdn.ActionPublish, Session: "P", Subject: "ann", Grant: "t-1", Tag: "acme", Lasted: 1500 * time.Millisecond, Err: &cdn.Error{Op: "test", Err: fmt.Errorf("%w: said the peer at 192.0.2.1", cdn.ErrLeft), Detail: "It left."}},
		} {
			s.Event(e)
		}
		require.Equal(t, began, time.Now())
		time.Sleep(time.Second)
		got := r.take()
		require.Len(t, got, 4)
		lasted, no := int64(1500), false
		for i, want := range []webhook.Message{
			{Type: webhook.TypePublish, Data: webhook.Data{Stream: "live/a", Session: "P", Subject: "ann", Grant: "t-1", Tag: "acme", Address: "192.0.2.1:7"}},
			{Type: webhook.TypePlay, Data: webhook.Data{Stream: "live/a", Session: "V"}},
			{Type: webhook.TypeSlow, Data: webhook.Data{Stream: "live/a", Session: "V", Layer: "l", Paused: &no}},
			{Type: webhook.TypeEnded, Data: webhook.Data{Stream: "live/a", Session: "P", Action: "publish", Subject: "ann", Grant: "t-1", Tag: "acme", LastedMS: &lasted, Reason: "left", Detail: "It left."}},
		} {
			want.Node, want.Timestamp = "edge-1", began.UTC()
			require.Equal(t, want, got[i].message)
			require.Regexp(t, `^msg_[A-Z2-7]{26}$`, got[i].id)
		}
		require.Equal(t, []webhook.EndpointStats{{Endpoint: "https://hooks.example", Delivered: 4}}, s.Stats())
	})
}

// Whatever an endpoint does, it takes the messages of a stream in their order, each
// once, and the same message under one name each time.
func TestOrder(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			chance := rand.New(rand.NewPCG(seed, 13))
			r := newReceiver(t)
			r.answers(func(w http.ResponseWriter, req *http.Request, _ webhook.Message) int {
				r.mu.Lock()
				dice := chance.IntN(10)
				r.mu.Unlock()
				switch dice {
				case 0, 1:
					return http.StatusInternalServerError
				case 2:
					w.Header().Set("Retry-After", "3")
					return http.StatusTooManyRequests
				case 3:
					panic(http.ErrAbortHandler)
				case 4:
					time.Sleep(time.Duration(dice) * time.Second)
					return http.StatusOK
				case 5:
					return http.StatusPermanentRedirect
				}
				return http.StatusOK
			})
			s := sender(t, r, nil)
			var want [5][]string
			for i := range 200 {
				n := i % len(want)
				name := fmt.Sprintf("%03d", i)
				want[n] = append(want[n], name)
				s.Event(joined(fmt.Sprintf("live/%d", n), name))
				if i%10 == 0 {
					time.Sleep(time.Second)
				}
			}
			require.NoError(t, s.Close(t.Context()))
			var taken [5][]string
			bodies := map[string]string{}
			for _, d := range r.take() {
				if body, ok := bodies[d.id]; ok {
					require.Equal(t, body, string(d.body))
				}
				bodies[d.id] = string(d.body)
				if d.status < 300 {
					n := int(d.message.Data.Stream[5] - '0')
					taken[n] = append(taken[n], d.message.Data.Session)
				}
			}
			require.Equal(t, want, taken, "seed %d", seed)
			require.Len(t, bodies, 200)
		})
	}
}

// A stream whose messages are refused holds up no other.
func TestStreamsAreIndependent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver(t)
		r.answers(func(_ http.ResponseWriter, _ *http.Request, m webhook.Message) int {
			if m.Data.Stream == "bad" {
				return http.StatusInternalServerError
			}
			return http.StatusOK
		})
		s := sender(t, r, func(c *webhook.Config) { c.Concurrency = 1 })
		for range 5 {
			s.Event(joined("bad", "x"))
		}
		time.Sleep(time.Minute)
		r.take()
		began := time.Now()
		s.Event(joined("good", "y"))
		synctest.Wait()
		require.Equal(t, []string{"y"}, sessions(r.take()))
		require.Equal(t, began, time.Now())
	})
}

// The waits double, up to a bound, and differ by chance.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, log := newReceiver(t), &logged{}
		r.answers(refuses(http.StatusServiceUnavailable))
		s := sender(t, r, func(c *webhook.Config) { c.Logger = log.logger() })
		s.Event(joined("live", "a"))
		time.Sleep(23 * time.Hour)
		got := r.take()
		for i := 1; i < len(got); i++ {
			wait, most := got[i].at.Sub(got[i-1].at), min(time.Second<<min(i-1, 20), 5*time.Minute)
			require.GreaterOrEqual(t, wait, most/2)
			require.LessOrEqual(t, wait, most)
			require.Equal(t, got[0].id, got[i].id)
		}
		require.Greater(t, len(got), 23*60/5)
		time.Sleep(2 * time.Hour)
		r.take()
		require.Equal(t, 2, log.lines(), "it fails, and a message was dropped: %s", log)
		time.Sleep(time.Hour)
		require.Empty(t, r.take(), "it was given up")
		require.EqualValues(t, 1, s.Stats()[0].Dropped)

		r.answers(takes)
		s.Event(joined("live", "b"))
		synctest.Wait()
		got = r.take()
		require.Equal(t, []string{"b"}, sessions(got))
		require.Equal(t, 1, got[0].message.Dropped)
		s.Event(joined("live", "c"))
		synctest.Wait()
		require.Zero(t, r.take()[0].message.Dropped, "it is told once")
		require.Equal(t, 3, log.lines(), "it works again")
	})
}

// A message that a receiver will never take is not in the way for ever.
func TestRefusedMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver(t)
		r.answers(func(_ http.ResponseWriter, _ *http.Request, m webhook.Message) int {
			if m.Data.Session == "bad" {
				return http.StatusUnprocessableEntity
			}
			return http.StatusOK
		})
		s := sender(t, r, nil)
		s.Event(joined("live", "bad"))
		s.Event(joined("live", "good"))
		time.Sleep(time.Minute)
		got := r.take()
		require.Equal(t, []string{"bad", "bad", "bad", "bad", "bad", "good"}, sessions(got))
		require.Equal(t, 1, got[5].message.Dropped)
	})
}

func TestRetryAfter(t *testing.T) {
	for name, tc := range map[string]struct {
		header func() string
		atLeast,
		atMost time.Duration
	}{
		"seconds":        {func() string { return "120" }, 2 * time.Minute, 2*time.Minute + time.Second},
		"a date":         {func() string { return time.Now().Add(2 * time.Minute).UTC().Format(http.TimeFormat) }, 2*time.Minute - time.Second, 2*time.Minute + time.Second},
		"a date gone by": {func() string { return time.Unix(0, 0).UTC().Format(http.TimeFormat) }, 0, time.Second},
		"far away":       {func() string { return "999999999" }, time.Hour, time.Hour + time.Second},
		"beyond numbers": {func() string { return strings.Repeat("9", 50) }, 0, time.Second},
		"rubbish":        {func() string { return "soon" }, 0, time.Second},
		"below zero":     {func() string { return "-5" }, 0, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newReceiver(t)
				r.answers(func(w http.ResponseWriter, _ *http.Request, _ webhook.Message) int {
					w.Header().Set("Retry-After", tc.header())
					return http.StatusTooManyRequests
				})
				s := sender(t, r, nil)
				began := time.Now()
				s.Event(joined("live/a", "a"))
				synctest.Wait()
				r.answers(takes)
				s.Event(joined("live/b", "b")) // another stream waits as well
				time.Sleep(2 * time.Hour)
				got := r.take()
				require.Len(t, got, 3)
				first := slices.MinFunc(got[1:], func(a, b delivery) int { return a.at.Compare(b.at) })
				require.GreaterOrEqual(t, first.at.Sub(began), tc.atLeast)
				require.LessOrEqual(t, first.at.Sub(began), tc.atMost)
			})
		})
	}
}

// More than the queue holds is dropped without waiting, and told.
func TestQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, log := newReceiver(t), &logged{}
		r.answers(hangs)
		s := sender(t, r, func(c *webhook.Config) { c.Queue, c.Logger = 100, log.logger() })
		began := time.Now()
		for i := range 1000 {
			s.Event(joined("live", fmt.Sprint(i)))
		}
		require.Equal(t, began, time.Now(), "Event does not block")
		require.Equal(t, 1, log.lines())
		stats := s.Stats()[0]
		require.Equal(t, 100, stats.Waiting)
		require.EqualValues(t, 900, stats.Dropped)
		synctest.Wait()
		r.answers(takes)
		time.Sleep(time.Minute)
		told := 0
		for _, d := range r.take() {
			if d.status < 300 {
				told += d.message.Dropped
			}
		}
		s.Event(joined("live", "one more"))
		synctest.Wait()
		for _, d := range r.take() {
			told += d.message.Dropped
		}
		require.Equal(t, 900, told)
		require.EqualValues(t, 101, s.Stats()[0].Delivered)
	})
}

func TestGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, log := newReceiver(t), &logged{}
		r.answers(refuses(http.StatusGone))
		s := sender(t, r, func(c *webhook.Config) { c.Logger = log.logger() })
		for i := range 50 {
			s.Event(joined(fmt.Sprintf("live/%d", i), "x"))
		}
		time.Sleep(time.Hour)
		require.LessOrEqual(t, len(r.take()), 8, "those that were on the way")
		r.answers(takes)
		s.Event(joined("live", "y"))
		time.Sleep(time.Hour)
		require.Empty(t, r.take())
		stats := s.Stats()[0]
		require.True(t, stats.Disabled)
		require.EqualValues(t, 51, stats.Dropped)
		require.Contains(t, log.String(), "410")
		require.LessOrEqual(t, log.lines(), 3)
		require.NoError(t, s.Close(t.Context()))
	})
}

// Each endpoint gets the events that it wants, whatever the other does, signed with
// all of its secrets.
func TestEndpoints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver(t)
		r.answers(func(_ http.ResponseWriter, req *http.Request, _ webhook.Message) int {
			if req.Host == "dead.example" {
				return http.StatusBadGateway
			}
			return http.StatusOK
		})
		s := sender(t, r, func(c *webhook.Config) {
			c.Endpoints = []webhook.Endpoint{
				{URL: "https://dead.example", Secrets: []string{secret}},
				{URL: "https://hooks.example", Secrets: []string{newer, secret}, Events: []webhook.Type{webhook.TypeEnded, webhook.TypeSlow}},
			}
		})
		s.Event(joined("live", "a"))
		s.Event(cdn.ViewerSlow{Stream: "live", Session: "a", Paused: true})
		s.Event(cdn.SessionEnded{Stream: "live", Session: "a", Action: cdn.ActionPlay, Err: cdn.ErrTooSlow})
		synctest.Wait()
		var types []webhook.Type
		for _, d := range r.take() {
			if d.status == http.StatusOK {
				types = append(types, d.message.Type)
				require.True(t, signedBy(newer, d.header, d.body))
				require.False(t, signedBy(otherKey, d.header, d.body))
			}
		}
		require.Equal(t, []webhook.Type{webhook.TypeSlow, webhook.TypeEnded}, types)
	})
}

// Close sends what waits, for as long as it may.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver(t)
		r.answers(func(http.ResponseWriter, *http.Request, webhook.Message) int {
			time.Sleep(time.Second)
			return http.StatusOK
		})
		s := sender(t, r, nil)
		for i := range 10 {
			s.Event(joined("live", fmt.Sprint(i)))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3500*time.Millisecond)
		defer cancel()
		err := s.Close(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "7 messages")
		require.GreaterOrEqual(t, len(r.take()), 3)
		s.Event(joined("live", "late"))
		require.NoError(t, errors.Join(s.Close(t.Context())), "again")
	})
}

// A receiver that does not answer keeps the sender for as long as the time limit.
func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver(t)
		r.answers(hangs)
		s := sender(t, r, func(c *webhook.Config) { c.Timeout = 2 * time.Second })
		s.Event(joined("live", "a"))
		time.Sleep(2*time.Second + time.Millisecond)
		r.answers(takes)
		time.Sleep(time.Second)
		got := r.take()
		require.Equal(t, []string{"a", "a"}, sessions(got))
		require.Equal(t, got[0].id, got[1].id)
	})
}

func TestConfig(t *testing.T) {
	for name, e := range map[string]webhook.Endpoint{
		"no URL":        {Secrets: []string{secret}},
		"http":          {URL: "http://hooks.example", Secrets: []string{secret}},
		"no secret":     {URL: "https://hooks.example/path-secret"},
		"short secret":  {URL: "https://hooks.example", Secrets: []string{"whsec_c2VjcmV0"}},
		"long secret":   {URL: "https://hooks.example", Secrets: []string{"whsec_" + strings.Repeat("c2VjcmV0", 12)}},
		"no base64":     {URL: "https://hooks.example", Secrets: []string{"whsec_secret!!"}},
		"unknown event": {URL: "https://hooks.example", Secrets: []string{secret}, Events: []webhook.Type{"viewer.slow"}},
	} {
		_, err := webhook.New(webhook.Config{Endpoints: []webhook.Endpoint{{URL: "https://a.example", Secrets: []string{secret}}, e}})
		require.ErrorIs(t, err, cdn.ErrInvalid, name)
		require.ErrorContains(t, err, "endpoint 2", name)
		for _, s := range append(e.Secrets, "path-secret") {
			require.NotContains(t, err.Error(), s, name)
		}
	}
	s, err := webhook.New(webhook.Config{})
	require.NoError(t, err)
	s.Event(joined("live", "a"))
	require.NoError(t, s.Close(t.Context()))
}
