package cdn

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const testTTL = 30 * time.Second

var errDown = errors.New("directory is down")

// testDirectory is a Memory that can fail and hang, and notes when it was
// called.
type testDirectory struct {
	*Memory
	start time.Time

	mu    sync.Mutex
	puts  []time.Duration // since start, those that failed too
	down  bool
	hangs map[StreamID]bool // calls about these streams hang until their context ends
}

func newTestDirectory() *testDirectory {
	return &testDirectory{Memory: NewMemory(), start: time.Now(), hangs: map[StreamID]bool{}}
}

func (d *testDirectory) enter(ctx context.Context, e Entry) error {
	d.mu.Lock()
	down, hangs := d.down, d.hangs[e.Stream]
	d.mu.Unlock()
	if hangs {
		<-ctx.Done()
		return ctx.Err()
	}
	if down {
		return errDown
	}
	return nil
}

func (d *testDirectory) Put(ctx context.Context, e Entry, ttl time.Duration) error {
	d.mu.Lock()
	d.puts = append(d.puts, time.Since(d.start))
	d.mu.Unlock()
	if err := d.enter(ctx, e); err != nil {
		return err
	}
	return d.Memory.Put(ctx, e, ttl)
}

func (d *testDirectory) Remove(ctx context.Context, e Entry) error {
	if err := d.enter(ctx, e); err != nil {
		return err
	}
	return d.Memory.Remove(ctx, e)
}

func (d *testDirectory) setDown(down bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.down = down
}

func (d *testDirectory) hang(id StreamID, hangs bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hangs[id] = hangs
}

func (d *testDirectory) putTimes() []time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]time.Duration(nil), d.puts...)
}

// testAnnouncer is an announcer without randomness, and what it reported.
type testAnnouncer struct {
	*announcer
	t     *testing.T
	dir   *testDirectory
	log   *bytes.Buffer
	stale chan Entry

	onStale func(Entry)
}

func (an *testAnnouncer) announce(e Entry) *announcement {
	return an.announcer.announce(e, func() { an.onStale(e) })
}

func announcerTest(t *testing.T, f func(t *testing.T, an *testAnnouncer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		an := &testAnnouncer{t: t, dir: newTestDirectory(), log: &bytes.Buffer{}, stale: make(chan Entry, 10)}
		an.announcer = newAnnouncer(an.dir, slog.New(slog.NewTextHandler(an.log, nil)), testTTL, func(StreamID) func() float64 { return rand.Float64 })
		an.onStale = func(e Entry) { an.stale <- e }
		an.random = func(StreamID) func() float64 { return func() float64 { return 0.5 } }
		defer an.close()
		f(t, an)
	})
}

func (an *testAnnouncer) wantFound(id StreamID, want ...Entry) {
	an.t.Helper()
	synctest.Wait()
	got, err := an.dir.Find(an.t.Context(), id)
	require.NoError(an.t, err)
	assert.Equal(an.t, append([]Entry{}, want...), got)
}

// running returns how many entries are being announced.
func (an *testAnnouncer) running() int {
	synctest.Wait()
	an.mu.Lock()
	defer an.mu.Unlock()
	return len(an.live)
}

func testEntry(stream StreamID) Entry {
	return Entry{Stream: stream, Node: "n", URL: "https://n", Publication: "p", Epoch: 7}
}

func TestAnnouncerRenews(t *testing.T) {
	announcerTest(t, func(t *testing.T, an *testAnnouncer) {
		e := testEntry("live")
		an.announce(e)
		an.wantFound("live", e)
		time.Sleep(45 * time.Second)
		assert.Equal(t, []time.Duration{0, 10 * time.Second, 20 * time.Second, 30 * time.Second, 40 * time.Second}, an.dir.putTimes())
		an.wantFound("live", e)
		assert.Empty(t, an.log.String())
	})
}

func TestAnnouncerStop(t *testing.T) {
	announcerTest(t, func(t *testing.T, an *testAnnouncer) {
		a := an.announce(testEntry("live"))
		an.announce(testEntry("stays"))
		synctest.Wait()
		a.stop()
		a.stop()
		an.wantFound("live")
		an.wantFound("stays", testEntry("stays"))
		assert.Equal(t, 1, an.running())
		puts := len(an.dir.putTimes())
		time.Sleep(35 * time.Second)
		assert.Len(t, an.dir.putTimes(), puts+3, "one entry's renewals")
	})
}

func TestAnnouncerClose(t *testing.T) {
	announcerTest(t, func(t *testing.T, an *testAnnouncer) {
		an.announce(testEntry("a"))
		an.announce(testEntry("b"))
		synctest.Wait()
		an.close()
		an.wantFound("a")
		an.wantFound("b")
		an.announce(testEntry("c")).stop()
		an.announce(testEntry("c")).update(testEntry("c"))
		an.wantFound("c")
		an.close()
	})
}

// TestAnnouncerOutage: the entry runs out while the directory is down for
// many leases, and is back soon after the directory is.
func TestAnnouncerOutage(t *testing.T) {
	announcerTest(t, func(t *testing.T, an *testAnnouncer) {
		e := testEntry("live")
		an.announce(e)
		synctest.Wait()
		an.dir.setDown(true)
		time.Sleep(10 * testTTL)
		an.wantFound("live")
		puts := an.dir.putTimes()
		for i := 1; i < len(puts); i++ {
			assert.LessOrEqual(t, puts[i]-puts[i-1], testTTL/3)
		}
		assert.Less(t, len(puts), 10*6, "attempts are spaced")
		an.dir.setDown(false)
		time.Sleep(testTTL / 3)
		an.wantFound("live", e)
		assert.Equal(t, 1, strings.Count(an.log.String(), "announcing failed"), "an outage is logged once")
		assert.Equal(t, 1, strings.Count(an.log.String(), "announced again"))
	})
}

func TestAnnouncerSurvivesFailedRenewals(t *testing.T) {
	announcerTest(t, func(_ *testing.T, an *testAnnouncer) {
		e := testEntry("live")
		an.announce(e)
		time.Sleep(9 * time.Second)
		an.dir.setDown(true)
		time.Sleep(20 * time.Second) // the lease's last second has begun
		an.dir.setDown(false)
		an.wantFound("live", e)
		time.Sleep(testTTL / 3)
		an.wantFound("live", e)
	})
}

// TestAnnouncerHangingPut: a call that hangs is given up, and delays no other
// entry.
func TestAnnouncerHangingPut(t *testing.T) {
	announcerTest(t, func(t *testing.T, an *testAnnouncer) {
		an.dir.hang("slow", true)
		an.announce(testEntry("slow"))
		an.announce(testEntry("live"))
		for range 100 {
			time.Sleep(time.Second)
			an.wantFound("live", testEntry("live"))
		}
		an.wantFound("slow")
		an.dir.hang("slow", false)
		time.Sleep(2 * testTTL / 3)
		an.wantFound("slow", testEntry("slow"))
		assert.Contains(t, an.log.String(), context.DeadlineExceeded.Error())
	})
}

func TestAnnouncerStopWhileHanging(t *testing.T) {
	announcerTest(t, func(t *testing.T, an *testAnnouncer) {
		an.dir.hang("slow", true)
		a := an.announce(testEntry("slow"))
		synctest.Wait()
		began := time.Now()
		a.stop()
		an.close()
		assert.Equal(t, removeTimeout, time.Since(began), "close waits that long for a Remove")
		assert.Contains(t, an.log.String(), "left to expire")
	})
}

func TestAnnouncerStale(t *testing.T) {
	announcerTest(t, func(t *testing.T, an *testAnnouncer) {
		e := testEntry("live")
		an.announce(e)
		synctest.Wait()
		taker := e
		taker.Node, taker.Epoch = "taker", e.Epoch+1
		require.NoError(t, an.dir.Memory.Put(t.Context(), taker, time.Hour))
		time.Sleep(10 * time.Second)
		assert.Equal(t, e, <-an.stale)
		puts := len(an.dir.putTimes())
		time.Sleep(testTTL)
		assert.Len(t, an.dir.putTimes(), puts, "announced no more")
		assert.Zero(t, an.running())
		an.wantFound("live", taker)

		e.Epoch = taker.Epoch + 1
		an.announce(e)
		an.wantFound("live", e)
	})
}

// TestAnnouncerStaleMayAnnounce: the callback may call the announcer.
func TestAnnouncerStaleMayAnnounce(t *testing.T) {
	announcerTest(t, func(t *testing.T, an *testAnnouncer) {
		e := testEntry("live")
		taker := e
		taker.Node, taker.Epoch = "taker", e.Epoch+1
		require.NoError(t, an.dir.Memory.Put(t.Context(), taker, time.Hour))
		again := e
		again.Epoch = e.Epoch + 2
		an.onStale = func(Entry) { an.announce(again) }
		an.announce(e)
		an.wantFound("live", again)
	})
}

func TestAnnouncementUpdate(t *testing.T) {
	announcerTest(t, func(t *testing.T, an *testAnnouncer) {
		e := testEntry("live")
		a := an.announce(e)
		time.Sleep(time.Second)
		e.Load, e.Tracks = 0.5, []TrackInfo{{ID: "v"}}
		a.update(e)
		e.Tracks[0].ID = "changed" // the announcement has its own
		want := testEntry("live")
		want.Load, want.Tracks = 0.5, []TrackInfo{{ID: "v"}}
		an.wantFound("live", want)
		time.Sleep(testTTL)
		an.wantFound("live", want)
		assert.Equal(t, []time.Duration{0, 1 * time.Second, 11 * time.Second, 21 * time.Second, 31 * time.Second}, an.dir.putTimes())
	})
}

// TestAnnouncementUpdateThatFails: stop removes what is there, not only what
// should be.
func TestAnnouncementUpdateThatFails(t *testing.T) {
	announcerTest(t, func(_ *testing.T, an *testAnnouncer) {
		e := testEntry("live")
		a := an.announce(e)
		synctest.Wait()
		an.dir.setDown(true)
		e.Epoch++
		a.update(e)
		synctest.Wait()
		an.dir.setDown(false)
		a.stop()
		an.wantFound("live")
	})
}

// TestAnnouncerReplaces: the newest announcement of a stream counts, and what
// is done to older ones does it no harm.
func TestAnnouncerReplaces(t *testing.T) {
	announcerTest(t, func(t *testing.T, an *testAnnouncer) {
		fetched := testEntry("live")
		fetched.Hops = 1
		published := testEntry("live")
		first := an.announce(fetched)
		an.wantFound("live", fetched)
		an.announce(published)
		first.stop()
		first.update(fetched)
		an.wantFound("live", published)
		time.Sleep(2 * testTTL)
		an.wantFound("live", published)
		assert.Equal(t, 1, an.running())
	})
}

// TestAnnouncerAgain: an entry announced right after its like was stopped is
// not taken away by the Remove of that.
func TestAnnouncerAgain(t *testing.T) {
	announcerTest(t, func(t *testing.T, an *testAnnouncer) {
		a := an.announce(testEntry("live"))
		synctest.Wait()
		an.dir.hang("live", true)
		a.stop()
		again := an.announce(testEntry("live"))
		time.Sleep(time.Second)
		an.dir.hang("live", false)
		time.Sleep(time.Second)
		an.wantFound("live", testEntry("live"))
		an.announce(testEntry("live")).stop()
		an.wantFound("live")
		again.stop()
		assert.Zero(t, an.running())
	})
}

// TestAnnouncerReplacedThenStopped: what the directory still has of the
// replaced announcement is removed as well.
func TestAnnouncerReplacedThenStopped(t *testing.T) {
	announcerTest(t, func(_ *testing.T, an *testAnnouncer) {
		e := testEntry("live")
		an.announce(e)
		synctest.Wait()
		e.Epoch++
		an.announce(e).stop()
		an.wantFound("live")
	})
}
