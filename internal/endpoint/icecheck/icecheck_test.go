package icecheck

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"

	"github.com/pion/stun/v4"
	"github.com/stretchr/testify/require"
)

func request(t testing.TB, pwd string, more ...stun.Setter) []byte {
	m, err := stun.Build(append([]stun.Setter{stun.TransactionID, stun.BindingRequest, stun.NewUsername("ours:theirs")}, more...)...)
	require.NoError(t, err)
	require.NoError(t, stun.NewShortTermIntegrity(pwd).AddTo(m))
	require.NoError(t, stun.Fingerprint.AddTo(m))
	return m.Raw
}

func known(ufrag string) (string, bool) { return "password", ufrag == "ours" }

func TestChecks(t *testing.T) {
	var r Reader
	for _, addr := range []string{"2001:db8::7", "192.0.2.1", "2001:db8::8"} { // with the same buffers
		testCheck(t, &r, addr)
	}
}

func testCheck(t *testing.T, r *Reader, addr string) {
	from := netip.AddrPortFrom(netip.MustParseAddr(addr), 5000)
	c, err := r.Read(request(t, "password", stun.RawAttribute{Type: stun.AttrUseCandidate}), known)
	require.NoError(t, err)
	require.True(t, c.Nominates)
	raw, err := c.Respond(from)
	require.NoError(t, err)
	var m stun.Message
	require.NoError(t, stun.Decode(raw, &m))
	require.Equal(t, stun.BindingSuccess, m.Type)
	require.Equal(t, c.message.TransactionID, m.TransactionID)
	require.NoError(t, stun.NewShortTermIntegrity("password").Check(&m))
	require.NoError(t, stun.Fingerprint.Check(&m))
	var mapped stun.XORMappedAddress
	require.NoError(t, mapped.GetFrom(&m))
	require.True(t, mapped.IP.Equal(net.ParseIP(addr)))
	require.Equal(t, 5000, mapped.Port)
}

// A lite agent is controlled: who says so of itself is told to change
// (RFC 8445 section 7.3.1.1).
func TestRoleConflict(t *testing.T) {
	c, err := Read(request(t, "password", stun.RawAttribute{Type: stun.AttrICEControlled, Value: make([]byte, 8)}), known)
	require.NoError(t, err)
	raw, err := c.Respond(netip.MustParseAddrPort("192.0.2.1:5000"))
	require.NoError(t, err)
	var m stun.Message
	require.NoError(t, stun.Decode(raw, &m))
	require.Equal(t, stun.BindingError, m.Type)
	var code stun.ErrorCodeAttribute
	require.NoError(t, code.GetFrom(&m))
	require.Equal(t, stun.CodeRoleConflict, code.Code)
}

// What clients want of our checks (RFC 8445 section 7.1.3): libjuice answers 400 if
// the tie-breaker is 0, and 487 is settled by comparing it.
func TestOurChecks(t *testing.T) {
	ours, theirs, tie := NewCredentials(), NewCredentials(), NewTieBreaker()
	require.NotEqual(t, tie, NewTieBreaker())
	for role, k := range map[stun.AttrType]struct {
		build     func(ID, TieBreaker, Credentials, Credentials) ([]byte, error)
		nominates bool
	}{
		stun.AttrICEControlled:  {Triggered, false},
		stun.AttrICEControlling: {Nominating, true},
	} {
		id := NewID()
		raw, err := k.build(id, tie, ours, theirs)
		require.NoError(t, err)
		var m stun.Message
		require.NoError(t, stun.Decode(raw, &m))
		require.Equal(t, stun.BindingRequest, m.Type)
		require.Equal(t, id, m.TransactionID)
		var types []stun.AttrType
		for _, a := range m.Attributes {
			types = append(types, a.Type)
		}
		want := []stun.AttrType{stun.AttrUsername, stun.AttrPriority, role}
		if k.nominates {
			want = append(want, stun.AttrUseCandidate)
		}
		require.Equal(t, append(want, stun.AttrMessageIntegrity, stun.AttrFingerprint), types)
		name, err := m.Get(stun.AttrUsername)
		require.NoError(t, err)
		require.Equal(t, theirs.Ufrag+":"+ours.Ufrag, string(name))
		value, err := m.Get(role)
		require.NoError(t, err)
		require.Equal(t, uint64(tie), binary.BigEndian.Uint64(value))
		require.NotZero(t, tie)
		require.NoError(t, stun.NewShortTermIntegrity(theirs.Pwd).Check(&m))
		require.NoError(t, stun.Fingerprint.Check(&m))
	}
}

func TestUnauthenticChecksAreNotAnswered(t *testing.T) {
	_, err := Read(request(t, "guess"), known)
	require.ErrorIs(t, err, stun.ErrIntegrityMismatch)
	_, err = Read(request(t, "password"), func(string) (string, bool) { return "", false })
	require.ErrorIs(t, err, errNotForUs)
	indication, err := stun.Build(stun.TransactionID, stun.NewType(stun.MethodBinding, stun.ClassIndication))
	require.NoError(t, err)
	_, err = Read(indication.Raw, known)
	require.ErrorIs(t, err, errIgnored)
	_, err = Read([]byte{0, 1, 2}, known)
	require.Error(t, err)
}

func FuzzReadCheck(f *testing.F) {
	var r Reader
	f.Add(request(f, "password"))
	f.Fuzz(func(_ *testing.T, b []byte) {
		if c, err := r.Read(b, known); err == nil {
			_, _ = c.Respond(netip.MustParseAddrPort("192.0.2.1:5000"))
		}
	})
}
