package admin

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
)

// A session is ended from a node two links away within a second, for a reason.
func TestKick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.chain()
		p := w.publish("origin", "live")
		require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
		v, stays := w.view("far", "live", "viewer"), w.view("far", "live", "stays")
		require.NoError(t, v.WaitFrames(w.within(10*time.Second), 20))
		require.NoError(t, stays.WaitFrames(w.within(10*time.Second), 20))
		page, err := w.nodes["edge-2"].api.Sessions(t.Context(), SessionQuery{Action: "play", Node: "far"})
		require.NoError(t, err)
		require.Len(t, page.Sessions, 2)
		s := page.Sessions[0]
		require.NotNil(t, s.Viewer)
		require.NotZero(t, s.Viewer.Packets)

		begun := time.Now()
		o, err := w.nodes["edge-2"].api.Kick(t.Context(), "ops", s.ID, "spam\nand  more")
		require.NoError(t, err)
		require.Equal(t, Outcome{Results: []Result{{Node: "far", OK: true, Ended: 1}}}, o)
		for v.Report().Video().Bye.IsZero() {
			require.Less(t, time.Since(begun), time.Second)
			time.Sleep(10 * time.Millisecond)
		}
		require.Equal(t, "forbidden", v.Report().Video().ByeReason)
		ended := w.endings("live", cdn.ActionPlay)
		require.Len(t, ended, 1)
		require.Equal(t, s.ID, sessionID(ended[0].Session, "far"))
		require.ErrorIs(t, ended[0].Err, cdn.ErrForbidden)
		require.ErrorContains(t, ended[0].Err, "spam and more")
		require.Contains(t, w.nodes["far"].log.String(), `op=kick by=ops asked_at=edge-2 session=`+ended[0].Session+` reason="spam and more" result=done ended=1`)
		_, err = w.nodes["edge-2"].api.Kick(t.Context(), "ops", s.ID, "")
		require.ErrorIs(t, err, cdn.ErrNotFound)
		require.NoError(t, stays.WaitFrames(w.within(10*time.Second), 100), "the other one stays")

		// And a publisher.
		_, err = w.nodes["far"].api.Kick(t.Context(), "ops", w.session("far", SessionQuery{Action: "publish"}).ID, "")
		require.NoError(t, err)
		time.Sleep(time.Second)
		require.Len(t, w.endings("live", cdn.ActionPublish), 1)
	})
}

// published anew meanwhile, holds at a node that was away, and is taken back.
func TestBlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.chain()
		p := w.publish("origin", "live/one")
		require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
		v := w.view("far", "live/one", "viewer")
		require.NoError(t, v.WaitFrames(w.within(10*time.Second), 20))
		require.NoError(t, p.Stop(t.Context()))
		p = w.publish("origin", "live/one")
		require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
		v2 := w.view("edge-2", "live/one", "viewer 2")
		require.NoError(t, v2.WaitFrames(w.within(10*time.Second), 20))
		other := w.publish("origin", "live/other")
		require.NoError(t, other.WaitConnected(w.within(5*time.Second)))

		api := w.nodes["edge-2"].api
		before := len(w.endings("live/one", cdn.ActionPublish))
		o, err := api.Block(t.Context(), "ops", "live/one", Block{Reason: "copyright"})
		require.NoError(t, err)
		require.Len(t, o.Results, 5)
		for _, r := range o.Results {
			require.True(t, r.OK, r)
		}
		time.Sleep(time.Second)
		require.Len(t, w.endings("live/one", cdn.ActionPublish), before+1)
		for at := range w.nodes {
			for _, s := range w.nodes[at].Sessions() {
				require.NotEqual(t, cdn.StreamID("live/one"), s.Stream, "at %s", at)
			}
			list, err := w.nodes[at].api.Blocks(t.Context())
			require.NoError(t, err)
			require.Equal(t, []BlockedStream{{Stream: "live/one", Reason: "copyright"}}, list.Blocks)
		}
		require.Len(t, w.nodes["origin"].Sessions(), 1, "the other stream's publisher")
		_, err = cdntest.NewPublisher(t.Context(), cdntest.PublisherConfig{
			Net: w.network.Host("again", cdntest.Path{}).Net(), Dialer: w.dialer, URL: "http://origin/whip/live/one", Stream: "live/one",
			Video: &cdntest.Video{Bitrate: 300_000, FPS: 10},
		})
		require.ErrorIs(t, err, cdn.ErrForbidden)

		// A node that starts later learns of it, from its neighbor's.
		w.start("late", "far")
		time.Sleep(3 * time.Second)
		list, err := w.nodes["late"].api.Blocks(t.Context())
		require.NoError(t, err)
		require.Len(t, list.Blocks, 1)

		_, err = w.nodes["far"].api.Unblock(t.Context(), "ops", "live/one")
		require.NoError(t, err)
		p = w.publish("origin", "live/one")
		require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
		time.Sleep(30 * time.Second)
		for at := range w.nodes {
			list, err := w.nodes[at].api.Blocks(t.Context())
			require.NoError(t, err)
			require.Empty(t, list.Blocks, "no node brings it back")
		}
	})
}

// A publisher that comes while the block is on its way does not slip through.
func TestBlockWhileItIsPublishedAnew(t *testing.T) {
	for offset := range 4 {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.start("origin")
			w.start("edge", "origin")
			time.Sleep(5 * time.Second)
			v := w.view("edge", "live", "viewer") // waits for it
			ctx, cancel := context.WithCancel(t.Context())
			var publishing sync.WaitGroup
			for i := range 2 {
				host := w.network.Host(string(rune('a'+i)), cdntest.Path{Delay: 5 * time.Millisecond})
				publishing.Go(func() {
					for ctx.Err() == nil {
						p, err := cdntest.NewPublisher(ctx, cdntest.PublisherConfig{
							Net: host.Net(), Dialer: w.dialer, URL: "http://origin/whip/live", Stream: "live", Video: &cdntest.Video{Bitrate: 300_000, FPS: 10},
						})
						if err == nil {
							time.Sleep(30 * time.Millisecond)
							p.Kill()
						}
						time.Sleep(10 * time.Millisecond)
					}
				})
			}
			time.Sleep(200*time.Millisecond + time.Duration(offset)*13*time.Millisecond)
			_, err := w.nodes["edge"].api.Block(t.Context(), "ops", "live", Block{})
			require.NoError(t, err)
			time.Sleep(time.Second)
			for at := range w.nodes {
				require.Empty(t, w.nodes[at].Sessions(), "at %s", at)
			}
			cancel()
			publishing.Wait()
			v.Kill()
		})
	}
}

// A node that was cut off when a block was taken back learns of it when it is back.
func TestABlockIsTakenBackWhileANodeIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start("origin")
		w.start("edge", "origin")
		time.Sleep(5 * time.Second)
		until := time.Now().Add(time.Hour)
		_, err := w.nodes["origin"].api.Block(t.Context(), "ops", "live", Block{Until: &until})
		require.NoError(t, err)
		w.nodes["edge"].host.Cut()
		time.Sleep(10 * time.Second)
		o, err := w.nodes["origin"].api.Unblock(t.Context(), "ops", "live")
		require.NoError(t, err)
		require.Len(t, o.Results, 2)
		require.False(t, o.Results[0].OK)
		require.NotEmpty(t, o.Results[0].Problem)
		list, err := w.nodes["edge"].api.Blocks(t.Context())
		require.NoError(t, err)
		require.Len(t, list.Blocks, 1)
		require.Equal(t, until.Unix(), list.Blocks[0].Until.Unix())
		w.nodes["edge"].host.Heal()
		time.Sleep(20 * time.Second)
		list, err = w.nodes["edge"].api.Blocks(t.Context())
		require.NoError(t, err)
		require.Empty(t, list.Blocks)
	})
}

// A node that is drained through another one leads its viewers away, and stays if told so.
func TestDrainThroughAnotherNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.chain()
		p := w.publish("origin", "live")
		require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
		v := w.view("far", "live", "viewer")
		require.NoError(t, v.WaitFrames(w.within(10*time.Second), 20))
		_, err := w.nodes["origin"].api.Drain(t.Context(), "ops", "far", Drain{TimeoutSeconds: 10})
		require.NoError(t, err)
		time.Sleep(2 * time.Second)
		require.True(t, w.reports("origin")["far"].Node.Draining)
		require.True(t, w.nodes["far"].Draining())
		time.Sleep(10 * time.Second)
		ended := w.endings("live", cdn.ActionPlay)
		require.Len(t, ended, 1)
		require.ErrorIs(t, ended[0].Err, cdn.ErrDraining)
		_, err = w.nodes["origin"].api.Undrain(t.Context(), "ops", "far")
		require.NoError(t, err)
		require.False(t, w.nodes["far"].Draining())
		_, err = w.nodes["origin"].api.Drain(t.Context(), "ops", "nobody", Drain{})
		require.ErrorIs(t, err, cdn.ErrNotFound)
	})
}

// The limits of a node are read and set through another one.
func TestLimitsThroughAnotherNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.chain()
		api := w.nodes["origin"].api
		l, err := api.Limits(t.Context(), "far")
		require.NoError(t, err)
		require.Equal(t, 5000, l.Sessions)
		viewers, wrong := 7, -1
		changed, err := api.SetLimits(t.Context(), "ops", "far", LimitsChange{Viewers: &viewers})
		require.NoError(t, err)
		l.Viewers = 7
		require.Equal(t, l, changed)
		require.Equal(t, 7, w.nodes["far"].Limits().Viewers)
		require.Zero(t, w.nodes["edge-1"].Limits().Viewers)
		_, err = api.SetLimits(t.Context(), "ops", "far", LimitsChange{Viewers: &wrong})
		require.ErrorIs(t, err, cdn.ErrInvalid)
		require.Equal(t, 7, w.nodes["far"].Limits().Viewers)
		require.Contains(t, w.nodes["far"].log.String(), `op=set-limits by=ops asked_at=origin limits="{\"viewers\":7}" result=done`)
		require.Contains(t, w.nodes["far"].log.String(), `result=invalid`)
	})
}

// A grant that is revoked ends its sessions at all nodes within a second, and is refused.
func TestRevoke(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.chain()
		p := w.publish("origin", "live")
		require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
		v, stays := w.view("far", "live", "token-1"), w.view("far", "live", "token-2")
		require.NoError(t, v.WaitFrames(w.within(10*time.Second), 20))
		require.NoError(t, stays.WaitFrames(w.within(10*time.Second), 20))
		api := w.nodes["edge-2"].api
		s := w.session("edge-2", SessionQuery{Subject: "subject of token-1"})
		require.Equal(t, "token-1", s.Grant)
		require.Equal(t, s.ID, w.session("edge-2", SessionQuery{Tag: "tag of token-1"}).ID)

		o, err := api.Revoke(t.Context(), "ops", "token-1", Revocation{Reason: "leaked"})
		require.NoError(t, err)
		require.Len(t, o.Results, 5)
		time.Sleep(time.Second)
		ended := w.endings("live", cdn.ActionPlay)
		require.Len(t, ended, 1)
		require.Equal(t, "token-1", ended[0].Grant)
		_, err = cdntest.NewViewer(t.Context(), cdntest.ViewerConfig{
			Net: w.network.Host("again", cdntest.Path{}).Net(), Dialer: w.dialer, URL: "http://edge-1/whep/live", Stream: "live", Credential: "token-1",
		})
		require.ErrorIs(t, err, cdn.ErrForbidden)
		require.NoError(t, stays.WaitFrames(w.within(10*time.Second), 100), "the other one stays")
		list, err := w.nodes["origin"].api.Blocks(t.Context())
		require.NoError(t, err)
		require.Len(t, list.Revocations, 1)
		require.Equal(t, "leaked", list.Revocations[0].Reason)
		require.WithinDuration(t, time.Now().Add(revokedFor), *list.Revocations[0].Until, time.Minute)
		_, err = api.Revoke(t.Context(), "ops", "", Revocation{})
		require.ErrorIs(t, err, cdn.ErrInvalid)
		past := time.Now().Add(-time.Hour)
		_, err = api.Revoke(t.Context(), "ops", "token-3", Revocation{Until: &past})
		require.ErrorIs(t, err, cdn.ErrInvalid)
	})
}
