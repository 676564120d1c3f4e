// Package demo publishes a clip with a running countdown, over and over, to a
// WHIP endpoint: something to look at in a network that has no camera.
package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/signal"
)

// Config says where the clip goes.
type Config struct {
	// URL is the WHIP endpoint, such as "http://127.0.0.1:8080/whip/demo".
	// Required.
	URL string
	// Dialer carries the offer there. Required.
	Dialer signal.Dialer
	// Stream is passed to the Dialer with the offer. If zero, the URL alone
	// names the stream.
	Stream cdn.StreamID
	// Credential is the bearer token. If zero, none is sent.
	Credential string
	// Tune may change pion's settings, such as the network that media takes. If
	// zero, they stand.
	Tune func(*webrtc.SettingEngine)
	// Logger is told of connections made and lost. If zero, nobody is.
	Logger *slog.Logger
}

const (
	firstBackoff = 500 * time.Millisecond
	lastBackoff  = 5 * time.Second
)

// Publish sends the clip to cfg.URL in real time until ctx ends, and connects
// again, with growing and jittered pauses, whenever that fails. It returns
// once the session is deleted at the server and no goroutine is left: nil
// when ctx ended, an error wrapping [cdn.ErrInvalid] if cfg lacks something.
//
// Sender reports are sent and NACKs answered. Requests for a keyframe are
// read and ignored: the clip has one each second.
func Publish(ctx context.Context, cfg Config) error {
	switch {
	case cfg.URL == "":
		return fmt.Errorf("demo: %w: Config.URL is required", cdn.ErrInvalid)
	case cfg.Dialer == nil:
		return fmt.Errorf("demo: %w: Config.Dialer is required", cdn.ErrInvalid)
	}
	c, err := builtin()
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	newPublisher(cfg, c).run(ctx)
	return nil
}

// A publisher is one call of Publish. What it holds outlives its sessions, so
// that the clip and its timestamps go on after a reconnection.
type publisher struct {
	cfg   Config
	log   *slog.Logger
	clip  *clip
	pacer *pacer // nil until the first session is connected
	video *packetizer
	audio *packetizer
}

func newPublisher(cfg Config, c *clip) *publisher {
	log := cfg.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &publisher{
		cfg:   cfg,
		log:   log.With("url", cfg.URL),
		clip:  c,
		video: newVideoPacketizer(),
		audio: newAudioPacketizer(),
	}
}

// run holds one session after the other until ctx ends.
func (p *publisher) run(ctx context.Context) {
	for attempt := 0; ; attempt++ {
		connected, err := p.session(ctx)
		if ctx.Err() != nil {
			return
		}
		if connected {
			attempt = 0
		}
		pause := backoff(attempt, err)
		p.log.Warn("demo clip is not being sent", "err", err, "retry", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

// backoff returns how long to wait after the given number of failures in a
// row, the last of them err: half to all of a time that doubles, and no less
// than the server asked for.
func backoff(attempt int, err error) time.Duration {
	limit := min(firstBackoff<<min(attempt, 10), lastBackoff)
	pause := limit/2 + rand.N(limit/2+1)
	var e *cdn.Error
	if errors.As(err, &e) {
		pause = max(pause, e.RetryAfter)
	}
	return pause
}
