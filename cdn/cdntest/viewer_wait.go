package cdntest

import (
	"context"
	"fmt"

	"github.com/deltacdn/delta/cdn"
)

// WaitConnected waits until media can flow.
func (v *Viewer) WaitConnected(ctx context.Context) error { return v.waitConnected(ctx) }

// Done is closed when the connection has failed or was closed, by either side.
func (v *Viewer) Done() <-chan struct{} { return v.ended }

// WaitFrames waits until n whole frames of video have come, or of audio if the
// viewer wants no video. Its error says how many have.
func (v *Viewer) WaitFrames(ctx context.Context, n int) error {
	kind := v.mainKind()
	err := v.waitUntil(ctx, func() bool { return v.framesLocked(kind) >= n })
	if err != nil {
		v.mu.Lock()
		defer v.mu.Unlock()
		return fmt.Errorf("cdntest: %d of %d frames of %v: %w", v.framesLocked(kind), n, kind, err)
	}
	return nil
}

// WaitBye waits until the server has said that all tracks ended (RFC 3550
// section 6.6).
func (v *Viewer) WaitBye(ctx context.Context) error {
	return v.waitUntil(ctx, func() bool {
		for _, t := range v.tracks {
			if t.report.Bye.IsZero() {
				return false
			}
		}
		return len(v.tracks) > 0
	})
}

// waitUntil waits until done, which is called with mu held, returns true.
func (v *Viewer) waitUntil(ctx context.Context, done func() bool) error {
	for {
		v.mu.Lock()
		ok, changed := done(), v.changed
		v.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-v.ended:
			return cdn.ErrClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (v *Viewer) mainKind() cdn.Kind {
	for _, k := range v.config.Kinds {
		if k == cdn.Video {
			return cdn.Video
		}
	}
	return cdn.Audio
}

func (v *Viewer) framesLocked(k cdn.Kind) int {
	var n int
	for _, t := range v.tracks {
		if t.report.Kind == k {
			n += len(t.report.Frames)
		}
	}
	return n
}
