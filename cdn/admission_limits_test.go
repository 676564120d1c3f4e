package cdn_test

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
)

// docs/limits.md has every limit, and no other, with the key that deltanode has for it.
func TestLimitsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/limits.md")
	require.NoError(t, err)
	n, _ := admitting(t, cdn.Limits{}, nil)
	defaults := reflect.ValueOf(n.Limits())
	table, _, ok := strings.Cut(string(text), "## Other bounds")
	require.True(t, ok)
	var documented []string
	for _, row := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\| `(\\w+)` \\| (\\w+) \\| [^|]+ \\| [^|]+ \\|$").FindAllStringSubmatch(table, -1) {
		key, name, def := row[1], row[2], row[3]
		documented = append(documented, name)
		require.Equal(t, strings.TrimPrefix(strings.ToLower(regexp.MustCompile("[A-Z]").ReplaceAllString(name, "_$0")), "_"), key)
		v := defaults.FieldByName(name)
		require.True(t, v.IsValid(), name)
		want := fmt.Sprint(v.Int())
		if v.Int() == 0 {
			want = "none"
		}
		require.Equal(t, want, def, name)
	}
	var fields []string
	for i := range defaults.NumField() {
		f := defaults.Type().Field(i)
		require.Equal(t, reflect.Int, f.Type.Kind(), "limits are numbers")
		fields = append(fields, f.Name)
	}
	require.Equal(t, fields, documented)
}

// Each limit holds for what it is about, and for nothing else; the refusal names it.
func TestLimitsOfKinds(t *testing.T) {
	play := func(stream cdn.StreamID, addr string) cdn.AuthRequest {
		return cdn.AuthRequest{Action: cdn.ActionPlay, Stream: stream, RemoteAddr: addr}
	}
	publish := func(stream cdn.StreamID, addr string) cdn.AuthRequest {
		return cdn.AuthRequest{Action: cdn.ActionPublish, Stream: stream, RemoteAddr: addr}
	}
	fetch := func(stream cdn.StreamID) cdn.AuthRequest {
		return cdn.AuthRequest{Action: cdn.ActionFetch, Stream: stream, RemoteAddr: "192.0.2.1:1", Trusted: true}
	}
	const here, there = "192.0.2.1:1", "198.51.100.1:1"
	for name, tc := range map[string]struct {
		limits cdn.Limits
		within []cdn.AuthRequest
		beyond cdn.AuthRequest
		others []cdn.AuthRequest
	}{
		"publishers":         {cdn.Limits{Publishers: 2}, []cdn.AuthRequest{publish("a", here), publish("b", there)}, publish("c", ""), []cdn.AuthRequest{play("a", here), fetch("a")}},
		"viewers":            {cdn.Limits{Viewers: 2}, []cdn.AuthRequest{play("a", here), play("b", there)}, play("c", ""), []cdn.AuthRequest{publish("a", here), fetch("a")}},
		"nodes":              {cdn.Limits{Nodes: 2}, []cdn.AuthRequest{fetch("a"), fetch("b")}, fetch("c"), []cdn.AuthRequest{play("a", here), publish("a", here)}},
		"stream_viewers":     {cdn.Limits{StreamViewers: 2}, []cdn.AuthRequest{play("a", here), play("a", there)}, play("a", ""), []cdn.AuthRequest{play("b", here), publish("a", here), fetch("a")}},
		"stream_nodes":       {cdn.Limits{StreamNodes: 2}, []cdn.AuthRequest{fetch("a"), fetch("a")}, fetch("a"), []cdn.AuthRequest{play("a", here), fetch("b")}},
		"address_publishers": {cdn.Limits{AddressPublishers: 2}, []cdn.AuthRequest{publish("a", here), publish("b", "192.0.2.1:9")}, publish("c", here), []cdn.AuthRequest{publish("c", there), publish("d", ""), publish("e", ""), publish("f", ""), play("a", here)}},
		"address_viewers":    {cdn.Limits{AddressViewers: 2}, []cdn.AuthRequest{play("a", "[2001:db8::1]:1"), play("b", "[2001:db8::2]:1")}, play("c", "[2001:db8::3]:1"), []cdn.AuthRequest{play("c", "[2001:db8:0:1::1]:1"), publish("a", "[2001:db8::1]:1"), fetch("a")}},
		"sessions":           {cdn.Limits{Sessions: 2}, []cdn.AuthRequest{play("a", ""), fetch("b")}, publish("c", ""), nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, _ := admitting(t, tc.limits, nil)
				var first *cdn.Admission
				for _, r := range tc.within {
					a := enter(t, n, r)
					a.Start(func(error) { t.Error("ended for another") })
					a.Proved()
					if first == nil {
						first = a
					}
				}
				for range 3 {
					_, err := tryEnter(t, n, tc.beyond)
					require.ErrorIs(t, err, cdn.ErrOverLimit)
					var limit *cdn.LimitError
					require.ErrorAs(t, err, &limit)
					require.Equal(t, cdn.LimitError{Name: name, Limit: 2}, *limit)
					var e *cdn.Error
					require.ErrorAs(t, err, &e)
					require.NotZero(t, e.RetryAfter)
				}
				require.Len(t, n.Sessions(), 2)
				for _, r := range tc.others {
					enter(t, n, r).Leave(nil)
				}
				first.Leave(nil)
				first.Leave(nil)
				enter(t, n, tc.beyond).Leave(nil)
				enter(t, n, tc.within[0]).Proved()
				_, err := tryEnter(t, n, tc.beyond)
				require.ErrorIs(t, err, cdn.ErrOverLimit, "a place that was given back twice is one place")
			})
		})
	}
}

// Clients whose address cannot be read share one, and count once in each other limit, as all do.
func TestAddressesThatCannotBeRead(t *testing.T) {
	for name, tc := range map[string]struct {
		limits      cdn.Limits
		here, there int // how many there is room for
	}{
		"viewers":                 {cdn.Limits{Viewers: 4}, 2, 2},
		"address_viewers":         {cdn.Limits{AddressViewers: 2}, 2, 2},
		"address_viewers of few":  {cdn.Limits{AddressViewers: 1}, 1, 1},
		"both":                    {cdn.Limits{Viewers: 5, AddressViewers: 2}, 2, 2},
		"viewers that give way":   {cdn.Limits{Viewers: 6, AddressViewers: 3}, 3, 3},
		"streams by their number": {cdn.Limits{StreamViewers: 4}, 2, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, _ := admitting(t, tc.limits, nil)
				var ends asked
				come := func(addr string) *cdn.Admission {
					a := enter(t, n, cdn.AuthRequest{Action: cdn.ActionPlay, Stream: "live", RemoteAddr: addr})
					a.Start(ends.end)
					time.Sleep(time.Millisecond)
					return a
				}
				var all []*cdn.Admission
				for range tc.there {
					all = append(all, come("192.0.2.1:1"))
				}
				for range tc.here {
					all = append(all, come("@"))
				}
				require.Empty(t, ends.take(), "there is room")
				require.Len(t, n.Sessions(), tc.here+tc.there)
				for _, a := range all {
					a.Leave(nil)
				}
			})
		})
	}
}

// A flood of half-open viewers of one stream keeps nobody else from it.
func TestALimitOfAStreamIsSharedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, _ := admitting(t, cdn.Limits{StreamViewers: 10, AddressViewers: 8}, nil)
		ended := make(map[string]int)
		start := func(addr string) *cdn.Admission {
			a := enter(t, n, cdn.AuthRequest{Action: cdn.ActionPlay, Stream: "live", RemoteAddr: addr + ":1"})
			a.Start(func(err error) {
				require.ErrorIs(t, err, cdn.ErrOverLimit)
				ended[addr]++
				a.Leave(err)
			})
			time.Sleep(time.Millisecond)
			return a
		}
		start("192.0.2.1")
		start("192.0.2.2").Proved()
		for range 100 {
			start("203.0.113.1")
		}
		require.Equal(t, map[string]int{"203.0.113.1": 92}, ended, "its own limit")
		for range 100 {
			start("203.0.113.2")
		}
		require.Zero(t, ended["192.0.2.1"]+ended["192.0.2.2"])
		require.Len(t, n.Sessions(), 10)
		start("192.0.2.3").Proved()
		require.Zero(t, ended["192.0.2.1"])
		require.Len(t, n.Sessions(), 10)
	})
}

// A limit can be changed while the node runs. What is there stays.
func TestSetLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, _ := admitting(t, cdn.Limits{Viewers: 1}, nil)
		require.Equal(t, cdn.Limits{Sessions: 5000, HalfOpen: 1000, Streams: 1000, Links: 1000, Tracks: 8, Layers: 8, Viewers: 1}, n.Limits())
		play := cdn.AuthRequest{Action: cdn.ActionPlay, Stream: "live"}
		first := enter(t, n, play)
		first.Start(func(error) { t.Error("it stays") })
		_, err := tryEnter(t, n, play)
		require.ErrorIs(t, err, cdn.ErrOverLimit)
		require.NoError(t, n.SetLimits(cdn.Limits{Viewers: 2, Sessions: 4, Streams: 1}))
		require.InDelta(t, 0.25, n.Load(), 0)
		second := enter(t, n, play)
		second.Start(func(error) { t.Error("it stays") })
		s, err := n.NewStream("a")
		require.NoError(t, err)
		defer s.End(nil)
		_, err = n.NewStream("b")
		var limit *cdn.LimitError
		require.ErrorAs(t, err, &limit)
		require.Equal(t, cdn.LimitError{Name: "streams", Limit: 1}, *limit)
		require.NoError(t, n.SetLimits(cdn.Limits{Viewers: 1, Sessions: 1}))
		second.Leave(nil)
		_, err = tryEnter(t, n, play)
		require.ErrorIs(t, err, cdn.ErrOverLimit)
		first.Leave(nil)
		enter(t, n, play)
		before := n.Limits()
		require.ErrorIs(t, n.SetLimits(cdn.Limits{Viewers: -1}), cdn.ErrInvalid)
		require.Equal(t, before, n.Limits())
		_, err = cdn.Listen(cdn.Config{Limits: cdn.Limits{StreamViewers: -1}})
		require.ErrorIs(t, err, cdn.ErrInvalid)
		require.ErrorContains(t, err, "stream_viewers")
	})
}
