package urlauth_test

import (
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
)

// What docs/auth.md has for openssl makes URLs that are let in.
func TestTheGuidesCommandsSign(t *testing.T) {
	for _, tool := range []string{"bash", "openssl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(err)
		}
	}
	text, err := os.ReadFile("../../docs/auth.md")
	require.NoError(t, err)
	m := regexp.MustCompile("(?s)```sh\n(expires=.*?)```").FindSubmatch(text)
	require.NotNil(t, m)
	cmd := exec.CommandContext(t.Context(), "bash", "-euc", string(m[1]))
	cmd.Env = append(os.Environ(), "SECRET="+string(recent.Secret))
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	u, err := url.Parse(strings.TrimSpace(string(out)))
	require.NoError(t, err)
	g, err := authority(t, recent).Authorize(t.Context(), cdn.AuthRequest{Action: cdn.ActionPlay, Stream: "live/match", Query: u.Query()})
	require.NoError(t, err)
	require.False(t, g.Expires.IsZero())
}
