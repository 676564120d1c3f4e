package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/deltacdn/delta/cdn"
)

// A file takes the frames of one track, each with its time since the recording's start.
type file interface {
	write(at time.Duration, frame []byte) error
	io.Closer
}

// record writes each track of s that it can to a file of its own, until ctx or the stream
// ends.
func record(ctx context.Context, s *cdn.Stream, to string) error {
	var wg sync.WaitGroup
	errs := make(chan error, len(s.Tracks()))
	start := newClock(s)
	for _, t := range s.Tracks() {
		make, suffix := newIVF, ".ivf"
		if t.Info().Kind == cdn.Audio {
			make, suffix = newOgg, ".ogg"
		}
		f, err := create(to+suffix, t.Info().Codec, make)
		if err != nil {
			fmt.Println("not recorded:", err)
			continue
		}
		wg.Go(func() { errs <- errors.Join(copyFrames(ctx, t, f, start), f.Close()) })
	}
	wg.Wait()
	close(errs)
	var all error
	for err := range errs {
		all = errors.Join(all, err)
	}
	return all
}

func create(name string, c cdn.Codec, make func(io.WriteSeeker, cdn.Codec) (file, error)) (file, error) {
	out, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	f, err := make(out, c)
	if err != nil {
		_ = out.Close()
		return nil, errors.Join(err, os.Remove(name))
	}
	return closing{f, out}, nil
}

// closing closes the file of the system, too.
type closing struct {
	file
	out io.Closer
}

func (c closing) Close() error { return errors.Join(c.file.Close(), c.out.Close()) }

// copyFrames writes a track's frames from the recording's start on.
func copyFrames(ctx context.Context, t *cdn.Track, to file, start *clock) error {
	r, err := t.Reader(cdn.ReaderConfig{Keyframe: true})
	if err != nil {
		return err
	}
	defer r.Close()
	times := times{clock: start, info: t.Info()}
	for {
		f, err := r.ReadFrame(ctx)
		switch {
		case isOver(err):
			fmt.Printf("%s: %d packets lost\n", t.Info().ID, r.Lost())
			return nil
		case err != nil:
			return err
		}
		if at, ok := times.of(f); ok {
			if err := to.write(at, f.Data); err != nil {
				return err
			}
		}
	}
}

// isOver reports whether a recording that ended with err is complete: the stream has ended
// or has not come back, or ctx has ended.
func isOver(err error) bool {
	return errors.Is(err, cdn.ErrEnded) || errors.Is(err, cdn.ErrNotFound) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// A clock is when the recording starts, by the publisher's clock: with the first frame of
// video or, of a stream without, of sound.
type clock struct {
	kind cdn.Kind // of the track that starts it

	mu sync.Mutex
	at time.Time
}

func newClock(s *cdn.Stream) *clock {
	c := &clock{kind: cdn.Audio}
	for _, t := range s.Tracks() {
		if t.Info().Kind == cdn.Video {
			c.kind = cdn.Video
		}
	}
	return c
}

// start returns when the recording starts, zero: not yet. A frame of one kind is there.
func (c *clock) start(kind cdn.Kind, f cdn.Frame) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at.IsZero() && kind == c.kind {
		c.at = f.Time
	}
	return c.at
}

// times are those of one track. From the first frame on its timestamps tell.
type times struct {
	clock *clock
	info  cdn.TrackInfo
	begun bool
	first uint64        // timestamp
	at    time.Duration // of that one
}

// of returns the time of a frame since the recording's start, and false for one that is
// earlier.
func (t *times) of(f cdn.Frame) (time.Duration, bool) {
	if !t.begun {
		start := t.clock.start(t.info.Kind, f)
		if start.IsZero() || f.Time.Before(start) {
			return 0, false
		}
		t.begun, t.first, t.at = true, f.Timestamp, f.Time.Sub(start)
	}
	ticks := float64(int64(f.Timestamp - t.first))
	return t.at + time.Duration(ticks/float64(t.info.Codec.ClockRate)*float64(time.Second)), true
}
