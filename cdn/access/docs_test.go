package access_test

import (
	"os"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn/access"
)

// The policy in docs/auth.md is one.
func TestTheGuidesPolicyIsTaken(t *testing.T) {
	text, err := os.ReadFile("../../docs/auth.md")
	require.NoError(t, err)
	m := regexp.MustCompile("(?s)```json\n(.*?)```").FindSubmatch(text)
	require.NotNil(t, m)
	p, err := access.ParsePolicy(m[1])
	require.NoError(t, err)
	require.Len(t, p.Rules, 3)
}
