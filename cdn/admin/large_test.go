//go:build unix

package admin

import (
	"fmt"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/relay"
)

// cpu returns how much processor time this process has used.
func cpu(t *testing.T) time.Duration {
	var u syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// A hundred nodes with 200 streams each, and thousands of sessions, are answered for
// without seconds of processor time.
func TestALargeNetwork(t *testing.T) {
	a, _ := newAPI(t)
	begun := cpu(t)
	sent := 0
	s := &search{network: &a.network, nodes: map[cdn.NodeID]*sought{}}
	for i := range 99 {
		id := fmt.Sprint("node-", i)
		r := largeReport(id)
		b, err := pack(told{Report: &r})
		require.NoError(t, err)
		sent = max(sent, len(b))
		back, err := unpack(b)
		require.NoError(t, err)
		s.nodes[cdn.NodeID(id)] = &sought{path: []cdn.NodeID{cdn.NodeID(id)}, answered: true, report: back.Report.sound(), received: time.Now()}
	}
	a.network.mu.Lock()
	a.network.noteLocked(s)
	a.network.round = &round{at: time.Now().Add(time.Hour)} // and nobody is asked
	a.network.mu.Unlock()
	collected := cpu(t) - begun
	t.Logf("a round with 99 reports of 200 streams: %v of processor time, of which the nodes' own is half; one is %d bytes", collected, sent)
	require.Less(t, sent, 64<<10)
	most := 2 * time.Second
	if raceEnabled {
		most *= 10
	}
	require.Less(t, collected, most)
	for _, path := range []string{"/network", "/nodes", "/nodes/node-7", "/links", "/streams?limit=1000"} {
		begun = cpu(t)
		w := do(a, local("GET", path, ""))
		require.Equal(t, http.StatusOK, w.Code)
		t.Logf("GET %s: %v of processor time, %d bytes", path, cpu(t)-begun, w.Body.Len())
		require.Less(t, cpu(t)-begun, most)
	}
}

// A page of five thousand sessions costs milliseconds.
func TestManySessions(t *testing.T) {
	a, _ := newAPI(t)
	for i := range 5000 {
		ad, err := a.node.Authorize(t.Context(), cdn.AuthRequest{Action: cdn.ActionPlay, Stream: cdn.StreamID(fmt.Sprint("live/", i%200)), Trusted: true})
		require.NoError(t, err)
		_, err = ad.Enter(t.Context())
		require.NoError(t, err)
		defer ad.Leave(nil)
	}
	begun, pages, all := cpu(t), 0, map[string]bool{}
	for q := (SessionQuery{}); ; pages++ {
		page, err := a.Sessions(t.Context(), q)
		require.NoError(t, err)
		for _, s := range page.Sessions {
			all[s.ID] = true
		}
		if q.After = page.Next; q.After == "" {
			break
		}
	}
	require.Len(t, all, 5000)
	each := (cpu(t) - begun) / time.Duration(pages+1)
	t.Logf("%d pages: %v of processor time each", pages+1, each)
	require.Less(t, each, 100*time.Millisecond)
	w := do(a, local("GET", "/sessions?stream=live/7&limit=1000", ""))
	require.Equal(t, http.StatusOK, w.Code)
}

// Of a report that is too long for a link, tracks are left out, and then streams.
func TestReportsThatAreTooLong(t *testing.T) {
	r := Report{Node: Node{ID: "large"}}
	for i := range 3000 {
		name := fmt.Sprintf("%x", noise(i))
		r.Streams = append(r.Streams, Stream{ID: name, Tracks: []Track{{ID: fmt.Sprintf("%x", noise(-i))}}})
	}
	b, err := pack(told{Report: &r})
	require.NoError(t, err)
	require.LessOrEqual(t, len(b), relay.MaxAnswer)
	back, err := unpack(b)
	require.NoError(t, err)
	require.Len(t, r.Streams[0].Tracks, 1, "the original is as it was")
	require.Empty(t, back.Report.Streams[0].Tracks)
	require.Equal(t, 3000, len(back.Report.Streams)+back.Report.StreamsOmitted)
	require.NotEmpty(t, back.Report.Streams)
	_, err = pack(told{Problem: string(make([]byte, maxUnpacked))})
	require.ErrorIs(t, err, cdn.ErrOverLimit)
}

// noise returns bytes that cannot be compressed.
func noise(seed int) []byte {
	b := make([]byte, 250)
	x := uint64(seed)*0x9e3779b97f4a7c15 + 1
	for i := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = byte(x)
	}
	return b
}
