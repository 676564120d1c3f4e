package jwtauth_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/jwtauth"
)

// The commands of docs/auth-tokens.md make tokens that are taken.
func TestCommandsOfTheDocs(t *testing.T) {
	for _, program := range []string{"openssl", "bash"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(err)
		}
	}
	text, err := os.ReadFile("../../docs/auth-tokens.md")
	require.NoError(t, err)
	blocks := regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	require.Len(t, blocks, 2)
	dir := t.TempDir()
	run := func(script string) string {
		cmd := exec.CommandContext(t.Context(), "bash", "-euc", script)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		return lines[len(lines)-1]
	}
	bySecret, byKey := run(blocks[0][1]), run(blocks[1][1])
	key, err := os.ReadFile(filepath.Join(dir, "secret"))
	require.NoError(t, err)
	a := authorizer(t, jwtauth.Config{Secret: key})
	g, err := a.Authorize(t.Context(), cdn.AuthRequest{Action: cdn.ActionPublish, Stream: "live/a", Credential: bySecret})
	require.NoError(t, err)
	require.Equal(t, "ann-1", g.ID)
	a = authorizer(t, jwtauth.Config{PublicKeys: []string{filepath.Join(dir, "public.pem")}})
	g, err = a.Authorize(t.Context(), cdn.AuthRequest{Action: cdn.ActionPlay, Stream: "live/a", Credential: byKey})
	require.NoError(t, err)
	require.Equal(t, "ann-2", g.ID)
}

// docs/auth-tokens.md names every error and every algorithm.
func TestDocsAreComplete(t *testing.T) {
	text, err := os.ReadFile("../../docs/auth-tokens.md")
	require.NoError(t, err)
	source, err := os.ReadFile("errors.go")
	require.NoError(t, err)
	names := regexp.MustCompile(`(?m)^\t(Err\w+) += `).FindAllStringSubmatch(string(source), -1)
	require.Greater(t, len(names), 10)
	for _, name := range names {
		require.Contains(t, string(text), "`"+name[1]+"`")
	}
	for _, alg := range []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "HS256", "HS384", "HS512"} {
		require.Contains(t, string(text), alg)
	}
	for _, claim := range []string{"exp", "nbf", "iat", "iss", "aud", "sub", "jti", "tag", "streams", "actions", "max_bitrate"} {
		require.Contains(t, string(text), "\n| `"+claim+"` |")
	}
}
