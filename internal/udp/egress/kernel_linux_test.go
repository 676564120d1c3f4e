package egress

import (
	"bytes"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/deltacdn/delta/internal/udp/socket"
)

// refusing makes the kernel of b refuse, with an error, the messages for which
// there is one, as the real one does: those before it are sent.
func refusing(b *Batch, refuse func(m *socket.Message) error) {
	write := b.kernel.write
	b.kernel.write = func(ms []socket.Message) (int, error) {
		for i := range ms {
			err := refuse(&ms[i])
			if err == nil {
				continue
			}
			if i == 0 {
				return 0, err
			}
			return write(ms[:i])
		}
		return write(ms)
	}
}

// testRefusing sends through a kernel that refuses, and requires everything to
// arrive.
func testRefusing(t *testing.T, refuse func(m *socket.Message) error) *Socket {
	t.Helper()
	var log bytes.Buffer
	s := New(listen(t, "127.0.0.1"), slog.New(slog.NewTextHandler(&log, nil)))
	if s.Mode() != Segments {
		t.Skip("this machine has no UDP_SEGMENT")
	}
	b := s.NewBatch()
	refusing(b, refuse)
	receivers := []*net.UDPConn{listen(t, "127.0.0.1"), listen(t, "127.0.0.1")}
	for range 2 {
		want := make([][][]byte, len(receivers))
		for round := range 3 {
			for i, r := range receivers {
				for j, size := range []int{200, 200, 200, 50, 300} {
					want[i] = append(want[i], send(b, addrOf(r), 10*round+j, size))
				}
			}
		}
		require.NoError(t, b.Flush())
		for i, r := range receivers {
			requireReceived(t, r, want[i])
		}
	}
	require.Zero(t, s.Stats().Dropped)
	require.Equal(t, uint64(60), s.Stats().Datagrams)
	if s.Mode() == Segments {
		require.Empty(t, log.String())
	} else {
		require.Equal(t, 1, strings.Count(log.String(), "\n"), "logged once: %s", log.String())
	}
	for _, r := range receivers {
		requireNoMore(t, s, r)
	}
	return s
}

func TestRefusedSegmentsAreSentAsMessages(t *testing.T) {
	s := testRefusing(t, func(m *socket.Message) error {
		if m.Segment != 0 {
			return unix.EIO
		}
		return nil
	})
	require.Equal(t, Messages, s.Mode())
}

func TestRefusedLaterSegmentsAreSentAsMessages(t *testing.T) {
	n := 0
	s := testRefusing(t, func(m *socket.Message) error {
		if n++; n > 3 && m.Segment != 0 {
			return unix.EIO
		}
		return nil
	})
	require.Equal(t, Messages, s.Mode())
}

func TestSegmentsTooLongForOnePathAreSplit(t *testing.T) {
	for _, refusal := range []error{unix.EINVAL, unix.EMSGSIZE} {
		var port uint16
		s := testRefusing(t, func(m *socket.Message) error {
			to := m.To.Port()
			if port == 0 {
				port = to
			}
			if m.Segment != 0 && to == port {
				return refusal
			}
			return nil
		})
		require.Equal(t, Segments, s.Mode(), "it is good for other destinations")
		require.Less(t, s.Stats().Messages, s.Stats().Datagrams)
	}
}

func TestWithoutSendmmsg(t *testing.T) {
	s := testRefusing(t, func(*socket.Message) error { return unix.ENOSYS })
	require.Equal(t, Single, s.Mode())
}

func TestErrorOfEarlierDatagramCostsNothing(t *testing.T) {
	pending := false
	s := testRefusing(t, func(*socket.Message) error {
		if pending = !pending; pending {
			return unix.ECONNREFUSED
		}
		return nil
	})
	require.Equal(t, Segments, s.Mode())
}

func TestErrorOfOneMessageCostsThatMessage(t *testing.T) {
	for _, refusal := range []error{unix.ECONNREFUSED, unix.EHOSTUNREACH, unix.ENETUNREACH, unix.EPERM, unix.EMSGSIZE, unix.ENOBUFS} {
		for _, mode := range []Mode{Messages, Segments} {
			good, bad := listen(t, "127.0.0.1"), listen(t, "127.0.0.1")
			s := forced(t, listen(t, "127.0.0.1"), mode)
			b := s.NewBatch()
			refusing(b, func(m *socket.Message) error {
				if m.To.Port() == addrOf(bad).Port() {
					return refusal
				}
				return nil
			})
			var want [][]byte
			for i := range 3 {
				want = append(want, send(b, addrOf(good), i, 100), send(b, addrOf(good), i, 100))
				send(b, addrOf(bad), i, 100)
				send(b, addrOf(bad), i, 100)
			}
			require.NoError(t, b.Flush())
			requireReceived(t, good, want)
			require.Equal(t, uint64(6), s.Stats().Datagrams)
			require.Equal(t, uint64(6), s.Stats().Dropped+s.Stats().Full)
		}
	}
}

// With IP_RECVERR the kernel reports that a port is closed.
func TestClosedPortHarmsNothingElse(t *testing.T) {
	eachMode(t, func(t *testing.T, conn *net.UDPConn, s *Socket) {
		raw, err := conn.SyscallConn()
		require.NoError(t, err)
		require.NoError(t, raw.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_RECVERR, 1)
		}))
		require.NoError(t, err)
		closed := listen(t, "127.0.0.1")
		closed.Close()
		receiver := listen(t, "127.0.0.1")
		b := s.NewBatch()
		for i := range 20 {
			want := [][]byte{send(b, addrOf(receiver), i, 100)}
			send(b, addrOf(closed), i, 100)
			want = append(want, send(b, addrOf(receiver), i, 100), send(b, addrOf(receiver), i, 100))
			require.NoError(t, b.Flush())
			requireReceived(t, receiver, want)
		}
		require.Zero(t, s.Stats().Dropped)
	})
}

func TestFullSocketDropsTheRest(t *testing.T) {
	receiver := listen(t, "127.0.0.1")
	s := forced(t, listen(t, "127.0.0.1"), Messages)
	b := s.NewBatch()
	var full error
	refusing(b, func(m *socket.Message) error {
		if m.Bytes[0] == 2 {
			full = errFull
		}
		return full
	})
	want := [][]byte{send(b, addrOf(receiver), 0, 100), send(b, addrOf(receiver), 1, 100)}
	send(b, addrOf(receiver), 2, 100)
	send(b, addrOf(receiver), 3, 100)
	require.NoError(t, b.Flush())
	requireReceived(t, receiver, want)
	require.Equal(t, Stats{Datagrams: 2, Messages: 2, Calls: 2, Full: 2}, s.Stats())
}

func TestWaitForRoomIsBounded(t *testing.T) {
	for name, batch := range map[string]func(*Socket) *Batch{"blocking": (*Socket).NewBatch, "nonblocking": (*Socket).NewNonblockingBatch} {
		t.Run(name, func(t *testing.T) {
			conn := listen(t, "127.0.0.1")
			s := forced(t, conn, Segments)
			receiver := listen(t, "127.0.0.1")
			b := batch(s)
			sent, tries, full := b.kernel.write, 0, 2
			b.kernel.write = func(ms []socket.Message) (int, error) {
				if tries++; tries <= full {
					return 0, unix.EAGAIN
				}
				return sent(ms)
			}
			first := send(b, addrOf(receiver), 1, 100)
			require.NoError(t, b.Flush())
			if name == "blocking" {
				requireReceived(t, receiver, [][]byte{first})
				require.Equal(t, 3, tries)
			} else {
				require.Equal(t, Stats{Calls: 1, Full: 1}, s.Stats(), "it is dropped at once")
			}
			full = math.MaxInt
			was := s.Stats().Full
			send(b, addrOf(receiver), 2, 100)
			require.NoError(t, b.Flush())
			require.Equal(t, was+1, s.Stats().Full, "however long there is no room")
			full = 0
			third := send(b, addrOf(receiver), 3, 100)
			require.NoError(t, b.Flush())
			requireReceived(t, receiver, [][]byte{third})
			require.NoError(t, conn.Close())
			send(b, addrOf(receiver), 4, 100)
			require.ErrorIs(t, b.Flush(), net.ErrClosed)
		})
	}
}

func TestSegmentsToIPv4OfDualStackSocket(t *testing.T) {
	s := forced(t, listen(t, "::"), Segments)
	receiver := listen(t, "127.0.0.1")
	b := s.NewBatch()
	mapped := netip.AddrPortFrom(netip.MustParseAddr("::ffff:127.0.0.1"), addrOf(receiver).Port())
	want := [][]byte{send(b, addrOf(receiver), 1, 100), send(b, mapped, 2, 100), send(b, addrOf(receiver), 3, 50)}
	require.NoError(t, b.Flush())
	requireReceived(t, receiver, want)
	require.Equal(t, Stats{Datagrams: 3, Messages: 1, Calls: 1}, s.Stats())
}
