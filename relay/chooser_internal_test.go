package relay

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/route"
	"github.com/deltacdn/delta/internal/trouble"
)

var epoch = time.Unix(1_700_000_000, 0)

func at(d time.Duration) time.Time { return epoch.Add(d) }

func entry(node cdn.NodeID, path ...cdn.NodeID) cdn.Entry {
	return cdn.Entry{Stream: "live", Node: node, URL: "http://" + string(node), Path: path, Hops: len(path)}
}

// A turn is an answer to what a chooser wants done, after some time.
type turn struct {
	// What is expected.
	do            action
	from, standby cdn.NodeID
	is            error // of the step
	tell          bool  // likewise

	// The answer.
	after   time.Duration
	entries []cdn.Entry
	err     error
	newest  time.Duration // when media last came; 0: it has not
}

func TestChooser(t *testing.T) {
	a, b, c := entry("a"), entry("b"), entry("c")
	behindA := entry("d", "a")
	full := &cdn.Error{Op: "fetch", Err: cdn.ErrOverLimit, Instead: []cdn.Entry{c}}
	two, none := []cdn.Entry{a, b}, []cdn.Entry{}
	for name, turns := range map[string][]turn{
		"no node is known": {
			{do: doFind, entries: none},
			{do: doGiveUp, is: cdn.ErrNotFound},
		},
		"the directory fails": {
			{do: doFind, err: cdn.ErrTimeout},
			{do: doGiveUp, is: cdn.ErrTimeout},
		},
		"the directory fails, and entries are known from earlier": {
			{do: doFind, entries: two, err: cdn.ErrTimeout},
			{do: doFetch, from: "a", standby: "b", err: cdn.ErrNotFound},
			{do: doFetch, from: "b", standby: "a", is: cdn.ErrNotFound, err: cdn.ErrNotFound},
			{do: doGiveUp, is: cdn.ErrNotFound},
		},
		"the most telling error counts": {
			{do: doFind, entries: []cdn.Entry{a, b, c}},
			{do: doFetch, from: "a", standby: "b", err: cdn.ErrNotFound},
			{do: doFetch, from: "b", standby: "c", is: cdn.ErrNotFound, err: cdn.ErrPeerLost},
			{do: doFetch, from: "c", standby: "a", is: cdn.ErrPeerLost, err: cdn.ErrNotFound},
			{do: doGiveUp, is: cdn.ErrPeerLost},
		},
		"an end counts most": {
			{do: doFind, entries: two},
			{do: doFetch, from: "a", standby: "b", err: cdn.ErrEnded},
			{do: doFetch, from: "b", standby: "a", is: cdn.ErrEnded, err: cdn.ErrPeerLost},
			{do: doGiveUp, is: cdn.ErrEnded},
		},
		"the standby does not have the stream through the upstream": {
			{do: doFind, entries: []cdn.Entry{a, behindA, b}},
			{do: doFetch, from: "a", standby: "b", err: cdn.ErrPeerLost},
			{do: doFetch, from: "d", standby: "b", is: cdn.ErrPeerLost, err: cdn.ErrPeerLost},
			{do: doFetch, from: "b", standby: "a", is: cdn.ErrPeerLost, err: cdn.ErrPeerLost},
			{do: doGiveUp, is: cdn.ErrPeerLost},
		},
		"a steady upstream is lost: the directory is asked again": {
			{do: doFind, entries: two},
			{do: doFetch, from: "a", standby: "b", after: time.Minute, newest: time.Minute, err: cdn.ErrPeerLost},
			{do: doFind, entries: []cdn.Entry{a, c}, newest: time.Minute},
			{do: doFetch, from: "c", standby: "a", is: cdn.ErrPeerLost, after: 100 * time.Millisecond, newest: time.Minute, err: cdn.ErrNotFound},
			{do: doPause, is: cdn.ErrPeerLost, after: lastPause, newest: time.Minute},
			{do: doFind, entries: two, newest: time.Minute},
			{do: doFetch, from: "a", standby: "b"},
		},
		"a silent upstream is left for its standby": {
			{do: doFind, entries: two},
			{do: doFetch, from: "a", standby: "b", after: time.Minute, newest: time.Minute, err: errSilent},
			{do: doFind, entries: []cdn.Entry{c, a, b}, newest: time.Minute},
			{do: doFetch, from: "b", standby: "c", is: errSilent},
		},
		"it is given up in the end": {
			{do: doFind, entries: two},
			{do: doFetch, from: "a", standby: "b", after: time.Minute, newest: time.Minute, err: cdn.ErrPeerLost},
			{do: doFind, entries: none, err: cdn.ErrTimeout, newest: time.Minute},
			{do: doPause, is: cdn.ErrPeerLost, after: 14 * time.Second, newest: time.Minute},
			{do: doFind, entries: none, newest: time.Minute},
			{do: doPause, is: cdn.ErrNotFound, after: 2 * time.Second, newest: time.Minute},
			{do: doFind, entries: none, newest: time.Minute},
			{do: doGiveUp, is: cdn.ErrNotFound},
		},
		"other codecs": {
			{do: doFind, entries: two},
			{do: doFetch, from: "a", standby: "b", after: time.Minute, newest: time.Minute, err: cdn.ErrNoCommonCodec},
			{do: doGiveUp, is: cdn.ErrNoCommonCodec},
		},
		"a full node names another": {
			{do: doFind, entries: []cdn.Entry{a}},
			{do: doFetch, from: "a", err: full},
			{do: doFind, entries: []cdn.Entry{a, c}},
			{do: doFetch, from: "c", standby: "a", is: cdn.ErrOverLimit},
		},
		"a circle": {
			{do: doFind, entries: two},
			{do: doFetch, from: "a", standby: "b", err: cdn.ErrLoop},
			{do: doFetch, from: "b", standby: "a", is: cdn.ErrLoop, err: cdn.ErrLoop},
			{do: doGiveUp, is: trouble.ErrCircle, tell: true},
		},
		"a circle that stays, once the stream has come": {
			{do: doFind, entries: []cdn.Entry{a}},
			{do: doFetch, from: "a", after: time.Minute, newest: time.Minute, err: cdn.ErrPeerLost},
			{do: doFind, entries: []cdn.Entry{b}, newest: time.Minute},
			{do: doFetch, from: "b", is: cdn.ErrPeerLost, err: cdn.ErrLoop, newest: time.Minute},
			{do: doPause, is: trouble.ErrCircle, after: time.Second},
			{do: doFind, entries: []cdn.Entry{b}, newest: time.Minute},
			{do: doFetch, from: "b", err: cdn.ErrLoop, newest: time.Minute},
			{do: doPause, is: trouble.ErrCircle, after: time.Second},
			{do: doFind, entries: []cdn.Entry{b}, newest: time.Minute},
			{do: doFetch, from: "b", err: cdn.ErrLoop, newest: time.Minute},
			{do: doPause, is: trouble.ErrCircle, tell: true, after: time.Second},
			{do: doFind, entries: []cdn.Entry{b}, newest: time.Minute},
			{do: doFetch, from: "b", err: cdn.ErrNotFound, newest: time.Minute},
			{do: doPause, is: cdn.ErrNotFound, after: 2 * time.Second},
		},
		"a loop, and a way out that has nothing": {
			{do: doFind, entries: two},
			{do: doFetch, from: "a", standby: "b", err: cdn.ErrLoop},
			{do: doFetch, from: "b", standby: "a", is: cdn.ErrLoop, err: cdn.ErrNotFound},
			{do: doGiveUp, is: cdn.ErrNotFound},
		},
	} {
		t.Run(name, func(t *testing.T) { play(t, turns) })
	}
}

func play(t *testing.T, turns []turn) {
	now := epoch
	c := newChooser(now, "live", chooserConfig{
		findTimeout: 3 * time.Second, giveUp: 15 * time.Second, first: true, widens: true,
		jitter: func(time.Duration) time.Duration { return 0 },
	})
	for i, turn := range turns {
		s := c.next(now)
		require.Equal(t, turn.do, s.do, "turn %d", i)
		if turn.is != nil {
			require.ErrorIs(t, s.err, turn.is, "turn %d", i)
		}
		require.Equal(t, turn.tell, s.tell, "turn %d", i)
		now = now.Add(turn.after)
		seen := sighting{}
		if turn.newest > 0 {
			seen.ready, seen.newest = true, at(turn.newest)
		}
		switch s.do {
		case doFind:
			c.found(now, seen, turn.entries, turn.err)
		case doFetch:
			require.Equal(t, turn.from, s.from.Node, "turn %d", i)
			require.Equal(t, turn.standby, s.standby.Node, "turn %d", i)
			c.fetched(now, seen, outcome{from: s.from, standby: s.standby, begun: now.Add(-turn.after), err: turn.err})
		case doPause:
			require.False(t, now.Before(s.until), "turn %d", i)
		case doGiveUp:
			require.Len(t, turns, i+1, "nothing follows")
		}
	}
}

// The pauses grow, up to a bound, and begin anew once something has come.
func TestChooserPauses(t *testing.T) {
	now := epoch
	c := newChooser(now, "live", chooserConfig{giveUp: time.Hour, jitter: func(below time.Duration) time.Duration { return below }})
	pause := func(newest time.Time) time.Duration {
		c.found(now, sighting{ready: true, newest: newest}, nil, nil)
		s := c.next(now)
		require.Equal(t, doPause, s.do)
		require.Equal(t, doPause, c.next(s.until.Add(-1)).do)
		d := s.until.Sub(now)
		now = s.until
		require.Equal(t, doFind, c.next(now).do)
		return d
	}
	for _, want := range []time.Duration{100, 200, 400, 800, 1500, 1500} {
		require.Equal(t, want*time.Millisecond, pause(epoch))
	}
	require.Equal(t, 100*time.Millisecond, pause(now))
	require.Equal(t, 200*time.Millisecond, pause(epoch))
}

func TestWatchdog(t *testing.T) {
	const present, absent, unknown = cdn.SenderPresent, cdn.SenderAbsent, cdn.SenderUnknown
	type look struct {
		at     time.Duration
		newest time.Duration // 0: never
		sender cdn.SenderState
		since  time.Duration // when the sender was last present
		probe  error         // the result of a probe that has come by then
		state  watchdogState
		next   time.Duration // when to look again
	}
	more, same := errors.New("more"), context.DeadlineExceeded // more: there is more
	s, ms := time.Second, time.Millisecond
	for name, looks := range map[string][]look{
		"media comes": {
			{at: 0, sender: present, state: quiet, next: 1500 * ms},
			{at: 1500 * ms, newest: 1400 * ms, sender: present, state: quiet, next: 2900 * ms},
			{at: 2900 * ms, newest: 2890 * ms, sender: present, state: quiet, next: 4390 * ms},
		},
		"nothing comes, and nobody says that the publisher is there": {
			{at: 0, sender: unknown, state: quiet, next: 1500 * ms},
			{at: 1500 * ms, sender: unknown, state: left},
		},
		"nothing comes any more, and the standby has more": {
			{at: 2 * s, newest: 2 * s, sender: present, state: quiet, next: 3500 * ms},
			{at: 3500 * ms, newest: 2 * s, sender: present, state: probing},
			{at: 3600 * ms, newest: 2 * s, sender: present, state: probing},
			{at: 4 * s, newest: 2 * s, sender: present, probe: more, state: ahead, next: 4100 * ms},
			{at: 4100 * ms, newest: 2 * s, sender: present, state: left},
		},
		"it goes on while the standby is probed": {
			{at: 3500 * ms, newest: 2 * s, sender: present, state: probing},
			{at: 3600 * ms, newest: 3590 * ms, sender: present, state: quiet},
			{at: 5100 * ms, newest: 5 * s, sender: present, state: quiet, next: 6500 * ms},
		},
		"it goes on a moment later than the standby": {
			{at: 3500 * ms, newest: 2 * s, sender: present, state: probing},
			{at: 4 * s, newest: 2 * s, sender: present, probe: more, state: ahead},
			{at: 4100 * ms, newest: 4050 * ms, sender: present, state: quiet},
		},
		"the standby is as silent: the pauses between probes grow": {
			{at: 3500 * ms, newest: 2 * s, sender: present, state: probing},
			{at: 5500 * ms, newest: 2 * s, sender: present, probe: same, state: quiet, next: 7 * s},
			{at: 7 * s, newest: 2 * s, sender: present, state: probing},
			{at: 9 * s, newest: 2 * s, sender: present, probe: same, state: quiet, next: 12 * s},
			{at: 12 * s, newest: 2 * s, sender: present, state: probing},
		},
		"the upstream says for long that it has no input": {
			{at: 3 * s, newest: 2 * s, sender: absent, since: 2500 * ms, state: quiet, next: 3500 * ms},
			{at: 3500 * ms, newest: 2 * s, sender: absent, since: 2500 * ms, state: probing},
			{at: 3600 * ms, newest: 2 * s, sender: absent, since: 2500 * ms, probe: same, state: quiet, next: 4 * s},
			{at: 4 * s, newest: 2 * s, sender: absent, since: 2500 * ms, state: left},
		},
		"it cannot be probed": {
			{at: 3500 * ms, newest: 2 * s, sender: unknown, state: probing},
			{at: 3500 * ms, newest: 2 * s, sender: unknown, probe: cdn.ErrUnsupported, state: left},
		},
		"it cannot be probed, and the publisher is there": {
			{at: 3500 * ms, newest: 2 * s, sender: present, state: probing},
			{at: 3500 * ms, newest: 2 * s, sender: present, probe: cdn.ErrUnsupported, state: quiet, next: 5 * s},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWatchdog(epoch)
			for i, l := range looks {
				seen := sighting{ready: true, sender: l.sender}
				if l.newest > 0 {
					seen.newest = at(l.newest)
				}
				if l.since > 0 {
					seen.present = at(l.since)
				}
				switch {
				case errors.Is(l.probe, more):
					w.probed(at(l.at), seen, nil)
				case l.probe != nil:
					w.probed(at(l.at), seen, l.probe)
				}
				state, next := w.look(at(l.at), seen)
				require.Equal(t, l.state, state, "look %d", i)
				if l.next > 0 {
					require.Equal(t, l.next, next.Sub(epoch), "look %d", i)
				}
				if state != left {
					require.True(t, next.After(at(l.at)), "look %d: its owner would spin", i)
				}
			}
		})
	}
}

func TestTTLMap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := ttlMap[int]{}
		m.set("a", 1, time.Minute)
		v, ok := m.get("a")
		require.True(t, ok)
		require.Equal(t, 1, v)
		time.Sleep(time.Minute + 1)
		v, ok = m.get("a")
		require.False(t, ok)
		require.Zero(t, v)
		for i := range 2 * maxFailures {
			m.set(strconv.Itoa(i), i, time.Minute)
		}
		require.LessOrEqual(t, len(m), maxFailures)
	})
}

func TestScoutIsDue(t *testing.T) {
	s := newScout(epoch, func(below time.Duration) time.Duration { return below })
	yes, next := s.due(epoch, false)
	require.False(t, yes)
	require.Equal(t, at(4*time.Second), next)
	yes, _ = s.due(next, false)
	require.True(t, yes)
	yes, _ = s.due(next.Add(time.Minute), true)
	require.False(t, yes, "somebody looks")
	s.busy = false
	yes, _ = s.due(next, true)
	require.True(t, yes, "it is leaving")
	s.busy = false
	yes, again := s.due(next, true)
	require.False(t, yes)
	require.Equal(t, next.Add(stillLeaving), again)
	_, again = s.due(next, false)
	require.Equal(t, next.Add(4*time.Second), again)
	yes, _ = s.due(next, true)
	require.True(t, yes, "it is leaving again")
}

func TestScoutChooses(t *testing.T) {
	near := func(e cdn.Entry, cost time.Duration) route.Candidate {
		return route.Candidate{Entry: e, Has: true, Distance: cost, RTT: time.Millisecond}
	}
	everywhere := func(cdn.Entry) (bool, bool) { return true, true }
	now, other, third := entry("now"), entry("other"), entry("third")
	moves := 0
	c := choice{
		now: now, cost: 200 * time.Millisecond, reaches: everywhere, mayMove: func() bool { moves++; return true },
		ranked: []route.Candidate{near(other, 10*time.Millisecond), near(now, 200*time.Millisecond)},
	}
	s := newScout(epoch, func(time.Duration) time.Duration { return 0 })
	_, yes := s.choose(epoch, c)
	require.False(t, yes, "it has to be better for long")
	to, yes := s.choose(at(time.Minute), c)
	require.True(t, yes)
	require.Equal(t, other, to)
	require.Equal(t, 1, moves)
	s.failed(at(time.Minute), other)
	_, yes = s.choose(at(time.Minute+avoidFor-1), c)
	require.False(t, yes, "a move to it has failed")
	_, yes = s.choose(at(time.Minute+avoidFor), c)
	require.False(t, yes, "it was not the best in between")

	c.leaving = true
	behind := near(entry("behind", "now"), time.Millisecond)
	draining := near(entry("draining"), time.Millisecond)
	draining.Draining = true
	c.ranked = []route.Candidate{near(now, 0), behind, draining, near(other, 0), near(third, 0)}
	to, yes = s.choose(at(time.Hour), c)
	require.True(t, yes)
	require.Equal(t, other, to)
	s.failed(at(time.Hour), other)
	c.reaches = func(e cdn.Entry) (bool, bool) { return e.Node == "third", e.Node == "third" }
	c.ranked = append([]route.Candidate{near(entry("gone"), 0)}, c.ranked...)
	to, yes = s.choose(at(time.Hour), c)
	require.True(t, yes)
	require.Equal(t, third, to, "after a failure, one that is known to be reached")
	c.ranked = c.ranked[:1]
	to, yes = s.choose(at(time.Hour), c)
	require.True(t, yes)
	require.Equal(t, cdn.NodeID("gone"), to.Node, "where there is no other")
}
