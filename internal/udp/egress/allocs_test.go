package egress

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNoAllocations(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		eachMode(t, func(t *testing.T, _ *net.UDPConn, s *Socket) {
			conn := listen(t, host)
			b := forced(t, conn, s.Mode()).NewBatch()
			a, c := addrOf(listen(t, host)), addrOf(listen(t, host))
			payload := make([]byte, 1200)
			require.Zero(t, testing.AllocsPerRun(200, func() {
				for range 5 {
					b.Add(append(b.Room(1200), payload...), a)
				}
				for range 5 {
					b.Add(append(b.Room(1200), payload...), c)
				}
				if err := b.Flush(); err != nil {
					panic(err)
				}
			}))
		})
	}
}
