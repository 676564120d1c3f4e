package viewer_test

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/viewer"
)

// victim is who a viewer would have us send to.
type victim struct {
	addr netip.Addr
	in   int          // bytes that seemed to come from there
	out  atomic.Int64 // that went there
}

func (p *place) victim() *victim {
	v := &victim{addr: netip.MustParseAddr("10.200.0.9")}
	p.network.SetFilter(func(_, dst netip.AddrPort, b []byte) bool {
		if dst.Addr() == v.addr {
			v.out.Add(int64(len(b)))
		}
		return true
	})
	return v
}

// attack sends s a check from each of some ports of the victim, and what record
// is said to begin a handshake there.
func (v *victim) attack(t *testing.T, s *viewer.Session, record []byte) {
	for port := range uint16(8) {
		from := netip.AddrPortFrom(v.addr, 1000+port)
		one := check(t, s.SDP())
		arrives(s, one, from)
		arrives(s, record, from)
		v.in += len(one) + len(record)
	}
}

// What goes to addresses that are not proved is in a proportion to what came from
// there, however long the credentials are that go with it.
func TestOthersGetLittle(t *testing.T) {
	for name, record := range map[string][]byte{
		"a byte":         {22},
		"a client hello": append([]byte{22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1}, make([]byte, 20)...),
	} {
		t.Run(name, func(t *testing.T) {
			inPlace(t, func(t *testing.T, p *place) {
				c := p.client("viewer", nil)
				long := "a=ice-ufrag:" + strings.Repeat("a", 256)
				s, err := p.answer(regexp.MustCompile(`a=ice-ufrag:\S+`).ReplaceAllString(c.offer(t), long))
				require.NoError(t, err)
				v := p.victim()
				v.attack(t, s, record)
				time.Sleep(15 * time.Second)
				require.NoError(t, s.Close())
				require.NoError(t, c.GracefulClose())
				require.Positive(t, v.out.Load())
				require.LessOrEqual(t, v.out.Load(), int64(3*v.in))
			})
		})
	}
}

// ICE can be restarted now and then, and no more goes to others for that.
func TestRestartsAreBounded(t *testing.T) {
	inPlace(t, func(t *testing.T, p *place) {
		c, s := p.join("viewer", nil)
		v := p.victim()
		restart := func(n int) error {
			_, err := s.Patch(t.Context(), fmt.Sprintf("a=ice-ufrag:%s%06d\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\n", strings.Repeat("a", 250), n))
			return err
		}
		for n := range 5 {
			require.NoError(t, restart(n))
			v.attack(t, s, []byte{22})
		}
		err := restart(5)
		require.ErrorIs(t, err, cdn.ErrOverLimit)
		var told *cdn.Error
		require.ErrorAs(t, err, &told)
		require.Equal(t, 12*time.Second, told.RetryAfter)
		time.Sleep(12 * time.Second)
		require.NoError(t, restart(5))
		require.NoError(t, s.Close())
		require.NoError(t, c.GracefulClose())
		require.LessOrEqual(t, v.out.Load(), int64(3*v.in))
	})
}
