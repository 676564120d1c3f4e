package icecheck

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkCheck is what a check costs: to read it, and to answer it.
func BenchmarkCheck(b *testing.B) {
	ours, theirs := NewCredentials(), NewCredentials()
	raw, err := Nominating(NewID(), NewTieBreaker(), theirs, ours)
	require.NoError(b, err)
	from := netip.MustParseAddrPort("192.0.2.1:5000")
	var r Reader
	b.ReportAllocs()
	for b.Loop() {
		c, err := r.Read(raw, func(ufrag string) (string, bool) { return ours.Pwd, ufrag == ours.Ufrag })
		if err != nil {
			b.Fatal(err)
		}
		if _, err := c.Respond(from); err != nil {
			b.Fatal(err)
		}
	}
}
