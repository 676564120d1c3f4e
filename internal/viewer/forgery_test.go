package viewer_test

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/stun/v4"
	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/bubble"
	"github.com/deltacdn/delta/internal/viewer"
)

// Records that nobody encrypted do not end a session, before and after its
// first report has come: whoever knows the viewer's address can have sent them.
func TestForgedRecordsAreDropped(t *testing.T) {
	for name, forged := range map[string][]byte{
		"close_notify": {21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 1, 0},
		"fatal alert":  {21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 2, 40},
		"no alert":     {21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 0, 3, 1, 0, 0},
		"unknown type": {24, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 1, 0},
		"data":         {23, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 1, 0},
		"handshake":    {22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 0, 4, 1, 2, 3, 4},
		"behind another": {
			22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 0, 1, 1,
			21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 1, 0,
		},
		"too short": {63, 1, 2, 3},
	} {
		for when, frames := range map[string]int{"set aside": 90, "not yet": 12} {
			t.Run(name+"/"+when, func(t *testing.T) {
				inPlace(t, func(t *testing.T, p *place) {
					c := p.client("viewer", nil)
					s, err := p.answer(c.offer(t))
					require.NoError(t, err)
					c.accept(t, s.SDP())
					p.frames(frames)
					require.Positive(t, c.packets.Load())
					arrives(s, forged, netip.MustParseAddrPort("10.9.9.9:1"))
					time.Sleep(300 * time.Millisecond)
					require.NoError(t, s.Err())
					require.NoError(t, s.Close())
					require.NoError(t, c.GracefulClose())
				})
			})
		}
	}
}

// forgedAlert looks as if the viewer had encrypted it.
var forgedAlert = append([]byte{21, 254, 253, 0, 1, 0, 0, 0, 0, 0, 9, 0, 26}, make([]byte, 26)...)

// Alerts that anybody can have written make us hold one DTLS connection at the
// most, and do not hide the viewer's goodbye.
func TestForgedAlertsAreBounded(t *testing.T) {
	inPlace(t, func(t *testing.T, p *place) {
		c, s := p.join("viewer", nil)
		before, most := bubble.Goroutines(), 0
		forge := func() { arrives(s, slices.Clone(forgedAlert), netip.MustParseAddrPort("10.9.9.9:1")) }
		for range 300 {
			forge()
			time.Sleep(17 * time.Millisecond)
			most = max(most, bubble.Goroutines()-before)
		}
		require.LessOrEqual(t, most, 5)
		time.Sleep(time.Second)
		require.LessOrEqual(t, bubble.Goroutines(), before)
		require.NoError(t, s.Err())

		for range 10 {
			forge()
		}
		require.NoError(t, c.GracefulClose())
		forge()
		select {
		case <-s.Done():
			require.ErrorIs(t, s.Err(), cdn.ErrPeerLost)
		case <-time.After(100 * time.Millisecond):
			t.Fatal("the viewer's close is not heard")
		}
	})
}

// value is that of an attribute of a description.
func value(t *testing.T, sdp, name string) string {
	_, rest, ok := strings.Cut(sdp, "a="+name+":")
	require.True(t, ok)
	v, _, _ := strings.Cut(rest, "\r\n")
	return v
}

// check is a connectivity check for s that nominates its path.
func check(t *testing.T, sdp string) []byte {
	m, err := stun.Build(stun.BindingRequest, stun.TransactionID, stun.NewUsername(value(t, sdp, "ice-ufrag")+":x"),
		stun.RawAttribute{Type: stun.AttrUseCandidate}, stun.NewShortTermIntegrity(value(t, sdp, "ice-pwd")), stun.Fingerprint)
	require.NoError(t, err)
	return m.Raw
}

// A viewer cannot turn its media on somebody else by checks with that one's
// address on them, and they do not keep its session alive.
func TestMediaIsNotTurnedOnOthers(t *testing.T) {
	inPlace(t, func(t *testing.T, p *place) {
		c, s := p.join("viewer", nil)
		victim, media := netip.MustParseAddrPort("10.200.0.9:53"), 0
		p.network.SetFilter(func(src, dst netip.AddrPort, b []byte) bool {
			if dst == victim && b[0] >= 20 {
				media++
			}
			return src == netip.AddrPortFrom(src.Addr(), 7000) // the viewer falls silent
		})
		nominate := check(t, s.SDP())
		for range 3 {
			arrives(s, nominate, victim)
			p.frames(5 * 30)
		}
		require.Zero(t, media)
		require.ErrorIs(t, s.Err(), cdn.ErrPeerLost)
		require.NoError(t, c.GracefulClose())
	})
}

// Checks from ever new addresses do not displace the one that media goes to.
func TestTheAddressInUseIsKept(t *testing.T) {
	inPlace(t, func(t *testing.T, p *place) {
		c, s := p.join("viewer", nil)
		nominate := check(t, s.SDP())
		for port := range uint16(100) {
			arrives(s, nominate, netip.AddrPortFrom(netip.MustParseAddr("10.200.0.9"), port+1))
		}
		before := c.packets.Load()
		p.frames(30)
		require.Equal(t, before+30, c.packets.Load())
		require.NoError(t, c.GracefulClose())
		select {
		case <-s.Done(): // its goodbye comes through, too
		case <-time.After(time.Second):
			t.Fatal("the viewer's own address is forgotten")
		}
	})
}

// asks notes when the node makes checks of an address.
func (p *place) asks(of netip.Addr) (at func() []time.Time) {
	var mu sync.Mutex
	var all []time.Time
	p.network.SetFilter(func(_, dst netip.AddrPort, b []byte) bool {
		if dst.Addr() == of && b[0] == 0 && b[1] == 1 {
			mu.Lock()
			all = append(all, time.Now())
			mu.Unlock()
		}
		return true
	})
	return func() []time.Time {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(all)
	}
}

// However many checks seem to come from an address, and from however many
// addresses, little goes there as long as nobody answers.
func TestUnansweredChecksAreBounded(t *testing.T) {
	inPlace(t, func(t *testing.T, p *place) {
		c, s := p.join("viewer", nil)
		victim := netip.MustParseAddr("10.200.0.9")
		asks := p.asks(victim)
		for range 1000 {
			arrives(s, check(t, s.SDP()), netip.AddrPortFrom(victim, 53))
			time.Sleep(5 * time.Millisecond)
		}
		require.Len(t, asks(), 7)
		for i, at := range asks()[1:] {
			require.GreaterOrEqual(t, at.Sub(asks()[i]), 50*time.Millisecond)
		}
		for port := range uint16(1000) {
			arrives(s, check(t, s.SDP()), netip.AddrPortFrom(victim, port+1))
		}
		require.LessOrEqual(t, len(asks()), 56)

		// What nobody could answer does not count.
		before := len(asks())
		_, err := s.Patch(t.Context(), "a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\n")
		require.NoError(t, err)
		arrives(s, check(t, s.SDP()), netip.AddrPortFrom(victim, 1000))
		require.Len(t, asks(), before+1)
		require.NoError(t, s.Close())
		require.NoError(t, c.GracefulClose())
	})
}

// The handshake's flights are many times what begins it, so they do not go to an
// address that is not proved.
func TestHandshakesAreNotTurnedOnOthers(t *testing.T) {
	inPlace(t, func(t *testing.T, p *place) {
		victim, flights := netip.MustParseAddrPort("10.200.0.9:53"), 0
		var hello []byte
		p.network.SetFilter(func(_, dst netip.AddrPort, b []byte) bool {
			if dst == victim && b[0] >= 20 && b[0] < 64 {
				flights++
			}
			if dst == netip.AddrPortFrom(dst.Addr(), 7000) && b[0] == 22 && hello == nil {
				hello = slices.Clone(b)
			}
			return true
		})
		c, s := p.join("viewer", nil)
		require.NoError(t, s.Close())
		require.NoError(t, c.GracefulClose())

		other := p.client("other", nil)
		s, err := p.answer(other.offer(t))
		require.NoError(t, err)
		require.NotNil(t, hello)
		arrives(s, check(t, s.SDP()), victim)
		for range 10 {
			arrives(s, hello, victim)
			time.Sleep(time.Second)
		}
		require.Zero(t, flights)

		// Nobody else is kept out by that.
		other.accept(t, s.SDP())
		p.frames(60)
		require.Positive(t, other.packets.Load())
		require.NoError(t, s.Close())
		require.NoError(t, other.GracefulClose())
	})
}

// Checks of ours that are lost are made again, and the viewer's first record,
// which has come meanwhile, is not lost: it need not be sent again.
func TestLostChecksAreMadeAgain(t *testing.T) {
	for name, k := range map[string]struct {
		repeats time.Duration // of the viewer's first record
		second  bool          // the viewer's address is not the first that was heard of
	}{
		"one hello":         {repeats: time.Second},
		"several":           {repeats: 50 * time.Millisecond},
		"not the first one": {repeats: time.Second, second: true},
	} {
		t.Run(name, func(t *testing.T) {
			inPlace(t, func(t *testing.T, p *place) {
				lost, begun := 0, time.Now()
				var answered time.Time
				elsewhere := netip.MustParseAddrPort("10.200.0.9:53")
				p.network.SetFilter(func(src, dst netip.AddrPort, b []byte) bool {
					node := src == netip.AddrPortFrom(src.Addr(), 7000) && dst != elsewhere
					switch {
					case node && b[0] == 0 && b[1] == 1 && lost < 3:
						lost++
						return false
					case node && b[0] == 22 && answered.IsZero():
						answered = time.Now()
					}
					return true
				})
				c := p.client("viewer", func(e *webrtc.SettingEngine) { e.SetDTLSRetransmissionInterval(k.repeats) })
				s, err := p.answer(c.offer(t))
				require.NoError(t, err)
				if k.second {
					arrives(s, check(t, s.SDP()), elsewhere)
				}
				c.accept(t, s.SDP())
				p.frames(90)
				require.Positive(t, c.packets.Load())
				require.Equal(t, 3, lost)
				require.Less(t, answered.Sub(begun), 700*time.Millisecond)
				require.NoError(t, s.Close())
				require.NoError(t, c.GracefulClose())
			})
		})
	}
}

// arrives has a datagram come to a session in a bubble, while the port's reader,
// whose place it takes, waits.
func arrives(s *viewer.Session, datagram []byte, from netip.AddrPort) {
	synctest.Wait()
	s.Arrive(datagram, from)
}
