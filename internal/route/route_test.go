package route

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
)

const ms = time.Millisecond

func origin(id cdn.NodeID, rtt time.Duration) Candidate {
	return Candidate{Entry: cdn.Entry{Node: id}, Has: true, RTT: rtt}
}

// warm is a relay that has the stream by path.
func warm(id cdn.NodeID, rtt, latency time.Duration, path ...cdn.NodeID) Candidate {
	return Candidate{
		Entry: cdn.Entry{Node: id, Hops: len(path), Path: path, Latency: latency}, Has: true, Distance: latency, RTT: rtt,
	}
}

// cold is a relay without the stream.
func cold(id cdn.NodeID, rtt, distance time.Duration) Candidate {
	return Candidate{Entry: cdn.Entry{Node: id}, Distance: distance, RTT: rtt}
}

func (c Candidate) with(f func(*Candidate)) Candidate {
	f(&c)
	return c
}

func full(c *Candidate)     { c.Load = 1 }
func draining(c *Candidate) { c.Draining = true }

// names returns the nodes in order.
func names(all []Candidate) (ids []string) {
	for _, c := range all {
		ids = append(ids, string(c.Entry.Node))
	}
	return ids
}

func TestChoose(t *testing.T) {
	edge := Requester{Node: "me", Stream: "live"}
	relay := Requester{Node: "me", Stream: "live", Serves: true, Distance: 40 * ms}
	for name, tc := range map[string]struct {
		requester Requester
		among     []Candidate
		want      []string
	}{
		"nobody":                            {edge, nil, nil},
		"the origin alone":                  {edge, []Candidate{origin("o", 20*ms)}, []string{"o"}},
		"an edge spares the origin":         {edge, []Candidate{origin("o", 2*ms), warm("r", 2*ms, 1*ms, "o")}, []string{"r", "o"}},
		"also for a relay without it":       {edge, []Candidate{origin("o", 2*ms), cold("r", 2*ms, 1*ms)}, []string{"r", "o"}},
		"but not at any price":              {edge, []Candidate{origin("o", 2*ms), warm("r", 160*ms, 80*ms, "o")}, []string{"o", "r"}},
		"and comes ahead of bad relays":     {edge, []Candidate{origin("o", 2*ms), warm("r", 2*ms, 1*ms, "o"), warm("far", 160*ms, 80*ms, "o")}, []string{"r", "o", "far"}},
		"a relay does not":                  {relay, []Candidate{warm("r", 2*ms, 1*ms, "o"), origin("o", 2*ms)}, []string{"o", "r"}},
		"unless the origin is far":          {relay, []Candidate{origin("o", 80*ms), warm("r", 5*ms, 40*ms, "o")}, []string{"r", "o"}},
		"and a neighbour has to go":         {relay, []Candidate{origin("o", 80*ms), cold("r", 5*ms, 30*ms)}, []string{"r", "o"}},
		"who is not behind it itself":       {relay, []Candidate{origin("o", 80*ms), cold("r", 5*ms, 46*ms)}, []string{"o"}},
		"nor knows not how far it is":       {relay, []Candidate{origin("o", 80*ms), cold("r", 5*ms, 0).with(func(c *Candidate) { c.Far = true })}, []string{"o"}},
		"who has it comes first":            {edge, []Candidate{cold("a", 2*ms, 1*ms), warm("b", 2*ms, 1*ms, "o")}, []string{"b", "a"}},
		"full nodes are out":                {edge, []Candidate{warm("r", 2*ms, 1*ms, "o").with(full), origin("o", 9*ms)}, []string{"o"}},
		"a full origin, too":                {relay, []Candidate{warm("r", 2*ms, 1*ms, "o"), origin("o", 2*ms).with(full)}, []string{"r"}},
		"and those that leave":              {edge, []Candidate{warm("r", 2*ms, 1*ms, "o").with(draining), origin("o", 9*ms)}, []string{"o"}},
		"whoever has it from the requester": {relay, []Candidate{warm("r", 2*ms, 1*ms, "o", "me"), origin("o", 9*ms)}, []string{"o"}},
		"whoever asks the requester":        {Requester{Node: "me", Stream: "live", Through: []cdn.NodeID{"r"}}, []Candidate{warm("r", 2*ms, 1*ms, "o"), origin("o", 9*ms)}, []string{"o"}},
		"unless all are":                    {edge, []Candidate{origin("o", 9*ms).with(full), warm("r", 2*ms, 1*ms, "o").with(draining)}, []string{"r", "o"}},
		"nor a relay without it, then":      {edge, []Candidate{origin("o", 9*ms).with(draining), cold("c", 2*ms, 1*ms), warm("r", 2*ms, 1*ms, "o")}, []string{"r"}},
		"nobody but those that are full":    {relay, []Candidate{origin("o", 80*ms).with(full), cold("c", 5*ms, 30*ms)}, []string{"o"}},
		"the requester itself":              {edge, []Candidate{warm("me", 2*ms, 1*ms, "o"), origin("o", 9*ms)}, []string{"o"}},
		"what is too deep":                  {edge, []Candidate{warm("r", 2*ms, 1*ms, "o", "1", "2", "3", "4", "5", "6", "7"), origin("o", 99*ms)}, []string{"o"}},
		"the nearer relay":                  {edge, []Candidate{warm("far", 30*ms, 1*ms, "o"), warm("near", 2*ms, 1*ms, "o")}, []string{"near", "far"}},
		"the less loaded one":               {edge, []Candidate{warm("a", 2*ms, 1*ms, "o").with(func(c *Candidate) { c.Load = 0.9 }), warm("b", 2*ms, 1*ms, "o")}, []string{"b", "a"}},
		"an edge does not cross a border":   {edge, []Candidate{warm("far", 80*ms, 3*ms, "o"), cold("near", 5*ms, 40*ms)}, []string{"near", "far"}},
		"what was not measured":             {edge, []Candidate{warm("a", 0, 1*ms, "o"), warm("b", 30*ms, 1*ms, "o")}, []string{"b", "a"}},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, tc.want, names(Choose(tc.requester, tc.among))) })
	}
}

// The parts of a cost.
func TestCost(t *testing.T) {
	require.Equal(t, 4*ms, Cost(origin("o", 8*ms)))
	require.Equal(t, 40*ms+35*ms/2, Cost(origin("o", 80*ms)), "half of what lies beyond 5 ms counts again")
	require.Equal(t, 7*ms+4*ms+2*ms, Cost(warm("r", 8*ms, 7*ms, "o")))
	require.Equal(t, 7*ms+4*ms+2*ms+10*ms, Cost(cold("r", 8*ms, 7*ms)))
	require.Equal(t, 4*ms+5*ms, Cost(origin("o", 8*ms).with(func(c *Candidate) { c.Load = 0.5 })))
}

// Neighbours choose the same of nodes that are alike, each stream its own.
func TestNeighboursAgree(t *testing.T) {
	used := map[string]int{}
	for i := range 200 {
		id := cdn.StreamID(fmt.Sprintf("s%d", i))
		first := ""
		for k := range 9 {
			jitter := func() time.Duration { return time.Duration(rand.Int64N(int64(2 * ms))) }
			all := []Candidate{origin("o", 2*ms+jitter())}
			for _, r := range []cdn.NodeID{"r1", "r2", "r3"} {
				all = append(all, cold(r, 2*ms+jitter(), ms+jitter()))
			}
			got := names(Choose(Requester{Node: cdn.NodeID(fmt.Sprintf("e%d", k)), Stream: id}, all))[0]
			if first == "" {
				first = got
			}
			require.Equal(t, first, got)
		}
		used[first]++
	}
	for _, r := range []string{"r1", "r2", "r3"} {
		require.Greater(t, used[r], 40, "%v", used)
	}
}

// Whatever relays without the stream announce, none of them waits for itself.
func TestNoCircles(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		var relays []Candidate
		for i := range 8 {
			c := cold(cdn.NodeID(fmt.Sprintf("r%d", i)), time.Duration(1+r.Int64N(50))*ms, time.Duration(r.Int64N(50))*ms)
			c.Far = r.IntN(4) == 0
			relays = append(relays, c)
		}
		asks := map[cdn.NodeID][]Candidate{}
		for _, c := range relays {
			asks[c.Entry.Node] = Choose(Requester{
				Node: c.Entry.Node, Stream: "live", Serves: true, Distance: c.Distance, Far: c.Far,
			}, relays)
		}
		for start := range asks {
			seen := map[cdn.NodeID]bool{}
			var walk func(cdn.NodeID)
			walk = func(at cdn.NodeID) {
				require.False(t, seen[at] && at == start && len(seen) > 0 && at != start, "a circle")
				seen[at] = true
				for _, next := range asks[at] {
					require.NotEqual(t, start, next.Entry.Node, "seed %d: %s waits for itself", seed, start)
					if !seen[next.Entry.Node] {
						walk(next.Entry.Node)
					}
				}
			}
			walk(start)
		}
	}
}

func TestWatch(t *testing.T) {
	begin := time.Unix(0, 0)
	at := func(s int) time.Time { return begin.Add(time.Duration(s) * time.Second) }
	better, other := warm("b", 2*ms, 10*ms, "o"), warm("c", 2*ms, 9*ms, "o")
	now := 60 * ms
	var w Watch
	require.False(t, w.Look(at(0), better, now))
	require.False(t, w.Look(at(29), better, now))
	require.True(t, w.Look(at(30), better, now))
	w = Watch{}
	require.False(t, w.Look(at(0), better, now))
	require.False(t, w.Look(at(20), better, 15*ms), "it was not for a moment")
	require.False(t, w.Look(at(40), better, now))
	require.True(t, w.Look(at(70), better, now))
	w = Watch{}
	require.False(t, w.Look(at(0), better, now))
	require.False(t, w.Look(at(29), other, now), "another one")
	require.False(t, w.Look(at(58), other, now))
	require.True(t, w.Look(at(59), other, now))

	require.False(t, Better(31*ms, 40*ms), "a fifth, but no 10 ms")
	require.False(t, Better(85*ms, 100*ms), "10 ms, but no fifth")
	require.True(t, Better(80*ms, 100*ms))
}
