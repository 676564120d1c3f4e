package dtlssrtp

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What is repeated is the last flight, and nothing once the pipe is muted is
// sent at all.
func TestPipeRepeatsTheLastFlight(t *testing.T) {
	var sent []string
	p := NewPipe(func(b []byte) error {
		sent = append(sent, string(b))
		return nil
	})
	write := func(s string) {
		_, err := p.WriteTo([]byte(s), nowhere)
		require.NoError(t, err)
	}
	p.Put([]byte("hello"))
	write("flight 4")
	p.Put([]byte("finished"))
	write("flight 6a")
	write("flight 6b")
	sent = nil
	p.Repeat()
	require.Equal(t, []string{"flight 6a", "flight 6b"}, sent)
	p.Mute(true)
	write("close")
	require.Len(t, sent, 2)

	buf := make([]byte, 20)
	n, _, err := p.ReadFrom(buf)
	require.NoError(t, err)
	require.Equal(t, "hello", string(buf[:n]))
	require.NoError(t, p.SetReadDeadline(time.Now().Add(-time.Second)))
	require.NoError(t, p.Close())
}
