package relay

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
)

func TestTickets(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	fresh := newTicket("secret", "live", now)
	for name, tc := range map[string]struct {
		secret string
		stream cdn.StreamID
		ticket string
		at     time.Time
		ok     bool
	}{
		"good":             {"secret", "live", fresh, now, true},
		"a slow clock":     {"secret", "live", fresh, now.Add(-ticketAge), true},
		"a slow way":       {"secret", "live", fresh, now.Add(ticketAge), true},
		"old":              {"secret", "live", fresh, now.Add(ticketAge + time.Second), false},
		"of the future":    {"secret", "live", fresh, now.Add(-ticketAge - time.Second), false},
		"another secret":   {"guess", "live", fresh, now, false},
		"no secret":        {"", "live", newTicket("", "live", now), now, false},
		"another stream":   {"secret", "dead", fresh, now, false},
		"changed":          {"secret", "live", fresh[:40] + strings.ToLower(fresh[40:41]) + strings.ToUpper(fresh[41:]), now, false},
		"cut":              {"secret", "live", fresh[:len(fresh)-4], now, false},
		"nothing":          {"secret", "live", "", now, false},
		"another's bearer": {"secret", "live", "eyJhbGciOiJIUzI1NiJ9", now, false},
	} {
		t.Run(name, func(t *testing.T) {
			used := newTickets()
			require.Equal(t, tc.ok, used.take(tc.secret, tc.stream, tc.ticket, tc.at))
			require.False(t, used.take(tc.secret, tc.stream, tc.ticket, tc.at), "twice")
		})
	}
}

// What is remembered is bounded, and forgotten when it is of no use.
func TestTicketsAreForgotten(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	used := newTickets()
	for range maxTickets {
		require.True(t, used.take("secret", "live", newTicket("secret", "live", now), now))
	}
	require.True(t, used.take("secret", "live", newTicket("secret", "live", now), now), "the oldest is forgotten")
	require.Equal(t, maxTickets, used.used.Len())
	later := now.Add(2*ticketAge + time.Second)
	require.True(t, used.take("secret", "live", newTicket("secret", "live", later), later))
	require.Equal(t, 1, used.used.Len())
}

// Nodes that share a secret fetch from each other without a link, too.
func TestFetchingWithTheSecret(t *testing.T) {
	fetch := func(theirs, ours string) error {
		listen := func(secret string) *cdn.Node {
			n, err := cdn.Listen(cdn.Config{Addr: "127.0.0.1:0", Trust: cdn.Trust{Secret: secret}})
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, n.Close()) })
			return n
		}
		o, e := listen(theirs), listen(ours)
		h, err := Handler(o, cdn.First())
		require.NoError(t, err)
		server := httptest.NewServer(h)
		defer server.Close()
		s, err := e.NewStream("live")
		require.NoError(t, err)
		return NewWHEP(e, WHEPConfig{}).Fetch(t.Context(), cdn.Entry{URL: server.URL}, cdn.Request{Stream: "live"}, s)
	}
	require.ErrorIs(t, fetch("secret", "secret"), cdn.ErrNotFound, "there is no stream, as it learns")
	require.ErrorIs(t, fetch("secret", "guess"), cdn.ErrUnauthorized)
	require.ErrorIs(t, fetch("secret", ""), cdn.ErrUnauthorized)
}
