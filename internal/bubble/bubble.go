// Package bubble counts goroutines in tests that run in a bubble of testing/synctest.
package bubble

import (
	"runtime"
	"strings"
	"sync/atomic"
	"testing/synctest"
)

// Goroutines waits until all other goroutines of the caller's bubble are durably blocked,
// and returns how many the bubble has then, with the caller. It must be called in a bubble.
//
// [runtime.NumGoroutine] counts those of earlier tests, too, and one that has ended a moment
// ago: [synctest.Wait] no longer waits for it then, and the runtime still has it.
func Goroutines() int { return len(Stacks()) }

// Stacks is Goroutines, and returns the stack of each, the caller's first.
func Stacks() (own []string) {
	synctest.Wait()
	all := stacks()
	_, first, _ := strings.Cut(all, "synctest bubble ") // the caller comes first
	name, _, _ := strings.Cut(first, "]")
	for one := range strings.SplitSeq(all, "\n\n") {
		if strings.Contains(one, "synctest bubble "+name+"]") {
			own = append(own, one)
		}
	}
	return own
}

// room is how large a buffer was enough the last time. A buffer that is too small costs as
// much as one that is not: all goroutines are walked.
var room atomic.Int64

// stacks returns the stacks of all goroutines.
func stacks() string {
	for n := max(room.Load(), 1<<20); ; n *= 2 {
		buf := make([]byte, n)
		if used := runtime.Stack(buf, true); used < len(buf) {
			room.Store(n)
			return string(buf[:used])
		}
	}
}
