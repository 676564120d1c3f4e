package remote

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func prefixes(all ...string) (ps []netip.Prefix) {
	for _, s := range all {
		ps = append(ps, netip.MustParsePrefix(s))
	}
	return ps
}

// request returns one from an address, with headers as "Name: value".
func request(from string, headers ...string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	r.RemoteAddr = from
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	return r
}

func TestClient(t *testing.T) {
	const proxy = "10.0.0.1:40000"
	for name, tc := range map[string]struct {
		from    string
		headers []string
		want    string
	}{
		"direct":                       {from: "192.0.2.1:7", want: "192.0.2.1:7"},
		"direct, over a proxy's":       {from: proxy, want: proxy},
		"one hop":                      {proxy, []string{"X-Forwarded-For: 192.0.2.1"}, "192.0.2.1:0"},
		"with a port":                  {proxy, []string{"X-Forwarded-For: 192.0.2.1:4711"}, "192.0.2.1:0"},
		"IPv6":                         {proxy, []string{"X-Forwarded-For: 2001:db8::1"}, "[2001:db8::1]:0"},
		"IPv6, brackets":               {proxy, []string{"X-Forwarded-For: [2001:db8::1]"}, "[2001:db8::1]:0"},
		"IPv6, brackets and port":      {proxy, []string{"X-Forwarded-For: [2001:db8::1]:4711"}, "[2001:db8::1]:0"},
		"a client that makes it up":    {proxy, []string{"X-Forwarded-For: 198.51.100.9, 192.0.2.1"}, "192.0.2.1:0"},
		"in a header of its own":       {proxy, []string{"X-Forwarded-For: 198.51.100.9", "X-Forwarded-For: 192.0.2.1"}, "192.0.2.1:0"},
		"two proxies":                  {proxy, []string{"X-Forwarded-For: 198.51.100.9, 192.0.2.1, 10.0.0.2"}, "192.0.2.1:0"},
		"a client among the proxies":   {proxy, []string{"X-Forwarded-For: 10.0.0.7"}, "10.0.0.7:0"},
		"what cannot be read":          {proxy, []string{"X-Forwarded-For: 192.0.2.1, unknown"}, proxy},
		"empty":                        {proxy, []string{"X-Forwarded-For: "}, proxy},
		"another header alone":         {proxy, []string{"X-Real-IP: 192.0.2.1"}, proxy},
		"Forwarded":                    {proxy, []string{"Forwarded: for=192.0.2.1;proto=https;by=10.0.0.1"}, "192.0.2.1:0"},
		"Forwarded, quoted":            {proxy, []string{`Forwarded: proto=http; For="[2001:db8:cafe::17]:4711"`}, "[2001:db8:cafe::17]:0"},
		"Forwarded, made up":           {proxy, []string{`Forwarded: for=198.51.100.9, for="192.0.2.1:80"`}, "192.0.2.1:0"},
		"Forwarded, a comma inside":    {proxy, []string{`Forwarded: for="_a,for=198.51.100.9\"", for=192.0.2.1`}, "192.0.2.1:0"},
		"Forwarded, hidden":            {proxy, []string{"Forwarded: for=192.0.2.1, for=_hidden"}, proxy},
		"Forwarded, unknown":           {proxy, []string{"Forwarded: for=unknown"}, proxy},
		"both, alike":                  {proxy, []string{"Forwarded: for=192.0.2.1", "X-Forwarded-For: 192.0.2.1"}, "192.0.2.1:0"},
		"both, one of them a lie":      {proxy, []string{"Forwarded: for=198.51.100.9", "X-Forwarded-For: 192.0.2.1"}, proxy},
		"local to the proxy":           {proxy, []string{"X-Forwarded-For: 127.0.0.1"}, proxied},
		"IPv4 within IPv6":             {"[::ffff:10.0.0.1]:7", []string{"X-Forwarded-For: ::ffff:192.0.2.1"}, "192.0.2.1:0"},
		"a proxy that is not one":      {"192.0.2.66:7", []string{"X-Forwarded-For: 198.51.100.9"}, "192.0.2.66:7"},
		"through a Unix domain socket": {"@", []string{"X-Forwarded-For: 198.51.100.9"}, "@"},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, tc.want, New(prefixes("10.0.0.0/24"), nil).Client(request(tc.from, tc.headers...)))
		})
	}
}

// Nobody is on this machine who came through a proxy, declared or not.
func TestNode(t *testing.T) {
	for _, x := range []*Resolver{New(nil, nil), New(prefixes("127.0.0.0/8"), nil)} {
		require.Equal(t, "127.0.0.1:7", x.Node(request("127.0.0.1:7")))
		for _, h := range []string{
			"Forwarded: for=127.0.0.1", "X-Forwarded-For: ", "X-Forwarded-For: 127.0.0.1", "X-Real-IP: ::1", "via: 1.1 x", "X-Forwarded-Host: x",
		} {
			require.Equal(t, proxied, x.Node(request("127.0.0.1:7", h)), h)
		}
	}
	require.Equal(t, "192.0.2.1:0", New(prefixes("127.0.0.0/8"), nil).Node(request("127.0.0.1:7", "X-Forwarded-For: 192.0.2.1")))
}

// One line of the log tells that forwarded addresses are not trusted, however
// many come.
func TestAForwardedAddressOfAStrangerIsWarnedOfOnce(t *testing.T) {
	var log bytes.Buffer
	x := New(nil, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn})))
	x.Client(request("192.0.2.1:7"))
	require.Zero(t, log.Len())
	for range 10 {
		x.Client(request("192.0.2.1:7", "X-Forwarded-For: 198.51.100.9"))
	}
	require.Equal(t, 1, bytes.Count(log.Bytes(), []byte("\n")))
}

// Whatever stands in the headers, what comes out is an address, and one that the
// client has put ahead of what the proxy says changes nothing.
func FuzzForwarded(f *testing.F) {
	f.Add("for=192.0.2.1", "192.0.2.1, unknown")
	f.Add(`for="[2001:db8::1%25en0]:4711";by=_x`, "[::1]:80,")
	f.Add(`for="a\"`, `"`)
	f.Fuzz(func(t *testing.T, standard, legacy string) {
		x := New(prefixes("10.0.0.0/24"), nil)
		for _, r := range []*http.Request{
			{RemoteAddr: "10.0.0.1:7", Header: http.Header{"Forwarded": {standard}}},
			{RemoteAddr: "10.0.0.1:7", Header: http.Header{"X-Forwarded-For": {legacy}}},
			{RemoteAddr: "10.0.0.1:7", Header: http.Header{"Forwarded": {standard}, "X-Forwarded-For": {legacy}}},
		} {
			if got := x.Client(r); got != proxied {
				a, err := netip.ParseAddrPort(got)
				require.NoError(t, err)
				require.False(t, a.Addr().IsLoopback())
			}
			require.False(t, isLoopback(x.Node(r)))
		}
		made := &http.Request{RemoteAddr: "10.0.0.1:7", Header: http.Header{"X-Forwarded-For": {legacy, "192.0.2.1"}}}
		require.Equal(t, "192.0.2.1:0", x.Client(made))
		made = &http.Request{RemoteAddr: "10.0.0.1:7", Header: http.Header{"Forwarded": {standard, "for=192.0.2.1"}}}
		require.Equal(t, "192.0.2.1:0", x.Client(made))
	})
}
