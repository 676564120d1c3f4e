package halfopen

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSource(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.1:7":                 "192.0.2.1/32",
		"192.0.2.1":                   "192.0.2.1/32",
		"127.0.0.2:7":                 "127.0.0.2/32",
		"[::ffff:192.0.2.1]:7":        "192.0.2.1/32",
		"[2001:db8:1:2:3:4:5:6]:7":    "2001:db8:1:2::/64",
		"[2001:db8:1:2:3:4:5:6]":      "2001:db8:1:2::/64",
		"2001:db8:1:2:ffff::1":        "2001:db8:1:2::/64",
		"[fe80::1%eth0]:7":            "fe80::/64",
		"2001:db8:1:2:3:4:5:6%eth0":   "2001:db8:1:2::/64",
		"":                            "invalid Prefix",
		"@":                           "invalid Prefix",
		"example.com:7":               "invalid Prefix",
		"unix:/run/socket":            "invalid Prefix",
		"192.0.2.1:port":              "invalid Prefix",
		"192.0.2.1:7, 198.51.100.1:9": "invalid Prefix",
	} {
		require.Equal(t, want, Source(addr).String(), addr)
	}
}

func FuzzSource(f *testing.F) {
	f.Add("[fe80::1%eth0]:7")
	f.Fuzz(func(t *testing.T, addr string) {
		if p := Source(addr); p.IsValid() {
			require.Equal(t, p.Masked(), p)
			require.Empty(t, p.Addr().Zone())
			require.Equal(t, p, Source(p.Addr().String()))
		} else {
			require.Equal(t, netip.Prefix{}, p)
		}
	})
}

func TestOldest(t *testing.T) {
	at := func(from string, known bool, age time.Duration) Slot {
		return Slot{Source(from), known, time.Unix(1000, 0).Add(-age)}
	}
	oldest := func(holders []Slot, newcomer Slot) any {
		o, ok := Oldest(slices.Values(holders), func(a Slot) Slot { return a }, newcomer)
		if !ok {
			return nil
		}
		return o
	}
	known := []Slot{at("192.0.2.1", true, 3), at("192.0.2.1", true, 4)}
	require.Nil(t, oldest(nil, Slot{}))
	require.Nil(t, oldest(known, Slot{}), "what proves nothing takes no place of one that does")
	require.Equal(t, known[1], oldest(known, Slot{Known: true}))
	others := []Slot{at("192.0.2.2", false, 9), at("192.0.2.3", false, 7), at("192.0.2.3", false, 8)}
	all := append(known, others...)
	require.Equal(t, others[2], oldest(all, at("192.0.2.4", true, 0)), "the oldest of the busiest")
	require.Equal(t, others[0], oldest(all[:4], at("192.0.2.2", false, 0)), "the newcomer counts")
}

// However many ask from one source, those of other sources keep their places.
func TestAFloodDisplacesItself(t *testing.T) {
	const places = 64
	var holders []Slot
	quiet := Slot{From: Source("192.0.2.9"), Since: time.Unix(0, 0)}
	holders = append(holders, quiet)
	for n := range 10 * places {
		newcomer := Slot{From: Source("203.0.113.1"), Since: time.Unix(int64(n+1), 0)}
		if len(holders) == places {
			o, ok := Oldest(slices.Values(holders), func(a Slot) Slot { return a }, newcomer)
			require.True(t, ok)
			holders = slices.Delete(holders, slices.Index(holders, o), slices.Index(holders, o)+1)
		}
		holders = append(holders, newcomer)
	}
	require.Equal(t, quiet, holders[0])
}
