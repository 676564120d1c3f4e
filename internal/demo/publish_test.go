package demo

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
)

func TestPublishRefusesAnIncompleteConfig(t *testing.T) {
	err := Publish(t.Context(), Config{Dialer: &server{}})
	assert.ErrorIs(t, err, cdn.ErrInvalid)
	err = Publish(t.Context(), Config{URL: "http://origin/whip/demo"})
	assert.ErrorIs(t, err, cdn.ErrInvalid)
}

// A stock PeerConnection receives the clip for longer than it lasts: timestamps
// and numbers go on, and frames come when they are due.
func TestPublishGoesOnWhereTheClipRepeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		ctx, cancel := context.WithCancel(t.Context())
		ended := start(ctx, t, s)
		time.Sleep(23 * time.Second) // of the bubble's time
		cancel()
		<-ended

		require.Len(t, s.sessions, 1)
		session := s.sessions[0]
		assert.Equal(t, "token", session.offer.Credential)
		assert.Equal(t, cdn.StreamID("demo"), session.offer.Stream)
		assert.Equal(t, 1, session.closed, "the session is deleted once")

		video, audio := session.received("video"), session.received("audio")
		assert.Greater(t, len(video.frames), 22*30, "more frames than the clip has")
		assertSteps(t, "video sequence number", video.sequences, 1, 1<<16)
		assertSteps(t, "video timestamp", video.frames, 3000, 1<<32)
		assert.Greater(t, len(audio.frames), 22*50)
		assertSteps(t, "audio sequence number", audio.sequences, 1, 1<<16)
		assertSteps(t, "audio timestamp", audio.frames, 960, 1<<32)
		assert.LessOrEqual(t, video.maxDrift(videoClock), time.Millisecond)
		assert.LessOrEqual(t, audio.maxDrift(audioClock), time.Millisecond)
	})
}

func TestPublishSendsReportsAndAnswersNACK(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		s.dropEvery = 50
		ctx, cancel := context.WithCancel(t.Context())
		ended := start(ctx, t, s)
		time.Sleep(5 * time.Second)
		cancel()
		<-ended

		video, audio := s.sessions[0].received("video"), s.sessions[0].received("audio")
		assert.GreaterOrEqual(t, video.reports, 3)
		assert.GreaterOrEqual(t, audio.reports, 3)
		assert.Positive(t, s.dropped.Load(), "nothing was lost: the test tests nothing")
		// The last packets before the end have no time to be sent again.
		missing := video.missing(len(video.sequences) - 30)
		assert.Empty(t, missing, "lost packets are sent again")
	})
}

func TestPublishConnectsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		s.refuse = []error{errors.New("not yet"), &cdn.Error{Op: "publish", Err: cdn.ErrOverLimit, RetryAfter: 7 * time.Second}}
		ctx, cancel := context.WithCancel(t.Context())
		began := time.Now()
		ended := start(ctx, t, s)

		first := <-s.connected
		assert.GreaterOrEqual(t, time.Since(began), 7*time.Second, "Retry-After is heeded")
		time.Sleep(3500 * time.Millisecond)
		lost := time.Now()
		require.NoError(t, first.pc.Close())

		second := <-s.connected
		assert.Less(t, time.Since(lost), 2*time.Second)
		time.Sleep(3 * time.Second)
		cancel()
		<-ended

		assert.Equal(t, 1, first.closed)
		assert.Equal(t, 1, second.closed)
		before, after := first.received("video"), second.received("video")
		require.NotEmpty(t, after.frames)
		assert.True(t, after.beginsWithKeyframe)
		gap := uint32(after.frames[0]) - uint32(before.frames[len(before.frames)-1])
		assert.Less(t, gap, uint32(5*videoClock), "the clip goes on, it does not begin again")
		assert.Positive(t, gap)
	})
}

// A server that answers and is then never there must not hold Publish up, nor
// one whose signaling hangs.
func TestPublishEndsWhileConnecting(t *testing.T) {
	for name, setup := range map[string]func(*server){
		"dial hangs":     func(s *server) { s.hang = true },
		"no connection":  func(s *server) { s.unreachable = true },
		"always refused": func(s *server) { s.refuseAll = errors.New("no") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t)
				setup(s)
				ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
				defer cancel()
				<-start(ctx, t, s)
				assert.Greater(t, s.dials, 1, "it is tried again")
				assert.LessOrEqual(t, s.dials, 15, "and not too often")
			})
		})
	}
}

func TestBackoff(t *testing.T) {
	const ms = time.Millisecond
	for _, test := range []struct {
		attempt  int
		min, max time.Duration
	}{
		{0, 250 * ms, 500 * ms},
		{1, 500 * ms, 1000 * ms},
		{3, 2000 * ms, 4000 * ms},
		{4, 2500 * ms, 5000 * ms},
		{1 << 30, 2500 * ms, 5000 * ms},
	} {
		for range 100 {
			got := backoff(test.attempt, errors.New("x"))
			require.GreaterOrEqual(t, got, test.min)
			require.LessOrEqual(t, got, test.max)
		}
	}
	asked := &cdn.Error{Err: cdn.ErrOverLimit, RetryAfter: time.Minute}
	assert.Equal(t, time.Minute, backoff(0, asked))
}
