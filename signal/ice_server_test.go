package signal_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/signal"
)

// RFC 9725 section 4.6 has the first and the second as examples.
func TestLinksOfICEServers(t *testing.T) {
	for _, c := range []struct {
		server signal.ICEServer
		want   []string // nil: it is refused
	}{
		{signal.ICEServer{URLs: []string{"stun:stun.example.net"}}, []string{`<stun:stun.example.net>; rel="ice-server"`}},
		{
			signal.ICEServer{URLs: []string{"turn:turn.example.net?transport=udp", "turns:turn.example.net?transport=tcp"}, Username: "user", Credential: "myPassword"},
			[]string{
				`<turn:turn.example.net?transport=udp>; rel="ice-server"; username="user"; credential="myPassword"; credential-type="password"`,
				`<turns:turn.example.net?transport=tcp>; rel="ice-server"; username="user"; credential="myPassword"; credential-type="password"`,
			},
		},
		{
			signal.ICEServer{URLs: []string{"turn:[2001:db8::1]:3478"}, Username: `a"b`, Credential: `c\d, <e>; f`},
			[]string{`<turn:[2001:db8::1]:3478>; rel="ice-server"; username="a\"b"; credential="c\\d, <e>; f"; credential-type="password"`},
		},
		{server: signal.ICEServer{}},
		{server: signal.ICEServer{URLs: []string{"https://turn.example.net"}}},
		{server: signal.ICEServer{URLs: []string{"http:turn.example.net"}}},
		{server: signal.ICEServer{URLs: []string{"turn.example.net:3478"}}},
		{server: signal.ICEServer{URLs: []string{"turn:"}}},
		{server: signal.ICEServer{URLs: []string{"turn:a>; rel=\"x\""}}},
		{server: signal.ICEServer{URLs: []string{"turn:a\r\nSet-Cookie: b"}}},
		{server: signal.ICEServer{URLs: []string{"turn:a"}, Username: "a\r\nb"}},
		{server: signal.ICEServer{URLs: []string{"turn:a"}, Username: "a", Credential: "ü"}},
	} {
		links, err := c.server.Links()
		if c.want == nil {
			require.ErrorIs(t, err, cdn.ErrInvalid, "%v", c.server)
			require.Empty(t, links)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, c.want, links)
	}
}
