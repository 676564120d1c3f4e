package icecheck

import (
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pion/stun/v4"
	"github.com/stretchr/testify/require"
)

// recorded are checks that a client has sent to a node. internal/clients records
// them.
type recorded struct {
	Client   string   `json:"client"`
	Pwd      string   `json:"pwd"`      // ours
	Requests []string `json:"requests"` // in hexadecimal, one of each shape
}

// recordings calls f for each client.
func recordings(t *testing.T, f func(t *testing.T, r recorded, requests [][]byte)) {
	files, err := filepath.Glob(filepath.Join("testdata", "clients", "*.json"))
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 10)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			var r recorded
			require.NoError(t, json.Unmarshal(text, &r))
			require.NotEmpty(t, r.Requests, r.Client)
			var requests [][]byte
			for _, one := range r.Requests {
				raw, err := hex.DecodeString(one)
				require.NoError(t, err)
				requests = append(requests, raw)
			}
			f(t, r, requests)
		})
	}
}

// What clients send is read and answered, whatever the order of its attributes.
func TestChecksOfClients(t *testing.T) {
	var reader Reader
	recordings(t, func(t *testing.T, r recorded, requests [][]byte) {
		from, nominated := netip.MustParseAddrPort("192.0.2.1:5000"), false
		for _, raw := range requests {
			var m stun.Message
			require.NoError(t, stun.Decode(raw, &m))
			ufrag := ""
			c, err := reader.Read(raw, func(u string) (string, bool) {
				ufrag = u
				return r.Pwd, true
			})
			require.NoError(t, err)
			name, err := m.Get(stun.AttrUsername)
			require.NoError(t, err)
			require.True(t, strings.HasPrefix(string(name), ufrag+":"))
			require.Equal(t, m.Contains(stun.AttrUseCandidate), c.Nominates)
			require.False(t, c.Controlled)
			nominated = nominated || c.Nominates

			answer, err := c.Respond(from)
			require.NoError(t, err)
			var a stun.Message
			require.NoError(t, stun.Decode(answer, &a))
			require.Equal(t, stun.BindingSuccess, a.Type)
			require.Equal(t, m.TransactionID, a.TransactionID)
			require.NoError(t, stun.NewShortTermIntegrity(r.Pwd).Check(&a))
			require.NoError(t, stun.Fingerprint.Check(&a))
			var mapped stun.XORMappedAddress
			require.NoError(t, mapped.GetFrom(&a))
			require.Equal(t, from.String(), mapped.String())

			_, err = reader.Read(raw, func(string) (string, bool) { return "another password entirely", true })
			require.Error(t, err)
		}
		require.True(t, nominated, "it nominates a pair")
	})
}

// A check may carry anything that need not be understood (RFC 8489 section 14), at
// any place ahead of MESSAGE-INTEGRITY.
func TestUnknownAttributes(t *testing.T) {
	unknown := stun.RawAttribute{Type: 0xc123, Value: []byte("what this is nobody knows")}
	software, network := stun.NewSoftware("a client"), stun.RawAttribute{Type: 0xc057, Value: []byte{0, 2, 0, 0}}
	nominates := stun.RawAttribute{Type: stun.AttrUseCandidate}
	for _, more := range [][]stun.Setter{{unknown, nominates}, {nominates, unknown}, {software, network, nominates, unknown}} {
		c, err := Read(request(t, "password", more...), known)
		require.NoError(t, err)
		require.True(t, c.Nominates)
	}
}

// What stands behind MESSAGE-INTEGRITY anybody can have put there.
func TestUnsignedAttributes(t *testing.T) {
	m, err := stun.Build(stun.TransactionID, stun.BindingRequest, stun.NewUsername("ours:theirs"), stun.NewShortTermIntegrity("password"),
		stun.RawAttribute{Type: stun.AttrUseCandidate}, stun.RawAttribute{Type: stun.AttrICEControlled, Value: make([]byte, 8)}, stun.Fingerprint)
	require.NoError(t, err)
	c, err := Read(m.Raw, known)
	require.NoError(t, err)
	require.False(t, c.Nominates)
	require.False(t, c.Controlled)

	m, err = stun.Build(stun.TransactionID, stun.BindingRequest, stun.NewShortTermIntegrity("password"), stun.NewUsername("ours:theirs"), stun.Fingerprint)
	require.NoError(t, err)
	_, err = Read(m.Raw, known)
	require.ErrorIs(t, err, stun.ErrAttributeNotFound)
}
