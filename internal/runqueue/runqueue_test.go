package runqueue

import (
	"os"
	"runtime"
	"sync"
	"testing"
	"time"
)

// More threads than there are CPUs wait for one another.
func TestWaited(t *testing.T) {
	if _, err := os.Stat("/proc/self/schedstat"); err != nil {
		if Waited() != 0 {
			t.Fatal("a wait of which nobody tells")
		}
		return
	}
	before := Waited()
	n := runtime.NumCPU() + 1
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(n))
	deadline := time.Now().Add(time.Minute)
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			for i := 1; ; i++ {
				if i%(1<<20) == 0 && (Waited()-before > 50*time.Millisecond || time.Now().After(deadline)) {
					return
				}
			}
		})
	}
	wg.Wait()
	if waited := Waited() - before; waited < 50*time.Millisecond {
		t.Fatalf("%d threads of %d CPUs waited for %v", n, runtime.NumCPU(), waited)
	}
}
