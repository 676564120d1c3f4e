package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/access"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/cdn/urlauth"
	"github.com/deltacdn/delta/signal/whep"
	"github.com/deltacdn/delta/signal/whip"
)

// write writes a file that nobody else reads, and returns its name.
func write(t *testing.T, name, text string) string {
	name = filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
	return name
}

func (p *process) tryPlay(t *testing.T, url, credential string) (*cdntest.Viewer, error) {
	v, err := cdntest.NewViewer(within(t, 20*time.Second), cdntest.ViewerConfig{Dialer: &whep.Client{}, URL: url, Credential: credential})
	if err == nil {
		t.Cleanup(v.Kill)
	}
	return v, err
}

func (p *process) tryPublish(t *testing.T, credential string) (*cdntest.Publisher, error) {
	pub, err := cdntest.NewPublisher(within(t, 20*time.Second), cdntest.PublisherConfig{Dialer: &whip.Client{}, URL: p.url + "/whip/live", Credential: credential})
	if err == nil {
		t.Cleanup(pub.Kill)
	}
	return pub, err
}

// Who has a token or a signed URL gets in, and nobody else; another node does by the
// secret. The access list is read again at SIGHUP, and ends what it forbids.
func TestCredentials(t *testing.T) {
	const key = "0123456789abcdef0123456789abcdef"
	list := write(t, "access.json", "{}")
	secret := write(t, "secret", "known to these alone")
	file := write(t, "node.yaml", `
secret_file: `+secret+`
roles: [origin, edge]
auth:
  publish_token_file: `+write(t, "token", "the stream key of all\n")+`
  url_keys_file: `+write(t, "keys", "k1:"+key+"\n")+`
  access_file: `+list+`
`)
	n := launch(t, "-name", "n", "-config", file)
	e := launch(t, "-name", "e", "-roles", "edge", "-entry", n.url, "-secret-file", secret)
	e.waitReady(t)
	for _, wrong := range []string{"", "the stream", "the stream key of all2"} {
		_, err := n.tryPublish(t, wrong)
		require.ErrorIs(t, err, cdn.ErrUnauthorized, wrong)
	}
	pub, err := n.tryPublish(t, "the stream key of all")
	require.NoError(t, err)
	require.NoError(t, pub.WaitConnected(within(t, 20*time.Second)))
	_, err = n.tryPlay(t, n.url+"/whep/live", "")
	require.ErrorIs(t, err, cdn.ErrUnauthorized)
	_, err = n.tryPlay(t, n.url+"/whep/live", "the stream key of all")
	require.ErrorIs(t, err, cdn.ErrForbidden, "that is for publishers")

	authority, err := urlauth.New(urlauth.Key{ID: "k1", Secret: []byte(key)})
	require.NoError(t, err)
	signed, err := authority.Sign(n.url+"/whep/live", urlauth.Permit{
		Actions: []cdn.Action{cdn.ActionPlay}, Streams: "live", Expires: time.Now().Add(time.Hour), ID: "ticket-1",
	})
	require.NoError(t, err)
	v, err := n.tryPlay(t, signed, "")
	require.NoError(t, err)
	require.NoError(t, v.WaitFrames(within(t, 20*time.Second), 10))
	atEdge := e.view(within(t, 20*time.Second), t)
	require.NotNil(t, atEdge, "the edge asks nobody, and fetches by the secret")

	_, text := get(t, n.url+"/status.json")
	for _, secret := range []string{`"live"`, `"peer"`} {
		require.NotContains(t, text, secret, "strangers are not told of streams and links")
	}
	_, text = get(t, n.url+"/status.json?stream=live")
	require.Contains(t, text, `"live"`, "who knows the name can ask")
	_, text = get(t, n.admin+"/status.json")
	require.Contains(t, text, `"live"`, "operators see all")
	require.Contains(t, text, `"peer":"e"`)
	code, _ := get(t, n.url+"/status")
	require.Equal(t, 404, code)

	policy, err := json.Marshal(access.Policy{Rules: []access.Rule{{Effect: access.Deny, Grant: "ticket-1"}}})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(list, policy, 0o600))
	require.NoError(t, n.Process.Signal(syscall.SIGHUP))
	select {
	case <-v.Done():
	case <-time.After(patience):
		t.Fatal("the session goes on")
	}
	_, err = n.tryPlay(t, signed, "")
	require.ErrorIs(t, err, cdn.ErrForbidden)
}

// Without a secret nobody fetches from a node that asks for credentials.
func TestNobodyFetchesWithoutASecret(t *testing.T) {
	n := launch(t, "-name", "n", "-roles", "origin", "-auth-publish-token-file", write(t, "token", "the stream key of all"))
	pub, err := n.tryPublish(t, "the stream key of all")
	require.NoError(t, err)
	require.NoError(t, pub.WaitConnected(within(t, 20*time.Second)))
	for _, credential := range []string{"", "x", "the stream key of all"} {
		_, err := n.tryPlay(t, n.url+"/link/live", credential)
		require.Error(t, err, credential)
	}
}

// A reload keeps what operators have revoked and blocked.
func TestReloadKeepsRevocations(t *testing.T) {
	list := write(t, "access.json", `{"blocks": [{"streams": "gone"}]}`)
	n := launch(t, "-name", "n", "-auth-access-file", list, "-v")
	out, code := n.ctl(t, "revoke", "ticket-1", "-reason", "stolen")
	require.Zero(t, code, out)
	require.Regexp(t, `(?m)^It lasts until 2\d{3}-`, out)
	out, code = n.ctl(t, "block", "gone")
	require.Zero(t, code, out)
	require.Contains(t, out, "It lasts until it is taken back.")
	require.NoError(t, os.WriteFile(list, []byte(`{"rules": [{"effect": "allow"}]}`), 0o600))
	require.NoError(t, n.Process.Signal(syscall.SIGHUP))
	require.Eventually(t, func() bool { return strings.Contains(n.log.String(), "the configuration was read again") }, 10*time.Second, 10*time.Millisecond)
	out, code = n.ctl(t, "blocks")
	require.Zero(t, code, out)
	require.Regexp(t, `(?m)^revoke +ticket-1 `, out)
	require.Regexp(t, `(?m)^block +gone `, out)
}
