package link

import (
	"testing"

	"github.com/pion/rtcp"
	"github.com/stretchr/testify/require"
)

// A packet that cannot be read does not hide the others.
func TestReadable(t *testing.T) {
	pli := &rtcp.PictureLossIndication{SenderSSRC: 1, MediaSSRC: 2}
	raw, err := pli.Marshal()
	require.NoError(t, err)
	bad := []byte{0x8f, 205, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1} // transport-wide feedback, cut short
	for _, compound := range [][]byte{
		append(append([]byte(nil), bad...), raw...),
		append(append([]byte(nil), raw...), bad...),
		append(append([]byte(nil), raw...), 0x80, 201, 255, 255),
		append(append([]byte(nil), raw...), 0x80),
	} {
		require.Equal(t, []rtcp.Packet{pli}, readable(compound))
	}
	require.Empty(t, readable(nil))
}
