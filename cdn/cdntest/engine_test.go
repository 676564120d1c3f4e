package cdntest_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
)

func TestDirectoryEngineInBubble(t *testing.T) {
	cdntest.TestDirectoryEngineInBubble(t, func(t *testing.T) cdntest.Engine {
		e := newBus(noFault).engine()
		if !strings.HasSuffix(t.Name(), "/RestartedEmpty") {
			e.Streams = 200 // the race detector takes its time
		}
		return e
	})
}

// The same in real time, with short spans, as for a server.
func TestDirectoryEngine(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for real leases")
	}
	cdntest.TestDirectoryEngine(t, func(*testing.T) cdntest.Engine {
		e := newBus(noFault).engine()
		e.Lease, e.Away, e.Streams = 5*time.Second, 6*time.Second, 40
		return e
	})
}

// The views of a bus keep the contract of a single directory, too.
func TestBus(t *testing.T) {
	cdntest.TestDirectoryInBubble(t, func(*testing.T) cdn.Directory { return newBus(noFault).open(0) })
}

// A busFault is what a bus, or the views on it, do wrong.
type busFault int

const (
	noFault         busFault = iota
	islands                  // nobody is told what others put
	noSnapshot               // a node that starts waits for the next renewals
	noFences                 // epochs are compared by the node that puts alone
	ownFirst                 // what a node put itself stands against what others say
	readsRenew               // to read a value again renews it
	oldCounts                // what was told last counts, whatever its epoch
	oldLivesOn               // what comes back after its end stays
	keepsRemoved             // what is removed stays till the end of its lease
	staysDeaf                // a subscription that was lost is not made again
	wallClocks               // leases run out by the clock of whom they are by
	expiresAway              // leases run out while the engine is away
	failsAway                // questions fail while it is
	hangsAway                // questions wait for its return
	forgetsAtReturn          // what was known is forgotten at its return
	neverForgets             // what was known then stays for good
	onceOnly                 // what has not changed is not put again
	herd                     // everybody tells everything at the return
	ignoresContext           // a Put waits for the engine, whatever its context says
)

// busFaults say which subtests notice what.
var busFaults = map[string]struct {
	fault   busFault
	notices []string
}{
	"islands":           {islands, []string{"OthersFind", "FreshNodeFinds"}},
	"no snapshot":       {noSnapshot, []string{"FreshNodeFinds"}},
	"no fences":         {noFences, []string{"TwoWriters"}},
	"own first":         {ownFirst, []string{"TwoWritersOfOneNode"}},
	"reads renew":       {readsRenew, []string{"LeaseNotKept"}},
	"old counts":        {oldCounts, []string{"OldValueReturns"}},
	"old lives on":      {oldLivesOn, []string{"RemovedValueReturns"}},
	"keeps removed":     {keepsRemoved, []string{"OthersFind"}},
	"stays deaf":        {staysDeaf, []string{"WatchGap"}},
	"wall clocks":       {wallClocks, []string{"ClocksApart"}},
	"expires away":      {expiresAway, []string{"Frozen", "RestartedEmpty"}},
	"fails away":        {failsAway, []string{"Frozen", "RestartedEmpty"}},
	"hangs away":        {hangsAway, []string{"Frozen"}},
	"forgets at return": {forgetsAtReturn, []string{"Frozen", "RestartedEmpty"}},
	"never forgets":     {neverForgets, []string{"Frozen", "RestartedEmpty"}},
	"once only":         {onceOnly, []string{"RestartedEmpty"}},
	"herd":              {herd, []string{"MessagesAfterFreeze", "MessagesAfterRestart"}},
	"ignores context":   {ignoresContext, []string{"EndedContextWhileFrozen", "EndedContextWhileGone"}},
}

// TestEngineFaultIsNoticed runs this test binary once for each fault, as
// TestFaultIsNoticed does.
func TestEngineFaultIsNoticed(t *testing.T) {
	if name := os.Getenv(faultVar); name != "" {
		cdntest.TestDirectoryEngineInBubble(t, func(*testing.T) cdntest.Engine {
			e := newBus(busFaults[name].fault).engine()
			e.Streams = 40
			return e
		})
		return
	}
	notices := map[string][]string{}
	for name, f := range busFaults {
		notices[name] = f.notices
	}
	testFaults(t, notices)
}

// What an engine cannot do is told, with the reason; without one the test fails.
func TestEngineNotCovered(t *testing.T) {
	switch os.Getenv(faultVar) {
	case "":
		run := func(how string) (string, error) {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestEngineNotCovered$", "-test.v=true")
			cmd.Env = append(os.Environ(), faultVar+"="+how)
			out, err := cmd.CombinedOutput()
			return string(out), err
		}
		out, err := run("said")
		require.NoError(t, err, "%s", out)
		assert.Contains(t, out, "--- SKIP: TestEngineNotCovered/LeaseNotKept")
		assert.Contains(t, out, "NOT COVERED: LeaseNotKept: the engine has no Persist: it stores nothing\n")
		assert.Contains(t, out, "of the engine's 15 cases 14 are covered\n")
		out, err = run("unsaid")
		require.Error(t, err, "%s", out)
		assert.Contains(t, out, "of the Engine Persist is nil, and NotCovered does not say why")
	case "said":
		cdntest.TestDirectoryEngineInBubble(t, func(*testing.T) cdntest.Engine {
			e := newBus(noFault).engine()
			e.Streams, e.Persist, e.NotCovered = 10, nil, map[string]string{"Persist": "it stores nothing"}
			return e
		})
	default:
		cdntest.TestDirectoryEngineInBubble(t, func(*testing.T) cdntest.Engine {
			e := newBus(noFault).engine()
			e.Persist = nil
			return e
		})
	}
}
