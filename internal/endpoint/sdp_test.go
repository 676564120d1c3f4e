package endpoint

import (
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Candidates by TCP come behind those by UDP, with lower priorities.
func TestWriteCandidates(t *testing.T) {
	var b strings.Builder
	Local{
		Candidates: []net.Addr{&net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 7000}, &net.UDPAddr{IP: net.ParseIP("2001:db8::1"), Port: 7000}},
		PassiveTCP: []net.Addr{&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 7001}, &net.TCPAddr{IP: net.ParseIP("2001:db8::1"), Port: 7001}},
	}.WriteCandidates(&b)
	require.Equal(t, []string{
		"a=candidate:1 1 udp 2130706431 192.0.2.1 7000 typ host",
		"a=candidate:2 1 udp 2130706175 2001:db8::1 7000 typ host",
		"a=candidate:3 1 tcp 1520435199 192.0.2.1 7001 typ host tcptype passive",
		"a=candidate:4 1 tcp 1520434943 2001:db8::1 7001 typ host tcptype passive",
		"a=end-of-candidates", "",
	}, strings.Split(b.String(), "\r\n"))
}
