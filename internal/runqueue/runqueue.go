// Package runqueue says how long the threads of this process have waited for a CPU, whoever
// had it. With that a test with a bar in real time does not take a busy machine for a fault.
package runqueue

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Waited returns for how long threads of this process have been ready to run and had no CPU,
// all of them together. It is zero where the system does not say (Linux does).
func Waited() (sum time.Duration) {
	threads, _ := filepath.Glob("/proc/self/task/*/schedstat") // the pattern is well formed
	for _, file := range threads {
		b, err := os.ReadFile(file)
		if err != nil {
			continue // the thread has ended
		}
		var ran, waited time.Duration
		if _, err := fmt.Sscan(string(b), &ran, &waited); err == nil {
			sum += waited
		}
	}
	return sum
}
