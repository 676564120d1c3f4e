// Package bubble counts goroutines in tests that run in a bubble of testing/synctest.
package bubble

import (
	"runtime"
	"strings"
	"testing/synctest"
)

// Goroutines waits until all other goroutines of the caller's bubble are durably blocked,
// and returns how many the bubble has then, with the caller. It must be called in a bubble.
//
// [runtime.NumGoroutine] counts those of earlier tests, too, and one that has ended a moment
// ago: [synctest.Wait] no longer waits for it then, and the runtime still has it.
func Goroutines() int {
	synctest.Wait()
	all := stacks()
	_, own, _ := strings.Cut(all, "synctest bubble ") // the caller comes first
	name, _, _ := strings.Cut(own, "]")
	return strings.Count(all, "synctest bubble "+name+"]")
}

// stacks returns the stacks of all goroutines.
func stacks() string {
	for buf := make([]byte, 1<<20); ; buf = make([]byte, 2*len(buf)) {
		if n := runtime.Stack(buf, true); n < len(buf) {
			return string(buf[:n])
		}
	}
}
