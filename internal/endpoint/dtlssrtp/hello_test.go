package dtlssrtp

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
)

// helloFragment returns a record with so many bytes of a ClientHello.
func helloFragment(number, at, n, of int) []byte {
	b := append([]byte{handshakeRecord, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, byte(number), 0, 0}, make([]byte, handshakeHeaderLen+n)...)
	binary.BigEndian.PutUint16(b[11:], uint16(handshakeHeaderLen+n))
	b[recordHeaderLen] = clientHello
	binary.BigEndian.PutUint16(b[recordHeaderLen+2:], uint16(of))
	binary.BigEndian.PutUint16(b[recordHeaderLen+7:], uint16(at))
	binary.BigEndian.PutUint16(b[recordHeaderLen+10:], uint16(n))
	return b
}

// A ClientHello is kept once, in whatever parts it comes, and nothing else is.
func TestHelloKeeps(t *testing.T) {
	first, second := helloFragment(0, 0, 1175, 1400), helloFragment(1, 1175, 225, 1400)
	again := helloFragment(2, 0, 1175, 1400) // as the client sends it again
	whole := helloFragment(0, 0, 1400, 1400)
	alert := append([]byte{21}, first[1:]...)
	certificate := bytes.Clone(first)
	certificate[recordHeaderLen] = 11
	for name, tc := range map[string]struct{ come, kept [][]byte }{
		"in one":      {[][]byte{whole, whole}, [][]byte{whole}},
		"in order":    {[][]byte{first, second}, [][]byte{first, second}},
		"reversed":    {[][]byte{second, first}, [][]byte{second, first}},
		"doubled":     {[][]byte{first, first, second, second}, [][]byte{first, second}},
		"sent again":  {[][]byte{first, again, second}, [][]byte{first, second}},
		"first lost":  {[][]byte{second, again, second}, [][]byte{second, again}},
		"others":      {[][]byte{alert, certificate, {22}, nil, second}, [][]byte{second}},
		"without end": {[][]byte{whole, first, second, helloFragment(0, 1, 1399, 1400)}, [][]byte{whole, first, second}},
	} {
		t.Run(name, func(t *testing.T) {
			var h Hello
			for _, datagram := range tc.come {
				n := h.Len()
				require.Equal(t, h.Keep(datagram), h.Len() == n+1)
			}
			require.LessOrEqual(t, h.size, MaxHello)
			require.Equal(t, tc.kept, h.Take())
			require.Zero(t, h.Len())
			require.True(t, h.Keep(whole), "there is room again")
		})
	}
}

// What is kept is a copy: the reader uses its buffer again.
func TestHelloKeepsACopy(t *testing.T) {
	datagram := helloFragment(0, 0, 10, 10)
	want := bytes.Clone(datagram)
	var h Hello
	require.True(t, h.Keep(datagram))
	clear(datagram)
	require.Equal(t, [][]byte{want}, h.Take())
}
