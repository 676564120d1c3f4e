package endpoint

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pion/stun/v4"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/endpoint/icecheck"
	"github.com/deltacdn/delta/internal/udp/icetcp"
	"github.com/deltacdn/delta/internal/udp/port"
)

// event is something that an agent is told, and where it takes the viewer to be
// after that.
type event struct {
	after time.Duration
	what  func(s *iceState, now time.Time)
	used  netip.AddrPort
}

var here, there = netip.MustParseAddrPort("192.0.2.1:1"), netip.MustParseAddrPort("192.0.2.2:2")

// byTCP is the same host and port as here, by TCP.
var byTCP = icetcp.Address(here)

const checkLen, answerLen = 108, 64

func checks(from netip.AddrPort, nominates bool) func(*iceState, time.Time) {
	return func(s *iceState, now time.Time) { s.checked(now, from, nominates, checkLen, answerLen) }
}

func answers(from netip.AddrPort) func(*iceState, time.Time) {
	return func(s *iceState, now time.Time) { s.answered(now, from, s.paths[s.find(from)].id) }
}

func reports(from netip.AddrPort) func(*iceState, time.Time) {
	return func(s *iceState, now time.Time) { s.heardFrom(now, from) }
}

func newTestICE(now time.Time) iceState {
	s := newICE(port.New(nil, func() {}, nil), nil, Remote{ICE: icecheck.NewCredentials()}, now)
	s.ours = []icecheck.Credentials{icecheck.NewCredentials()}
	return s
}

// Where a viewer is, as checks, answers and reports come.
func TestWhereTheViewerIs(t *testing.T) {
	for name, events := range map[string][]event{
		"the first, if nothing better comes": {
			{0, checks(here, false), here},
			{0, checks(there, false), here},
			{0, answers(there), there},
			{0, answers(here), there},
		},
		"what is nominated, once it is proved": {
			{0, checks(here, false), here},
			{0, answers(here), here},
			{0, checks(there, true), here},
			{0, answers(there), there},
		},
		"a nomination that was proved before": {
			{0, checks(here, true), here},
			{0, answers(here), here},
			{0, checks(there, false), here},
			{0, answers(there), here},
			{0, checks(there, true), there},
		},
		"another, after silence": {
			{0, checks(here, true), here},
			{0, answers(here), here},
			{time.Second, checks(there, false), here},
			{0, answers(there), here},
			{2 * time.Second, checks(there, false), here},
			{2 * time.Second, checks(there, false), there},
			{time.Second, reports(here), here}, // which was nominated
		},
		"UDP rather than TCP, once that is nominated": {
			{0, checks(byTCP, false), byTCP},
			{0, answers(byTCP), byTCP},
			{0, checks(here, true), byTCP},
			{0, answers(here), here},
			{time.Second, checks(byTCP, false), here},
		},
		"TCP, after UDP has failed": {
			{0, checks(here, true), here},
			{0, answers(here), here},
			{time.Second, checks(byTCP, true), here},
			{0, answers(byTCP), byTCP},
		},
		"not another that is not proved": {
			{0, checks(here, true), here},
			{0, answers(here), here},
			{time.Minute, checks(there, true), here},
			{time.Minute, reports(there), here},
		},
		"not another as long as reports come": {
			{0, checks(here, true), here},
			{0, answers(here), here},
			{0, checks(there, false), here},
			{0, answers(there), here},
			{4 * time.Second, reports(here), here},
			{4 * time.Second, checks(there, false), here},
			{4 * time.Second, checks(there, false), there},
		},
	} {
		now := time.Unix(1000, 0)
		s := newTestICE(now)
		for i, e := range events {
			now = now.Add(e.after)
			e.what(&s, now)
			require.Equal(t, e.used, s.addr, "%s: %d", name, i)
		}
	}
}

// Only what comes from where media goes says that the viewer lives.
func TestWhoLives(t *testing.T) {
	now := time.Unix(1000, 0)
	s := newTestICE(now)
	at := func(after time.Duration) time.Time { return now.Add(after) }
	s.checked(now, here, true, checkLen, answerLen)
	answers(here)(&s, at(1))
	require.Equal(t, at(1), s.heard)
	s.checked(at(2), there, false, checkLen, answerLen)
	answers(there)(&s, at(3))
	reports(there)(&s, at(4))
	require.Equal(t, at(1), s.heard)
	reports(here)(&s, at(5))
	require.Equal(t, at(5), s.heard)
}

// The round trip is the shortest that a check of ours has shown. Of checks that were repeated
// nobody knows which was answered.
func TestRoundTrip(t *testing.T) {
	now := time.Unix(1000, 0)
	s := newTestICE(now)
	trip := func(to netip.AddrPort) time.Duration { return s.paths[s.find(to)].trip }
	s.checked(now, there, false, checkLen, answerLen)
	s.checked(now.Add(askInterval), there, false, checkLen, answerLen)
	answers(there)(&s, now.Add(askInterval+time.Microsecond))
	require.Zero(t, trip(there), "it was asked twice")
	s.checked(now, here, true, checkLen, answerLen)
	answers(here)(&s, now.Add(700*time.Microsecond))
	require.Equal(t, 700*time.Microsecond, trip(here))
	s.checked(now, byTCP, true, checkLen, answerLen)
	answers(byTCP)(&s, now.Add(time.Second))
	require.Equal(t, time.Second, trip(byTCP))
	require.Equal(t, 700*time.Microsecond, trip(here))
}

// Only the round trip of the address in use tells whether the peer is near.
func TestNearByAnotherAddress(t *testing.T) {
	now := time.Unix(1000, 0)
	s := newTestICE(now)
	s.checked(now, here, true, checkLen, answerLen)
	answers(here)(&s, now.Add(300*time.Microsecond))
	require.True(t, s.near())
	s.checked(now, there, true, checkLen, answerLen)
	answers(there)(&s, now.Add(8*time.Millisecond))
	require.Equal(t, there, s.addr)
	require.False(t, s.near())
	s.checked(now, here, true, checkLen, answerLen)
	require.True(t, s.near())
}

// A peer is near by its round trip. On the same machine that may be longer, as the machine is busy.
func TestNear(t *testing.T) {
	local := netip.MustParseAddrPort("127.0.0.1:1")
	for _, c := range []struct {
		from netip.AddrPort
		trip time.Duration
		near bool
	}{
		{here, 300 * time.Microsecond, true},
		{here, 2 * time.Millisecond, false},
		{local, 2 * time.Millisecond, true},
		{local, 40 * time.Millisecond, false},
	} {
		now := time.Unix(1000, 0)
		s := newTestICE(now)
		require.False(t, s.near())
		s.checked(now, c.from, true, checkLen, answerLen)
		require.False(t, s.near(), "nothing is known")
		answers(c.from)(&s, now.Add(c.trip))
		require.Equal(t, c.near, s.near(), "%v", c)
	}
}

// All our checks of an ICE session carry one tie-breaker (RFC 8445 section 7.1.3).
func TestTieBreaker(t *testing.T) {
	now := time.Unix(1000, 0)
	s := newTestICE(now)
	tie := func(from netip.AddrPort) (value string) {
		raw := s.checked(now, from, false, checkLen, answerLen)
		var m stun.Message
		require.NoError(t, stun.Decode(raw, &m))
		b, err := m.Get(stun.AttrICEControlled)
		require.NoError(t, err)
		return string(b)
	}
	first := tie(here)
	require.NotEqual(t, string(make([]byte, 8)), first)
	require.Equal(t, first, tie(there))
	s.restart(icecheck.NewCredentials(), icecheck.NewCredentials())
	require.NotEqual(t, first, tie(there), "a restart begins another ICE session")
}

// Our checks of an address are few, slow, and in proportion to what came from it.
func TestAsks(t *testing.T) {
	for name, k := range map[string]struct {
		theirs icecheck.Credentials
		in     int  // bytes of a check
		first  bool // the first check is worth one of ours
		asks   int
	}{
		"as usual":         {icecheck.NewCredentials(), checkLen, true, maxAsks},
		"long credentials": {icecheck.Credentials{Ufrag: strings.Repeat("a", 256), Pwd: "x"}, checkLen, false, 5},
	} {
		now, sent := time.Unix(1000, 0), 0
		s := newTestICE(now)
		s.theirs = k.theirs
		for i := range maxAsks + 1 {
			raw := s.checked(now, here, false, k.in, answerLen)
			sent += len(raw) + answerLen
			require.LessOrEqual(t, sent, maxGain*k.in*(i+1), name)
			require.Nil(t, s.ask(now, s.paths[0]), "%s: not at once", name)
			if i == 0 {
				require.Equal(t, k.first, stun.IsMessage(raw), name)
			}
			now = now.Add(askInterval << i)
		}
		require.Equal(t, k.asks, s.paths[0].asked, name)
	}
}
