package access_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/access"
	"github.com/deltacdn/delta/cdn/cdntest"
)

// named grants the credential's owner what is written in it: subject,tag,id.
var named = cdn.AuthorizerFunc(func(_ context.Context, r cdn.AuthRequest) (cdn.Grant, error) {
	f := strings.Split(r.Credential+",,", ",")
	return cdn.Grant{Subject: f[0], Tag: f[1], ID: f[2]}, nil
})

func TestRules(t *testing.T) {
	at := time.Now()
	for _, tc := range []struct {
		name    string
		policy  access.Policy
		request cdn.AuthRequest
		denied  bool
	}{
		{"nothing is said", access.Policy{}, cdn.AuthRequest{Action: cdn.ActionPlay, Stream: "a"}, false},
		{"all is denied", access.Policy{Rules: []access.Rule{{Effect: "deny"}}}, cdn.AuthRequest{Action: cdn.ActionFetch, Stream: "a", Trusted: true}, true},
		{
			"the first that matches decides",
			access.Policy{Rules: []access.Rule{{Effect: "allow", Streams: "live/*"}, {Effect: "deny"}}},
			cdn.AuthRequest{Action: cdn.ActionPlay, Stream: "live/a"},
			false,
		},
		{
			"and no other",
			access.Policy{Rules: []access.Rule{{Effect: "deny", Streams: "live/*"}, {Effect: "allow"}}},
			cdn.AuthRequest{Action: cdn.ActionPlay, Stream: "live/a"},
			true,
		},
		{
			"blocks come first",
			access.Policy{Blocks: []access.Block{{Streams: "live/a"}}, Rules: []access.Rule{{Effect: "allow"}}},
			cdn.AuthRequest{Action: cdn.ActionPlay, Stream: "live/a"},
			true,
		},
		{
			"another action",
			access.Policy{Rules: []access.Rule{{Effect: "deny", Actions: []string{"publish", "fetch"}}}},
			cdn.AuthRequest{Action: cdn.ActionPlay, Stream: "live/a"},
			false,
		},
		{
			"one of the actions",
			access.Policy{Rules: []access.Rule{{Effect: "deny", Actions: []string{"fetch", "play"}}}},
			cdn.AuthRequest{Action: cdn.ActionPlay, Stream: "live/a"},
			true,
		},
		{
			"a subject",
			access.Policy{Rules: []access.Rule{{Effect: "deny", Subject: "mallory"}}},
			cdn.AuthRequest{Action: cdn.ActionPlay, Stream: "a", Credential: "mallory"},
			true,
		},
		{
			"another subject",
			access.Policy{Rules: []access.Rule{{Effect: "deny", Subject: "mallory"}}},
			cdn.AuthRequest{Action: cdn.ActionPlay, Stream: "a", Credential: "alice"},
			false,
		},
		{
			"only one customer",
			access.Policy{Rules: []access.Rule{{Effect: "allow", Tag: "acme"}, {Effect: "deny"}}},
			cdn.AuthRequest{Action: cdn.ActionPlay, Stream: "a", Credential: "alice,acme"},
			false,
		},
		{
			"and not another",
			access.Policy{Rules: []access.Rule{{Effect: "allow", Tag: "acme"}, {Effect: "deny"}}},
			cdn.AuthRequest{Action: cdn.ActionPlay, Stream: "a", Credential: "alice,other"},
			true,
		},
		{
			"a grant",
			access.Policy{Rules: []access.Rule{{Effect: "deny", Grant: "7"}}},
			cdn.AuthRequest{Action: cdn.ActionPlay, Stream: "a", Credential: "alice,acme,7"},
			true,
		},
		{
			"an address",
			access.Policy{Rules: []access.Rule{{Effect: "deny", Address: "192.0.2.1"}}},
			cdn.AuthRequest{Action: cdn.ActionPlay, Stream: "a", RemoteAddr: "[::ffff:192.0.2.1]:7"},
			true,
		},
		{
			"a prefix",
			access.Policy{Rules: []access.Rule{{Effect: "deny", Address: "2001:db8::/32"}}},
			cdn.AuthRequest{Action: cdn.ActionPlay, Stream: "a", RemoteAddr: "[2001:db8::1%eth0]:7"},
			true,
		},
		{
			"no address is known, and only some are allowed",
			access.Policy{Rules: []access.Rule{{Effect: "allow", Address: "0.0.0.0/0"}, {Effect: "deny"}}},
			cdn.AuthRequest{Action: cdn.ActionPlay, Stream: "a"},
			true,
		},
		{
			"all conditions have to hold",
			access.Policy{Rules: []access.Rule{{Effect: "deny", Streams: "a", Tag: "acme", Address: "192.0.2.0/24"}}},
			cdn.AuthRequest{Action: cdn.ActionPlay, Stream: "a", Credential: "x,acme", RemoteAddr: "198.51.100.1:1"},
			false,
		},
		{
			"a rule that has lapsed",
			access.Policy{Rules: []access.Rule{{Effect: "deny", Until: at.Add(-time.Second)}}},
			cdn.AuthRequest{Action: cdn.ActionPlay, Stream: "a"},
			false,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l, err := access.New(named, tc.policy)
			require.NoError(t, err)
			g, err := l.Authorize(t.Context(), tc.request)
			if !tc.denied {
				require.NoError(t, err)
				require.Equal(t, strings.Split(tc.request.Credential, ",")[0], g.Subject)
				return
			}
			require.ErrorIs(t, err, cdn.ErrForbidden)
			var denied *access.DeniedError
			require.ErrorAs(t, err, &denied)
			require.Equal(t, tc.request.Stream, denied.Stream)
			require.Zero(t, g)
		})
	}
}

// What is denied to everybody costs the next Authorizer nothing, and what depends on who
// asks is decided after it.
func TestTheNextIsAskedOnlyWhereItMatters(t *testing.T) {
	asked := 0
	next := cdn.AuthorizerFunc(func(context.Context, cdn.AuthRequest) (cdn.Grant, error) {
		asked++
		return cdn.Grant{}, cdn.ErrUnauthorized
	})
	l, err := access.New(next, access.Policy{
		Blocks: []access.Block{{Streams: "blocked"}},
		Rules:  []access.Rule{{Effect: "deny", Streams: "closed"}, {Effect: "allow", Subject: "alice"}, {Effect: "deny"}},
	})
	require.NoError(t, err)
	for _, tc := range []struct {
		stream cdn.StreamID
		asked  int
		err    error
	}{{"blocked", 0, cdn.ErrForbidden}, {"closed", 0, cdn.ErrForbidden}, {"open", 1, cdn.ErrUnauthorized}} {
		_, err := l.Authorize(t.Context(), cdn.AuthRequest{Action: cdn.ActionPlay, Stream: tc.stream})
		require.ErrorIs(t, err, tc.err)
		require.Equal(t, tc.asked, asked)
	}
}

func TestMalformedPolicies(t *testing.T) {
	for _, tc := range []struct{ json, list, field string }{
		{`{"rules":[{"effect":"allow"},{"effect":"maybe"}]}`, "rules", "effect"},
		{`{"rules":[{"effect":"allow"},{"streams":"a"}]}`, "rules", "effect"},
		{`{"rules":[{"effect":"allow"},{"effect":"deny","streams":"a//b"}]}`, "rules", "streams"},
		{`{"rules":[{"effect":"allow"},{"effect":"deny","actions":["watch"]}]}`, "rules", "actions"},
		{`{"rules":[{"effect":"allow"},{"effect":"deny","address":"192.0.2.1/24"}]}`, "rules", "address"},
		{`{"rules":[{"effect":"allow"},{"effect":"deny","address":"host.example"}]}`, "rules", "address"},
		{`{"rules":[{"effect":"allow"},{"effect":"deny","tag":"` + strings.Repeat("x", 513) + `"}]}`, "rules", "tag"},
		{`{"blocks":[{"streams":"a"},{"reason":"no pattern"}]}`, "blocks", "streams"},
		{`{"blocks":[{"streams":"a"},{"streams":"a["}]}`, "blocks", "streams"},
		{`{"rules":[{"effect":"allow","stream":"a"}]}`, "", ""},
		{`{"rules":[]} {}`, "", ""},
		{`{"rules":[{"effect":"deny","effect":"allow"}]}`, "", ""},
		{`{"rules":[{"effect":"deny"}],"Rules":[]}`, "", ""},
		{`{"rules":"all"}`, "", ""},
		{`{"version":-1}`, "", ""},
		{``, "", ""},
		{`[]`, "", ""},
	} {
		_, err := access.ParsePolicy([]byte(tc.json))
		require.ErrorIs(t, err, cdn.ErrInvalid, tc.json)
		if tc.list == "" {
			continue
		}
		var e *access.RuleError
		require.ErrorAs(t, err, &e, tc.json)
		require.Equal(t, []any{tc.list, 1, tc.field}, []any{e.List, e.Index, e.Field})
		require.Contains(t, err.Error(), tc.list+"[1]."+tc.field)
	}
	_, err := access.New(nil, access.Policy{Rules: make([]access.Rule, access.MaxRules+1)})
	require.ErrorIs(t, err, cdn.ErrInvalid)
}

func TestAPolicyTravelsAsJSON(t *testing.T) {
	p := access.Policy{
		Version: 7,
		Blocks:  []access.Block{{Streams: "a/**", Reason: "asked to", Until: time.Date(2099, 1, 2, 3, 4, 5, 0, time.UTC)}, {Streams: "b"}},
		Rules: []access.Rule{
			{Effect: "allow", Streams: "live/*", Actions: []string{"play"}, Subject: "s", Tag: "t", Grant: "g", Address: "192.0.2.0/24", Reason: "r"},
			{Effect: "deny"},
		},
	}
	text, err := json.Marshal(p)
	require.NoError(t, err)
	require.Contains(t, string(text), `{"effect":"deny"}`)
	back, err := access.ParsePolicy(text)
	require.NoError(t, err)
	require.Equal(t, p, back)
}

// Of those who change one version, one succeeds, and no change is lost.
func TestConcurrentWritersDoNotOverwriteEachOther(t *testing.T) {
	l, err := access.New(nil, access.Policy{})
	require.NoError(t, err)
	var told []uint64
	l.OnChange(func(p access.Policy) { told = append(told, p.Version) })
	_, err = l.Set(access.Policy{Version: 3})
	require.ErrorIs(t, err, access.ErrConflict)
	var conflict *access.ConflictError
	require.ErrorAs(t, err, &conflict)
	require.Equal(t, access.ConflictError{Given: 3}, *conflict)

	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			if i%2 == 0 {
				_, err := l.Block(fmt.Sprint("block", i), "", time.Time{})
				require.NoError(t, err)
			}
			for {
				p := l.Policy()
				p.Rules = append(p.Rules, access.Rule{Effect: "deny", Subject: fmt.Sprint(i)})
				if _, err := l.Set(p); err == nil {
					return
				} else if !errors.Is(err, access.ErrConflict) {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	p := l.Policy()
	require.Len(t, p.Rules, 8)
	require.Len(t, p.Blocks, 4)
	require.Equal(t, uint64(12), p.Version)
	require.Len(t, told, 12)
	for i, v := range told {
		require.Equal(t, uint64(i+1), v)
	}
	before := l.Policy()
	_, err = l.Set(access.Policy{Version: 12, Rules: []access.Rule{{Effect: "x"}}})
	var wrong *access.RuleError
	require.ErrorAs(t, err, &wrong)
	require.Equal(t, before, l.Policy(), "what is malformed changes nothing")
}

// A guarded node of a virtual network, and what ended its sessions.
type guarded struct {
	*testing.T
	list *access.List
	node *cdn.Node
	mu   sync.Mutex
	ends map[string]error
}

func guard(t *testing.T, next cdn.Authorizer, p access.Policy) *guarded {
	list, err := access.New(next, p)
	require.NoError(t, err)
	host := cdntest.NewNetwork(t, cdntest.NetworkConfig{}).Host("node", cdntest.Path{})
	node, err := cdn.Listen(cdn.Config{Addr: host.IP().String() + ":7000", Net: host.Net(), Authorizer: list})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, node.Close()) })
	list.Bind(node)
	return &guarded{T: t, list: list, node: node, ends: make(map[string]error)}
}

// enter has somebody play the stream, and returns the session.
func (g *guarded) enter(stream cdn.StreamID, credential string) (string, error) {
	a, err := g.node.Authorize(g.Context(), cdn.AuthRequest{Action: cdn.ActionPlay, Stream: stream, Credential: credential, RemoteAddr: "192.0.2.1:7"})
	if err != nil {
		return "", err
	}
	return g.start(a)
}

func (g *guarded) start(a *cdn.Admission) (string, error) {
	if _, err := a.Enter(g.Context()); err != nil {
		return "", err
	}
	name := a.Name()
	a.Start(func(err error) {
		g.mu.Lock()
		g.ends[name] = err
		g.mu.Unlock()
		a.Leave(err)
	})
	return name, nil
}

func (g *guarded) must(stream cdn.StreamID, credential string) string {
	name, err := g.enter(stream, credential)
	require.NoError(g, err)
	return name
}

func (g *guarded) ended() map[string]error {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := g.ends
	g.ends = make(map[string]error)
	return all
}

// A change ends the sessions that it forbids, at once, and no other.
func TestAChangeEndsSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := guard(t, named, access.Policy{})
		alice, mallory, elsewhere := g.must("live/a", "alice,acme"), g.must("live/a", "mallory"), g.must("other", "mallory")
		p, err := g.list.Set(access.Policy{Rules: []access.Rule{{Effect: "deny", Streams: "live/*", Subject: "mallory", Reason: "did not pay"}}})
		require.NoError(t, err)
		require.Equal(t, uint64(1), p.Version)
		ended := g.ended()
		require.Len(t, ended, 1)
		require.ErrorIs(t, ended[mallory], cdn.ErrForbidden)
		require.ErrorContains(t, ended[mallory], "did not pay")
		_, err = g.enter("live/b", "mallory")
		require.ErrorIs(t, err, cdn.ErrForbidden)

		_, err = g.list.Block("**", "maintenance", time.Now().Add(time.Minute))
		require.NoError(t, err)
		ended = g.ended()
		require.Len(t, ended, 2)
		require.Contains(t, ended, alice)
		require.Contains(t, ended, elsewhere)
		_, err = g.enter("live/a", "alice,acme")
		require.ErrorIs(t, err, cdn.ErrForbidden)
		time.Sleep(time.Minute)
		require.Empty(t, g.list.Policy().Blocks, "a block lapses")
		g.must("live/a", "alice,acme")

		_, err = g.list.Block("live/**", "", time.Time{})
		require.NoError(t, err)
		_, err = g.list.Block("live/**", "again", time.Time{})
		require.NoError(t, err)
		require.Equal(t, []access.Block{{Streams: "live/**", Reason: "again"}}, g.list.Policy().Blocks)
		_, had := g.list.Unblock("live/*")
		require.False(t, had)
		p, had = g.list.Unblock("live/**")
		require.True(t, had)
		require.Empty(t, p.Blocks)
		g.must("live/a", "alice,acme")
		_, err = g.list.Block("a[", "", time.Time{})
		require.ErrorIs(t, err, cdn.ErrInvalid)
		_, err = g.list.Block("a", "", time.Now())
		require.ErrorIs(t, err, cdn.ErrInvalid)
	})
}

// A session ends when the rule that let it in lapses, exactly then.
func TestARuleThatLapsesEndsSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		g := guard(t, nil, access.Policy{Rules: []access.Rule{{Effect: "allow", Streams: "live", Until: begun.Add(90 * time.Second)}, {Effect: "deny"}}})
		name := g.must("live", "")
		time.Sleep(90*time.Second - 1)
		synctest.Wait()
		require.Empty(t, g.ended())
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		require.ErrorIs(t, g.ended()[name], cdn.ErrForbidden)
	})
}

// Nobody slips in while the policy changes, wherever that happens between the question
// and the place.
func TestNobodySlipsIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := guard(t, nil, access.Policy{})
		a, err := g.node.Authorize(t.Context(), cdn.AuthRequest{Action: cdn.ActionPlay, Stream: "live"})
		require.NoError(t, err)
		_, err = g.list.Block("live", "", time.Time{})
		require.NoError(t, err)
		_, err = g.start(a)
		require.ErrorIs(t, err, cdn.ErrForbidden)
		require.Empty(t, g.node.Sessions())
		g.list.Unblock("live")

		for i := range 300 {
			var all sync.WaitGroup
			stream := cdn.StreamID(fmt.Sprint("live", i))
			all.Go(func() { _, _ = g.enter(stream, "") })
			all.Go(func() { _, _ = g.list.Block(string(stream), "", time.Time{}) })
			all.Wait()
			require.Empty(t, g.node.Sessions(), "round %d", i)
			g.list.Unblock(string(stream))
		}
	})
}

// A node that is closed is bound no longer, and its timers are gone.
func TestABindingEndsWithItsNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := guard(t, nil, access.Policy{Blocks: []access.Block{{Streams: "x", Until: time.Now().Add(time.Hour)}}})
		require.NoError(t, g.node.Close())
		_, err := g.list.Block("live", "", time.Time{})
		require.NoError(t, err)
	})
}

func TestAny(t *testing.T) {
	grants := func(name string) cdn.Authorizer {
		return cdn.AuthorizerFunc(func(context.Context, cdn.AuthRequest) (cdn.Grant, error) { return cdn.Grant{Subject: name}, nil })
	}
	fails := func(err error) cdn.Authorizer {
		return cdn.AuthorizerFunc(func(context.Context, cdn.AuthRequest) (cdn.Grant, error) { return cdn.Grant{}, err })
	}
	unknown := fails(fmt.Errorf("no signature: %w", cdn.ErrUnknownCredential))
	broken := errors.New("the database is away")
	for _, tc := range []struct {
		all  []cdn.Authorizer
		want string
		err  error
	}{
		{nil, "", cdn.ErrUnknownCredential},
		{[]cdn.Authorizer{unknown, unknown}, "", cdn.ErrUnknownCredential},
		{[]cdn.Authorizer{unknown, grants("b"), grants("c")}, "b", nil},
		{[]cdn.Authorizer{grants("a"), unknown}, "a", nil},
		{[]cdn.Authorizer{fails(cdn.ErrForbidden), grants("b")}, "", cdn.ErrForbidden},
		{[]cdn.Authorizer{unknown, fails(cdn.ErrUnauthorized), grants("c")}, "", cdn.ErrUnauthorized},
		{[]cdn.Authorizer{fails(broken), grants("b")}, "", broken},
	} {
		g, err := access.Any(tc.all...).Authorize(t.Context(), cdn.AuthRequest{})
		require.Equal(t, tc.want, g.Subject)
		require.ErrorIs(t, err, tc.err)
	}
	_, err := access.Any().Authorize(t.Context(), cdn.AuthRequest{})
	require.ErrorIs(t, err, cdn.ErrUnauthorized)
}

func FuzzParsePolicy(f *testing.F) {
	f.Add([]byte(`{"version":1,"blocks":[{"streams":"a"}],"rules":[{"effect":"allow","streams":"a/**","actions":["play"],"address":"::/0"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := access.ParsePolicy(text)
		if err != nil {
			if !errors.Is(err, cdn.ErrInvalid) {
				t.Fatal(err)
			}
			return
		}
		if _, err := access.New(nil, p); err != nil {
			t.Fatal(err)
		}
	})
}
