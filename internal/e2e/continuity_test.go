package delta_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/signal"
)

// byToken recognises people by the token that they show.
var byToken = cdn.AuthorizerFunc(func(_ context.Context, r cdn.AuthRequest) (cdn.Grant, error) {
	if r.Credential == "" && r.Action == cdn.ActionPublish {
		return cdn.Grant{}, cdn.ErrUnauthorized
	}
	return cdn.Grant{Subject: r.Credential}, nil
})

func withAuthorizer(c *cdn.Config) { c.Authorizer = byToken }

// A publisher that comes back takes its stream over, and a viewer behind two
// hops sees one stream that goes on: numbers, timestamps and bytes.
func TestTakeoverIsOneStreamToViewers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		path := cdntest.Path{Delay: ms(5)}
		o := w.origin("origin", path, origin.Config{}, withAuthorizer)
		r := w.relay("relay", path, o)
		e := w.edge("edge", path, edge.Config{}, r)
		first := w.publish(o, "live", path, cdntest.PublisherConfig{Credential: "ada", Seed: 1})
		require.NoError(t, first.WaitConnected(w.within(5*time.Second)))
		v := w.view(e, "live", "viewer", path, cdntest.ViewerConfig{})
		require.NoError(t, v.WaitFrames(w.within(5*time.Second), 60))

		_, err := cdntest.NewPublisher(w.within(5*time.Second), cdntest.PublisherConfig{
			Net: w.network.Host("bob", path).Net(), Dialer: w.dialer, URL: o.url() + "/whip/live", Stream: "live", Credential: "bob",
		})
		require.ErrorIs(t, err, cdn.ErrAlreadyPublishing)

		second := w.publishFrom(o, "live", cdntest.PublisherConfig{
			Net: w.network.Host("second", path).Net(), Credential: "ada", Seed: 2,
		})
		require.NoError(t, second.WaitConnected(w.within(5*time.Second)))
		<-first.Done() // it is told to go
		require.NoError(t, v.WaitFrames(w.within(5*time.Second), 200))

		r2 := v.Report().Video()
		require.Zero(t, r2.FaultCount, r2.Faults)
		require.Zero(t, r2.Missing+r2.TimestampJumps+r2.Undecodable()+r2.Duplicates)
		require.Equal(t, uint32(1), r2.Frames[0].Seed)
		require.Equal(t, uint32(2), r2.Frames[len(r2.Frames)-1].Seed)
		require.Less(t, r2.Gap(), ms(300))
		st := o.Stats().Streams[0]
		require.Equal(t, uint64(2), st.Epoch)
	})
}

// A takeover that comes to nothing leaves the stream and its publisher alone:
// one that never connects, and one that thinks better of it.
func TestTakeoverThatFailsChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		path := cdntest.Path{Delay: ms(5)}
		o := w.origin("origin", path, origin.Config{}, withAuthorizer)
		first := w.publish(o, "live", path, cdntest.PublisherConfig{Credential: "ada", Seed: 1})
		require.NoError(t, first.WaitConnected(w.within(5*time.Second)))
		v := w.view(o, "live", "viewer", path, cdntest.ViewerConfig{})
		require.NoError(t, v.WaitFrames(w.within(5*time.Second), 30))

		cut := cdntest.Path{Loss: 1}
		w.publishFrom(o, "live", cdntest.PublisherConfig{Net: w.network.Host("cut off", cut).Net(), Credential: "ada"})
		time.Sleep(30 * time.Second) // it is given up after 20
		rueful := w.publishFrom(o, "live", cdntest.PublisherConfig{Net: w.network.Host("rueful", cut).Net(), Credential: "ada"})
		require.NoError(t, rueful.Stop(w.within(time.Second)))
		time.Sleep(10 * time.Second)
		_, err := o.origin.Offer(t.Context(), signal.Offer{Stream: "live", Credential: "ada", SDP: "v=0\r\n"})
		require.ErrorIs(t, err, cdn.ErrInvalid)

		frames := len(v.Report().Video().Frames)
		require.NoError(t, v.WaitFrames(w.within(5*time.Second), frames+30))
		r := v.Report().Video()
		require.Zero(t, r.FaultCount+r.Missing+r.TimestampJumps, r.Faults)
		require.Less(t, r.Gap(), ms(60), "a frame's time, and what the last packets of a keyframe wait for the pacer")

		second := w.publishFrom(o, "live", cdntest.PublisherConfig{Net: w.network.Host("second", path).Net(), Credential: "ada", Seed: 2})
		require.NoError(t, second.WaitConnected(w.within(5*time.Second)))
		<-first.Done()
		require.NoError(t, second.Stop(w.within(time.Second)))
		require.NoError(t, v.WaitBye(w.within(time.Second)))
		require.Equal(t, "ended", v.Report().Video().ByeReason, "and the last one's goodbye ends the stream")
	})
}

// Extension ids are the stream's, whoever sends it: what a newcomer offers
// besides is left out, and what it has at another place keeps its name.
func TestTakeoverKeepsHeaderExtensions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const (
			capture     = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time"
			orientation = "urn:3gpp:video-orientation"
			other       = "http://www.webrtc.org/experiments/rtp-hdrext/video-content-type"
		)
		w := newWorld(t)
		path := cdntest.Path{Delay: ms(5)}
		o := w.origin("origin", path, origin.Config{Takeover: origin.TakeoverAlways})
		first := w.publish(o, "live", path, cdntest.PublisherConfig{
			Seed: 1, Video: &cdntest.Video{Extensions: []string{capture, orientation}},
		})
		require.NoError(t, first.WaitConnected(w.within(5*time.Second)))
		v := w.view(o, "live", "viewer", path, cdntest.ViewerConfig{Extensions: []string{capture, orientation, other}})
		require.NoError(t, v.WaitFrames(w.within(5*time.Second), 30))
		before := v.Report().Video().Extensions

		second := w.publishFrom(o, "live", cdntest.PublisherConfig{
			Net: w.network.Host("second", path).Net(), Seed: 2, Video: &cdntest.Video{Extensions: []string{other, orientation}},
		})
		require.NoError(t, second.WaitConnected(w.within(5*time.Second)))
		<-first.Done()
		require.NoError(t, v.WaitFrames(w.within(5*time.Second), 100))
		after := v.Report().Video().Extensions
		require.Len(t, after[capture], 8, "the last of the first publisher's")
		require.NotEqual(t, before[orientation], after[orientation])
		require.Empty(t, after[other])
	})
}

// A publisher that is lost without a word may come back within the grace; its
// viewers stay.
func TestLostPublisherComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		path := cdntest.Path{Delay: ms(5)}
		o := w.origin("origin", path, origin.Config{Grace: 10 * time.Second})
		e := w.edge("edge", path, edge.Config{}, o)
		first := w.publish(o, "live", path, cdntest.PublisherConfig{Seed: 1})
		require.NoError(t, first.WaitConnected(w.within(5*time.Second)))
		v := w.view(e, "live", "viewer", path, cdntest.ViewerConfig{})
		require.NoError(t, v.WaitFrames(w.within(5*time.Second), 60))
		first.Kill()
		time.Sleep(12 * time.Second) // it is missed after 10
		second := w.publishFrom(o, "live", cdntest.PublisherConfig{Net: w.network.Host("second", path).Net(), Seed: 2})
		require.NoError(t, second.WaitConnected(w.within(5*time.Second)))
		require.NoError(t, v.WaitFrames(w.within(15*time.Second), 150))
		r := v.Report().Video()
		require.Zero(t, r.FaultCount, r.Faults)
		require.Zero(t, r.Missing+r.TimestampJumps)
		require.Equal(t, uint32(2), r.Frames[len(r.Frames)-1].Seed)
	})
}

// The end of a stream is told at once, through every hop, and with its reason.
func TestEndIsToldAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		path := cdntest.Path{Delay: ms(5)}
		o := w.origin("origin", path, origin.Config{})
		r := w.relay("relay", path, o)
		e := w.edge("edge", path, edge.Config{AnswerAfter: ms(100)}, r) // so that a refusal is one
		p := w.publish(o, "live", path, cdntest.PublisherConfig{})
		require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
		v := w.view(e, "live", "viewer", path, cdntest.ViewerConfig{})
		require.NoError(t, v.WaitFrames(w.within(5*time.Second), 30))
		begun := time.Now()
		require.NoError(t, p.Stop(w.within(time.Second)))
		require.NoError(t, v.WaitBye(w.within(5*time.Second)))
		bye := v.Report().Video()
		require.Equal(t, "ended", bye.ByeReason)
		require.LessOrEqual(t, bye.Bye.Sub(begun), ms(60), "three paths of 10 ms and no waiting")
		synctest.Wait()
		for len(w.events) > 0 {
			if s, ok := (<-w.events).(cdn.SessionEnded); ok && s.Action != cdn.ActionPublish {
				require.ErrorIs(t, s.Err, cdn.ErrEnded)
			}
		}
		_, err := cdntest.NewViewer(w.within(5*time.Second), cdntest.ViewerConfig{
			Net: w.network.Host("late", path).Net(), Dialer: w.dialer, URL: e.url() + "/whep/live", Stream: "live",
		})
		require.ErrorIs(t, err, cdn.ErrNotFound)
	})
}

// A relay that loses its upstream without a word fetches again, and the viewers
// stay.
func TestFetchIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		path := cdntest.Path{Delay: ms(5)}
		o := w.origin("origin", path, origin.Config{})
		e := w.edge("edge", path, edge.Config{}, o)
		viewerHost := w.network.Host("viewer", path)
		w.network.Between(e.host, viewerHost, path)
		p := w.publish(o, "live", path, cdntest.PublisherConfig{})
		require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
		v := w.view(e, "live", "viewer", path, cdntest.ViewerConfig{})
		require.NoError(t, v.WaitFrames(w.within(5*time.Second), 30))
		w.network.Between(o.host, e.host, cdntest.Path{Loss: 1})
		time.Sleep(12 * time.Second)
		w.network.Between(o.host, e.host, path)
		before := len(v.Report().Video().Frames)
		require.NoError(t, v.WaitFrames(w.within(20*time.Second), before+100))
		r := v.Report().Video()
		require.Zero(t, r.FaultCount, r.Faults)
		require.Zero(t, r.TimestampJumps)
	})
}

// Nodes that are each other's point of entry do not fetch in circles.
func TestFetchLoopIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.node("a", cdntest.Path{}), w.node("b", cdntest.Path{})
		w.fetch(a, b)
		w.fetch(b, a)
		w.serveNodes(a, a.relay)
		w.serveNodes(b, b.relay)
		sub, err := a.relay.Open(context.Background(), cdn.Request{Stream: "live"})
		require.NoError(t, err)
		defer sub.Close()
		err = sub.Stream().Ready(w.within(30 * time.Second))
		require.ErrorIs(t, err, cdn.ErrUpstream, "that is no fault of the viewer's, and does not mean that nobody publishes")
		require.ErrorContains(t, err, "circle")
	})
}
