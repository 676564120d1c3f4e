package main

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
)

// mint runs a command that makes something.
func mintBy(t *testing.T, args ...string) string {
	out, err := exec.CommandContext(t.Context(), binary, args...).CombinedOutput()
	require.NoError(t, err, string(out))
	return strings.TrimSpace(string(out))
}

// What the program makes, it takes.
func TestMint(t *testing.T) {
	keys := write(t, "keys", "k2:0123456789abcdef0123456789abcdef\nk1:fedcba9876543210fedcba9876543210\n")
	secret := write(t, "jwt", "0123456789abcdef0123456789abcdef")
	n := launch(t, "-name", "n", "-auth-url-keys-file", keys, "-auth-jwt-secret-file", secret)
	token := mintBy(t, "token", "-secret-file", secret, "-actions", "publish", "-streams", "live", "-subject", "camera", "-for", "1m")
	pub, err := n.tryPublish(t, token)
	require.NoError(t, err)
	require.NoError(t, pub.WaitConnected(within(t, 20*time.Second)))
	_, err = n.tryPlay(t, n.url+"/whep/live", token)
	require.ErrorIs(t, err, cdn.ErrForbidden)
	signed := mintBy(t, "sign-url", "-keys-file", keys, "-streams", "live", "-for", "3s", n.url+"/whep/live")
	v, err := n.tryPlay(t, signed, "")
	require.NoError(t, err)
	require.NoError(t, v.WaitFrames(within(t, 20*time.Second), 10))
	require.NoError(t, v.WaitBye(within(t, 20*time.Second)), "it ends with what the URL permits")
	_, err = n.tryPlay(t, signed, "")
	require.ErrorIs(t, err, cdn.ErrUnauthorized)
	_, err = n.tryPlay(t, strings.Replace(signed, "/live?", "/other?", 1), "")
	require.ErrorIs(t, err, cdn.ErrUnauthorized)
}
