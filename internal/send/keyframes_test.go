package send

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtcp"
	"github.com/stretchr/testify/require"
)

// A viewer that is sent keyframes alone asks for them all the time, since nothing comes. That
// is passed on only if it lacks a part of the last one, whether or not that can be sent again.
func TestKeyframeRequestsForStills(t *testing.T) {
	for name, repeats := range map[string]bool{"repeats": true, "nothing is sent again": false} {
		t.Run(name, func(t *testing.T) {
			onEncoder(t, func(e *encoder) {
				e.stills()
				if !repeats {
					e.change(func(s *Sender) { s.wire.out.RTX, s.wire.stamped = 0, true })
				}
				e.requireStillsOnRequest()
			})
		})
	}
}

func (e *encoder) requireStillsOnRequest() {
	e.Helper()
	asks := func() int32 {
		before := e.layer.Asked.Load()
		e.says(&rtcp.PictureLossIndication{SenderSSRC: 9, MediaSSRC: 1})
		synctest.Wait()
		return e.layer.Asked.Load() - before
	}
	last := e.last().SequenceNumber
	time.Sleep(3 * time.Second)
	require.Zero(e, asks(), "it has all")
	e.says(nack(last-4, 0))
	require.Zero(e, asks(), "it lacks some of an older one")
	e.says(nack(last-1, 0))
	require.EqualValues(e, 1, asks())
	f := e.encode(true)
	for at := range f.packets {
		e.publish(f, at)
	}
	e.serve()
	time.Sleep(3 * time.Second)
	require.Zero(e, asks(), "it has all of the new one")
}
