package cdntest_test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

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

// TestDirectoryWithoutWatch tests that Watch and the recording of nodes are optional.
func TestDirectoryWithoutWatch(t *testing.T) {
	cdntest.TestDirectoryInBubble(t, func(*testing.T) cdn.Directory {
		return struct{ cdn.Directory }{cdn.NewMemory()}
	})
}

const faultVar = "DELTA_CDNTEST_FAULT"

// TestFaultIsNoticed runs this test binary once for each directory that breaks the
// contract: the subtests fail that should, and none is there that never fails.
func TestFaultIsNoticed(t *testing.T) {
	if name := os.Getenv(faultVar); name != "" {
		cdntest.TestDirectoryInBubble(t, func(*testing.T) cdn.Directory { return faults[name].dir() })
		return
	}
	notices := map[string][]string{}
	for name, f := range faults {
		if name != noneOf {
			notices[name] = f.notices
		}
	}
	testFaults(t, notices)
}

// testFaults runs the calling test again for each fault, by this binary, and wants the
// subtests to fail that are said to notice it; and each to be said so for some fault. It
// passes without a fault.
func testFaults(t *testing.T, notices map[string][]string) {
	named := map[string]bool{}
	for _, names := range notices {
		for _, name := range names {
			named[name] = true
		}
	}
	result := regexp.MustCompile(`(?m)^ +--- (PASS|FAIL|SKIP): ` + t.Name() + `/(\w+)`)
	test := t.Name()
	run := func(t *testing.T, fault, subtests string) (failed map[string]bool) {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+test+"$/"+subtests, "-test.v=true")
		cmd.Env = append(os.Environ(), faultVar+"="+fault)
		out, err := cmd.CombinedOutput()
		failed = map[string]bool{}
		for _, m := range result.FindAllStringSubmatch(string(out), -1) {
			failed[m[2]] = m[1] == "FAIL"
		}
		if fault == noneOf {
			require.NoError(t, err, "%s", out)
		} else {
			require.Error(t, err, "%s", out)
		}
		return failed
	}
	for fault, names := range notices {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			failed := run(t, fault, "^("+strings.Join(names, "|")+")$")
			for _, name := range names {
				assert.True(t, failed[name], "%s passes", name)
			}
		})
	}
	t.Run(noneOf, func(t *testing.T) {
		t.Parallel()
		subtests := run(t, noneOf, "")
		assert.NotEmpty(t, subtests)
		for name := range subtests {
			assert.True(t, named[name], "%s fails for no fault", name)
		}
	})
}

// noneOf is the fault of what has none.
const noneOf = "none"
