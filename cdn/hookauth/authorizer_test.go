package hookauth_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/hookauth"
)

func TestQuestionAndGrant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, s := scripted(t, nil, says(`{"allow":true,"subject":"ann","id":"g-1","tag":"acme","expires":4000000000,"max_bitrate":2500000,"of later":[1]}`))
		g, err := a.Authorize(t.Context(), cdn.AuthRequest{
			Action: cdn.ActionPublish, Stream: "live/a", Credential: "token", RemoteAddr: "[2001:db8::1]:7", Query: url.Values{"x": {"1", "2"}},
		})
		require.NoError(t, err)
		require.NoError(t, g.Revoked.Err())
		g.Revoked = nil
		require.Equal(t, cdn.Grant{Subject: "ann", ID: "g-1", Tag: "acme", Expires: time.Unix(4_000_000_000, 0), MaxBitrate: 2_500_000}, g)
		require.Equal(t, []hookauth.Question{{
			Version: 1, Action: "publish", Stream: "live/a", Credential: "token", Query: url.Values{"x": {"1", "2"}}, Address: "2001:db8::1", Node: "edge-1",
		}}, s.take())

		_, err = a.Authorize(t.Context(), cdn.AuthRequest{Action: cdn.ActionFetch, Stream: "live/a", Node: "edge-2", Credential: "token"})
		require.NoError(t, err)
		require.Equal(t, []hookauth.Question{{
			Version: 1, Action: "fetch", Stream: "live/a", Credential: "token", Query: url.Values{}, Node: "edge-1", Peer: "edge-2",
		}}, s.take())
		g, err = a.Authorize(t.Context(), cdn.AuthRequest{Action: cdn.ActionFetch, Stream: "live/a", Node: "edge-2", Trusted: true})
		require.NoError(t, err)
		require.Equal(t, cdn.Grant{Subject: "edge-2"}, g)
		require.Empty(t, s.take(), "a node that has proved to be one")
	})
}

func TestRefusals(t *testing.T) {
	for text, want := range map[string]error{
		`{"allow":false}`:                                       cdn.ErrForbidden,
		`{"allow":false,"reason":"forbidden"}`:                  cdn.ErrForbidden,
		`{"allow":false,"reason":"unauthorized"}`:               cdn.ErrUnauthorized,
		`{"allow":false,"subject":"ann","detail":"Pay first."}`: cdn.ErrForbidden,
	} {
		a, _ := scripted(t, nil, says(text))
		g, err := a.Authorize(t.Context(), playing("token"))
		require.ErrorIs(t, err, want)
		require.NotErrorIs(t, err, cdn.ErrUnavailable)
		require.Zero(t, g)
		var e *cdn.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, strings.Contains(text, "Pay"), e.Detail == "Pay first.")
	}
}

// Whatever a hook says that is no answer lets nobody in, and is no word about the
// client.
func TestNoAnswer(t *testing.T) {
	status := func(code int, kind, text string) func(*http.Request, hookauth.Question) (*http.Response, error) {
		return func(r *http.Request, _ hookauth.Question) (*http.Response, error) {
			resp := answerOf(r, text)
			resp.StatusCode = code
			resp.Header.Set("Content-Type", kind)
			resp.Header.Set("Location", "https://elsewhere.example/")
			return resp, nil
		}
	}
	const yes, kind = `{"allow":true}`, "application/json"
	for name, answer := range map[string]func(*http.Request, hookauth.Question) (*http.Response, error){
		"slow": hangs,
		"dead": func(*http.Request, hookauth.Question) (*http.Response, error) {
			return nil, errors.New("connection refused")
		},
		"huge":                    status(200, kind, `{"allow":true,"x":"`+strings.Repeat("x", 1<<20)+`"}`),
		"wrong type":              status(200, "text/html", yes),
		"no type":                 status(200, "", yes),
		"redirect":                status(307, kind, yes),
		"unauthorized by a proxy": status(401, kind, yes),
		"forbidden by a proxy":    status(403, kind, yes),
		"created":                 status(201, kind, yes),
		"no content":              status(204, kind, ""),
		"error":                   status(500, kind, yes),
		"nothing":                 says(""),
		"page":                    says("<html>Log in</html>"),
		"true":                    says("true"),
		"list":                    says("[" + yes + "]"),
		"null":                    says("null"),
		"empty":                   says("{}"),
		"allow of text":           says(`{"allow":"true"}`),
		"allow of a number":       says(`{"allow":1}`),
		"allow null":              says(`{"allow":null}`),
		"allow in another case":   says(`{"Allow":true}`),
		"allow twice":             says(`{"allow":false,"allow":true}`),
		"allow in two cases":      says(`{"allow":false,"ALLOW":true}`),
		"two answers":             says(yes + yes),
		"torn":                    says(`{"allow":true`),
		"expires of text":         says(`{"allow":true,"expires":"2027-01-01T00:00:00Z"}`),
		"expires below zero":      says(`{"allow":true,"expires":-1}`),
		"bitrate of nothing":      says(`{"allow":true,"max_bitrate":0}`),
		"subject of a number":     says(`{"allow":true,"subject":7}`),
		"ttl of text":             says(`{"allow":true,"ttl":"60"}`),
		"ttl below zero":          says(`{"allow":true,"ttl":-1}`),
		"unknown reason":          says(`{"allow":false,"reason":"maybe"}`),
		"long id":                 says(`{"allow":true,"id":"` + strings.Repeat("x", 300) + `"}`),
		"deep":                    says(`{"allow":true,"x":` + strings.Repeat("[", 60_000)),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := &logged{}
				a, s := scripted(t, func(c *hookauth.Config) { c.Logger = log.logger() }, answer)
				began := time.Now()
				g, err := a.Authorize(t.Context(), playing("token"))
				require.ErrorIs(t, err, hookauth.ErrHook)
				require.ErrorIs(t, err, cdn.ErrUnavailable)
				require.NotErrorIs(t, err, cdn.ErrUnauthorized)
				require.NotErrorIs(t, err, cdn.ErrForbidden)
				require.Zero(t, g)
				require.LessOrEqual(t, time.Since(began), 3*time.Second)
				require.Less(t, len(err.Error()), 500)
				require.NotContains(t, err.Error(), "secret")
				require.Equal(t, 1, log.lines())
				require.Len(t, s.take(), 1)

				s.set(says(yes))
				_, err = a.Authorize(t.Context(), playing("token"))
				require.NoError(t, err, "a failure is not kept")
				require.Equal(t, 2, log.lines())
			})
		})
	}
}

// A long question is refused unasked.
func TestLongQuestion(t *testing.T) {
	a, s := scripted(t, nil, says(`{"allow":true}`))
	_, err := a.Authorize(t.Context(), playing(strings.Repeat("x", 20_000)))
	require.ErrorIs(t, err, cdn.ErrUnauthorized)
	require.Empty(t, s.take())
}

// A crowd with one question is one request, and gets one answer; one who leaves does
// not take it from the others.
func TestThunderingHerd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, s := scripted(t, nil, later(`{"allow":true}`))
		first, leave := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() {
			_, err := a.Authorize(first, playing("token"))
			require.ErrorIs(t, err, cdn.ErrUnavailable)
		})
		synctest.Wait()
		for range 1000 {
			all.Go(func() {
				_, err := a.Authorize(t.Context(), playing("token"))
				require.NoError(t, err)
			})
		}
		synctest.Wait()
		leave()
		all.Wait()
		require.Len(t, s.take(), 1)
	})
}

// An answer is kept as long as it says, within bounds, and for that question alone.
func TestCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, s := scripted(t, func(c *hookauth.Config) { c.Recheck = -1 }, says(`{"allow":true,"ttl":10}`))
		ask := func(r cdn.AuthRequest) int {
			_, _ = a.Authorize(t.Context(), r)
			return len(s.take())
		}
		r := playing("token")
		require.Equal(t, 1, ask(r))
		time.Sleep(10*time.Second - time.Nanosecond)
		require.Equal(t, 0, ask(r))
		r.RemoteAddr = "192.0.2.1:8"
		require.Equal(t, 0, ask(r), "another port")
		time.Sleep(time.Nanosecond)
		require.Equal(t, 1, ask(r))
		for name, change := range map[string]func(*cdn.AuthRequest){
			"action":  func(r *cdn.AuthRequest) { r.Action = cdn.ActionPublish },
			"stream":  func(r *cdn.AuthRequest) { r.Stream = "live/b" },
			"token":   func(r *cdn.AuthRequest) { r.Credential = "token2" },
			"address": func(r *cdn.AuthRequest) { r.RemoteAddr = "192.0.2.2:7" },
			"query":   func(r *cdn.AuthRequest) { r.Query = url.Values{"a": {"b"}} },
			"order":   func(r *cdn.AuthRequest) { r.Query = url.Values{"a": {"b", "c"}} },
			"other":   func(r *cdn.AuthRequest) { r.Query = url.Values{"a": {"c", "b"}} },
			"peer":    func(r *cdn.AuthRequest) { r.Node = "edge-2" },
		} {
			other := playing("token")
			change(&other)
			require.Equal(t, 1, ask(other), name)
			require.Equal(t, 0, ask(other), name)
		}

		s.set(says(`{"allow":true}`))
		require.Equal(t, 1, ask(playing("without a ttl")))
		require.Equal(t, 1, ask(playing("without a ttl")))
		s.set(says(`{"allow":true,"ttl":1e9}`))
		require.Equal(t, 1, ask(playing("with a long ttl")))
		time.Sleep(5 * time.Minute)
		require.Equal(t, 1, ask(playing("with a long ttl")))
		s.set(says(`{"allow":false,"ttl":3600}`))
		require.Equal(t, 1, ask(playing("refused")))
		require.Equal(t, 0, ask(playing("refused")))
		time.Sleep(2 * time.Second)
		require.Equal(t, 1, ask(playing("refused")))
		s.set(says(fmt.Sprintf(`{"allow":true,"ttl":60,"expires":%d}`, time.Now().Add(5*time.Second).Unix())))
		require.Equal(t, 1, ask(playing("expires")))
		time.Sleep(5 * time.Second)
		require.Equal(t, 1, ask(playing("expires")), "beyond its expiry")
	})
}

// The parameters that the hook is not told are no part of the question.
func TestParameters(t *testing.T) {
	a, s := scripted(t, func(c *hookauth.Config) { c.Parameters = []string{"key"} }, says(`{"allow":true,"ttl":60}`))
	for i := range 10 {
		r := playing("")
		r.Query = url.Values{"key": {"k"}, "cache-buster": {fmt.Sprint(i)}}
		_, err := a.Authorize(t.Context(), r)
		require.NoError(t, err)
	}
	asked := s.take()
	require.Len(t, asked, 1)
	require.Equal(t, url.Values{"key": {"k"}}, asked[0].Query)
}

// The cache forgets what was not used for longest.
func TestCacheIsBounded(t *testing.T) {
	a, s := scripted(t, func(c *hookauth.Config) { c.Cache = 3 }, says(`{"allow":true,"ttl":60}`))
	ask := func(token string) int {
		_, err := a.Authorize(t.Context(), playing(token))
		require.NoError(t, err)
		return len(s.take())
	}
	for _, token := range []string{"a", "b", "c"} {
		require.Equal(t, 1, ask(token))
	}
	require.Equal(t, 0, ask("a"))
	require.Equal(t, 1, ask("d"), "in the place of b")
	require.Equal(t, 0, ask("a"))
	require.Equal(t, 0, ask("c"))
	require.Equal(t, 1, ask("b"))
}

// Many different questions are asked a few at a time, and one address cannot take all
// places.
func TestConcurrency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, s := scripted(t, func(c *hookauth.Config) { c.Concurrency, c.Timeout = 8, 10*time.Second }, later(`{"allow":true}`))
		var all sync.WaitGroup
		var mu sync.Mutex
		count := map[string]int{}
		ask := func(address string, i int) {
			all.Go(func() {
				r := playing(fmt.Sprint(i))
				r.RemoteAddr = address + ":7"
				_, err := a.Authorize(t.Context(), r)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					count[address[:4]]++
				} else {
					require.ErrorIs(t, err, hookauth.ErrBusy)
				}
			})
		}
		for i := range 1000 {
			ask("9.9.9.9", i)
		}
		synctest.Wait()
		for i := range 20 {
			ask(fmt.Sprintf("192.0.2.%d", i), i)
		}
		all.Wait()
		require.InDelta(t, 2*10, count["9.9."], 4, "two at a time, for as long as they wait")
		require.Equal(t, 20, count["192."])
		require.Equal(t, 6, s.most, "two are kept for those who are in")
	})
}

// Whoever has an IPv6 network has one share, and no crowd keeps the hook from being asked
// about sessions that run.
func TestCrowds(t *testing.T) {
	for name, address := range map[string]func(i int) string{
		"one address":             func(int) string { return "192.0.2.9:7" },
		"one IPv6 network":        func(i int) string { return fmt.Sprintf("[2001:db8::%x]:7", i+1) },
		"many addresses":          func(i int) string { return fmt.Sprintf("10.0.%d.%d:7", i/250, i%250) },
		"none that can be read":   func(int) string { return "" },
		"one address, as in IPv6": func(int) string { return "[::ffff:192.0.2.9]:7" },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, s := scripted(t, func(c *hookauth.Config) { c.Concurrency, c.Timeout = 8, 5*time.Second }, later(`{"allow":true}`))
				runs, err := a.Authorize(t.Context(), playing("runs"))
				require.NoError(t, err)
				s.take()
				ctx, cancel := context.WithCancel(t.Context())
				var all sync.WaitGroup
				for i := range 80 {
					all.Go(func() {
						for j := 0; ctx.Err() == nil; j++ {
							r := playing(fmt.Sprint(i, j))
							r.RemoteAddr = address(i)
							_, _ = a.Authorize(ctx, r)
							time.Sleep(500 * time.Millisecond)
						}
					})
				}
				time.Sleep(2 * time.Minute)
				if strings.HasPrefix(name, "one") {
					for i := range 4 {
						r := playing("other")
						r.RemoteAddr = fmt.Sprintf("[2001:db8:0:%x::1]:7", i+1)
						_, err := a.Authorize(t.Context(), r)
						require.NoError(t, err)
					}
				}
				cancel()
				all.Wait()
				again := 0
				for _, q := range s.take() {
					if q.Credential == "runs" {
						again++
					}
				}
				require.InDelta(t, 4, again, 1, "every 30 s")
				runtime.KeepAlive(runs.Revoked)
			})
		})
	}
}

// A dead hook holds up few: the others are refused at once, and it is tried now and
// then.
func TestCircuit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &logged{}
		a, s := scripted(t, func(c *hookauth.Config) { c.Logger = log.logger() }, hangs)
		ask := func(i int) (time.Duration, error) {
			began := time.Now()
			r := playing(fmt.Sprint(i))
			r.RemoteAddr = fmt.Sprintf("10.0.%d.%d:7", i/250, i%250)
			_, err := a.Authorize(t.Context(), r)
			return time.Since(began), err
		}
		for i := range 5 {
			took, err := ask(i)
			require.Error(t, err)
			require.Equal(t, 3*time.Second, took)
		}
		s.take()
		slow := 0
		for i := range 6000 { // ten minutes
			took, err := ask(i)
			require.ErrorIs(t, err, hookauth.ErrHook)
			if took > 0 {
				slow++
			}
			time.Sleep(100*time.Millisecond - min(took, 100*time.Millisecond))
		}
		require.Equal(t, slow, len(s.take()))
		require.Less(t, slow, 30)
		require.Equal(t, 1, log.lines())
		s.set(says(`{"allow":true}`))
		time.Sleep(30 * time.Second)
		for i := range 10 {
			_, err := ask(i)
			require.NoError(t, err)
		}
		require.Equal(t, 2, log.lines())
	})
}

// A hook that fails now and then is asked all the same.
func TestFlapping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &logged{}
		a, _ := scripted(t, func(c *hookauth.Config) { c.Logger = log.logger() }, func(r *http.Request, q hookauth.Question) (*http.Response, error) {
			// The question decides, not a count: meanwhile the authorizer asks again about
			// those that it let in.
			if i, err := strconv.Atoi(q.Credential); err != nil || i%2 == 1 {
				return nil, errors.New("reset")
			}
			return answerOf(r, `{"allow":true}`), nil
		})
		good := 0
		for i := range 600 {
			if _, err := a.Authorize(t.Context(), playing(fmt.Sprint(i))); err == nil {
				good++
			}
			time.Sleep(100 * time.Millisecond)
		}
		require.Equal(t, 300, good)
		require.LessOrEqual(t, log.lines(), 4, "in a minute")
	})
}

// A hook that changes its mind ends the sessions, and one that is away does not.
func TestRecheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, s := scripted(t, nil, says(`{"allow":true,"ttl":300}`))
		first, err := a.Authorize(t.Context(), playing("bad"))
		require.NoError(t, err)
		second, err := a.Authorize(t.Context(), playing("bad"))
		require.NoError(t, err)
		other, err := a.Authorize(t.Context(), playing("good"))
		require.NoError(t, err)
		s.take()
		time.Sleep(5 * time.Minute)
		require.InDelta(t, 2*10, len(s.take()), 3, "each of the two questions every 30 s")

		s.set(hangs)
		time.Sleep(10 * time.Minute)
		require.NoError(t, first.Revoked.Err())
		s.set(func(r *http.Request, q hookauth.Question) (*http.Response, error) {
			if q.Credential == "bad" {
				return answerOf(r, `{"allow":false,"reason":"unauthorized"}`), nil
			}
			return answerOf(r, `{"allow":true,"ttl":300}`), nil
		})
		time.Sleep(61 * time.Second) // the circuit's pause and the interval
		for _, g := range []cdn.Grant{first, second} {
			require.ErrorIs(t, context.Cause(g.Revoked), cdn.ErrUnauthorized)
		}
		require.NoError(t, other.Revoked.Err())
		_, err = a.Authorize(t.Context(), playing("bad"))
		require.ErrorIs(t, err, cdn.ErrUnauthorized, "what was kept is forgotten")
		runtime.KeepAlive(other.Revoked)
	})
}

// Sessions that are over are not asked about, and nothing is kept of them.
func TestRecheckForgets(t *testing.T) {
	a, s := scripted(t, func(c *hookauth.Config) { c.Recheck = 8 * time.Millisecond }, says(`{"allow":true}`))
	held, err := a.Authorize(t.Context(), playing("held"))
	require.NoError(t, err)
	for i := range 100 {
		_, err := a.Authorize(t.Context(), playing(fmt.Sprint(i)))
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool {
		runtime.GC()
		s.take()
		time.Sleep(30 * time.Millisecond)
		asked := s.take()
		for _, q := range asked {
			if q.Credential != "held" {
				return false
			}
		}
		return len(asked) > 0
	}, 10*time.Second, time.Millisecond)
	runtime.KeepAlive(held.Revoked)
}

func TestRevoke(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := scripted(t, nil, func(r *http.Request, q hookauth.Question) (*http.Response, error) {
			return answerOf(r, fmt.Sprintf(`{"allow":true,"ttl":60,"id":%q}`, strings.TrimRight(q.Credential, "0123456789"))), nil
		})
		grants := map[string]cdn.Grant{}
		for _, token := range []string{"one1", "one2", "other1"} {
			g, err := a.Authorize(t.Context(), playing(token))
			require.NoError(t, err)
			grants[token] = g
		}
		a.Revoke("one", time.Now().Add(time.Minute))
		a.Revoke("", time.Time{})
		require.ErrorIs(t, context.Cause(grants["one1"].Revoked), cdn.ErrUnauthorized)
		require.ErrorIs(t, context.Cause(grants["one2"].Revoked), cdn.ErrUnauthorized)
		require.NoError(t, grants["other1"].Revoked.Err())
		_, err := a.Authorize(t.Context(), playing("one1"))
		require.ErrorIs(t, err, cdn.ErrUnauthorized)
		_, err = a.Authorize(t.Context(), playing("one3"))
		require.ErrorIs(t, err, cdn.ErrUnauthorized)
		time.Sleep(time.Minute)
		_, err = a.Authorize(t.Context(), playing("one1"))
		require.NoError(t, err)
	})
}

// A hook may give each answer an ID of its own: each names the sessions that it let in, and
// the newest one about sessions that run names all of the question's.
func TestRevokeOneAnswerOfMany(t *testing.T) {
	for id, want := range map[string][]bool{
		"answer-1": {true, false, false}, "answer-2": {false, true, false}, "answer-3": {false, false, true}, "answer-4": {true, true, true}, "answer-9": {false, false, false},
	} {
		t.Run(id, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var answers atomic.Int32
				a, _ := scripted(t, nil, func(r *http.Request, _ hookauth.Question) (*http.Response, error) {
					return answerOf(r, fmt.Sprintf(`{"allow":true,"id":"answer-%d"}`, answers.Add(1))), nil
				})
				var grants []cdn.Grant
				for i := range want {
					g, err := a.Authorize(t.Context(), playing("token"))
					require.NoError(t, err)
					require.Equal(t, fmt.Sprintf("answer-%d", i+1), g.ID)
					grants = append(grants, g)
				}
				time.Sleep(40 * time.Second)
				require.EqualValues(t, 4, answers.Load(), "the hook was asked again")
				a.Revoke(id, time.Time{})
				for i, ends := range want {
					if ends {
						require.ErrorIs(t, context.Cause(grants[i].Revoked), cdn.ErrUnauthorized)
					} else {
						require.NoError(t, grants[i].Revoked.Err())
					}
				}
			})
		})
	}
}

// A grant that was revoked and that the hook gives again, to sessions that run, ends them.
func TestARevokedGrantIsNotRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, s := scripted(t, nil, says(`{"allow":true,"id":"good"}`))
		g, err := a.Authorize(t.Context(), playing("token"))
		require.NoError(t, err)
		a.Revoke("bad", time.Time{})
		s.set(says(`{"allow":true,"id":"bad"}`))
		time.Sleep(40 * time.Second)
		require.ErrorIs(t, context.Cause(g.Revoked), cdn.ErrUnauthorized)
	})
}

// Close ends what waits.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := scripted(t, nil, hangs)
		refused := make(chan error)
		for i := range 100 {
			go func() {
				r := playing(fmt.Sprint(i))
				r.RemoteAddr = ""
				_, err := a.Authorize(t.Context(), r)
				refused <- err
			}()
		}
		synctest.Wait()
		began := time.Now()
		require.NoError(t, a.Close())
		for range 100 {
			require.ErrorIs(t, <-refused, cdn.ErrUnavailable)
		}
		require.Equal(t, began, time.Now())
		_, err := a.Authorize(t.Context(), playing("late"))
		require.ErrorIs(t, err, hookauth.ErrHook)
		require.NoError(t, a.Close())
	})
}

func TestConfig(t *testing.T) {
	for name, c := range map[string]hookauth.Config{
		"no URL":     {},
		"http":       {URL: "http://hook.example/secret"},
		"file":       {URL: "file:///etc/passwd", AllowPlain: true},
		"bad secret": {URL: "https://hook.example/secret", Secrets: []string{secret, "whsec_secret"}},
	} {
		_, err := hookauth.New(c)
		require.ErrorIs(t, err, cdn.ErrInvalid, name)
		require.NotContains(t, strings.ReplaceAll(err.Error(), "the secret", ""), "secret", name)
	}
}

// Only an answer that says so lets somebody in.
func FuzzParseAnswer(f *testing.F) {
	for _, s := range []string{
		`{"allow":true}`, `{"allow":false,"reason":"forbidden","detail":"x"}`, `{"allow":true,"ttl":1e300}`, `{"Allow":true}`,
		`{"allow":false,"allow":true}`, `{"allow":true,"expires":1e12,"max_bitrate":1.5,"subject":"\ud800"}`, `[]`, `null`, `{"allow":true}x`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := hookauth.ParseAnswer(data)
		if err != nil {
			require.Zero(t, a)
			return
		}
		if a.Allow {
			require.Contains(t, string(data), "true")
		}
		require.GreaterOrEqual(t, a.TTL, time.Duration(0))
		require.GreaterOrEqual(t, a.MaxBitrate, 0)
		require.LessOrEqual(t, len(a.Subject), 256)
		require.False(t, a.Expires.Year() > 100_000)
	})
}
