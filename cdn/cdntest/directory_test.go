package cdntest_test

import (
	"cmp"
	"context"
	"iter"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
)

func TestDirectory(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for real leases")
	}
	cdntest.TestDirectory(t, func(*testing.T) cdn.Directory { return cdn.NewMemory() })
}

func TestDirectoryInBubble(t *testing.T) {
	cdntest.TestDirectoryInBubble(t, func(*testing.T) cdn.Directory { return cdn.NewMemory() })
}

// TestDirectoryWithoutWatch tests that Watch is optional.
func TestDirectoryWithoutWatch(t *testing.T) {
	cdntest.TestDirectoryInBubble(t, func(*testing.T) cdn.Directory {
		return struct{ cdn.Directory }{cdn.NewMemory()}
	})
}

// faults are directories that break the contract, and the subtests that are to
// notice.
var faults = map[string]struct {
	dir     func() cdn.Directory
	notices []string
}{
	"no fencing":     {func() cdn.Directory { return newFaulty(noFencing) }, []string{"StaleEpochRefused", "HigherEpochRemovesLower", "ConcurrentEpochs"}},
	"no lease":       {func() cdn.Directory { return newFaulty(noLease) }, []string{"LeaseRunsOut", "RenewalKeeps", "WatchTellsExpiry"}},
	"first lease":    {func() cdn.Directory { return newFaulty(firstLease) }, []string{"RenewalKeeps", "PutReplaces"}},
	"remove blindly": {func() cdn.Directory { return newFaulty(removeBlindly) }, []string{"RemoveOwnEpochOnly"}},
	"wrong order":    {func() cdn.Directory { return newFaulty(wrongOrder) }, []string{"NearestFirst"}},
	"no context":     {func() cdn.Directory { return newFaulty(noContext) }, []string{"EndedContext"}},
	"one stream":     {func() cdn.Directory { return newFaulty(oneStream) }, []string{"StreamsApart"}},
	"deaf watch":     {func() cdn.Directory { return newFaulty(deafWatch) }, []string{"WatchTellsChanges"}},
	"static":         {func() cdn.Directory { return cdn.Static("https://o.example.com") }, []string{"FindNothing", "PutFind"}},
}

const faultVar = "DELTA_CDNTEST_FAULT"

// TestFaultIsNoticed runs this test binary once for each fault.
func TestFaultIsNoticed(t *testing.T) {
	if name := os.Getenv(faultVar); name != "" {
		cdntest.TestDirectoryInBubble(t, func(*testing.T) cdn.Directory { return faults[name].dir() })
		return
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFaultIsNoticed$", "-test.v=true")
			cmd.Env = append(os.Environ(), faultVar+"="+name)
			out, err := cmd.CombinedOutput()
			require.Error(t, err, "%s", out)
			for _, notice := range fault.notices {
				assert.True(t, strings.Contains(string(out), "--- FAIL: TestFaultIsNoticed/"+notice),
					"%s passed:\n%s", notice, out)
			}
		})
	}
}

type fault int

const (
	noFencing fault = iota
	noLease
	firstLease
	removeBlindly
	wrongOrder
	noContext
	oneStream
	deafWatch
)

// faulty is a Memory with one fault.
type faulty struct {
	*cdn.Memory
	fault fault
}

func newFaulty(f fault) *faulty { return &faulty{Memory: cdn.NewMemory(), fault: f} }

func (f *faulty) Put(ctx context.Context, e cdn.Entry, ttl time.Duration) error {
	switch f.fault {
	case noFencing:
		e.Publication += string(e.Node) + time.Duration(e.Epoch).String()
	case noLease:
		ttl = time.Hour
	case firstLease:
		entries, _ := f.Find(ctx, e.Stream)
		if slices.ContainsFunc(entries, func(o cdn.Entry) bool { return o.Node == e.Node && o.Epoch == e.Epoch }) {
			return nil
		}
	case noContext:
		ctx = context.WithoutCancel(ctx)
	case oneStream:
		e.Stream = "one"
	}
	return f.Memory.Put(ctx, e, ttl)
}

func (f *faulty) Remove(ctx context.Context, e cdn.Entry) error {
	switch f.fault {
	case removeBlindly:
		entries, _ := f.Find(ctx, e.Stream)
		for _, o := range entries {
			if o.Node == e.Node {
				e = o
			}
		}
	case noContext:
		ctx = context.WithoutCancel(ctx)
	}
	return f.Memory.Remove(ctx, e)
}

func (f *faulty) Find(ctx context.Context, id cdn.StreamID) ([]cdn.Entry, error) {
	switch f.fault {
	case noContext:
		ctx = context.WithoutCancel(ctx)
	case oneStream:
		id = "one"
	}
	entries, err := f.Memory.Find(ctx, id)
	if f.fault == wrongOrder {
		slices.SortFunc(entries, func(a, b cdn.Entry) int { return cmp.Compare(b.Hops, a.Hops) })
	}
	return entries, err
}

func (f *faulty) Watch(ctx context.Context, id cdn.StreamID) iter.Seq2[[]cdn.Entry, error] {
	if f.fault != deafWatch {
		return f.Memory.Watch(ctx, id)
	}
	return f.Memory.Watch(context.WithoutCancel(ctx), id)
}
