package binding

import (
	"net/netip"
	"testing"

	"github.com/pion/stun/v4"
	"github.com/stretchr/testify/require"
)

func TestBinding(t *testing.T) {
	for _, from := range []string{"192.0.2.1:5000", "[2001:db8::1]:5000", "[::ffff:192.0.2.1]:5000"} {
		id := NewID()
		request, err := Request(id)
		require.NoError(t, err)
		require.True(t, Is(request))
		answer, ok := Answer(request, netip.MustParseAddrPort(from))
		require.True(t, ok)
		require.LessOrEqual(t, len(answer), len(request), "nobody is sent more than was sent")
		got, ok := AnsweredID(answer)
		require.True(t, ok)
		require.Equal(t, id, got)
		m := stun.Message{Raw: answer}
		require.NoError(t, m.Decode())
		var addr stun.XORMappedAddress
		require.NoError(t, addr.GetFrom(&m))
		require.Equal(t, 5000, addr.Port)
	}
}

// What is no plain request, or would be answered with more than it is, is not answered.
func TestBindingRefused(t *testing.T) {
	from := netip.MustParseAddrPort("192.0.2.1:5000")
	short, err := stun.Build(stun.BindingRequest, stun.TransactionID)
	require.NoError(t, err)
	check, err := stun.Build(stun.BindingRequest, stun.TransactionID, stun.NewUsername("abcd:efgh"), stun.NewSoftware(padding))
	require.NoError(t, err)
	indication, err := stun.Build(stun.NewType(stun.MethodBinding, stun.ClassIndication), stun.TransactionID, stun.NewSoftware(padding))
	require.NoError(t, err)
	for name, packet := range map[string][]byte{
		"short": short.Raw, "a check": check.Raw, "an indication": indication.Raw, "nothing": nil, "garbage": make([]byte, 60),
	} {
		_, ok := Answer(packet, from)
		require.False(t, ok, name)
	}
	_, ok := AnsweredID(short.Raw)
	require.False(t, ok)
}
