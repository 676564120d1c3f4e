package admin

import (
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/access"
)

// TestDocs runs the commands of docs/admin.md, one after the other, against a node.
func TestDocs(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is not installed")
	}
	list, err := access.New(nil, access.Policy{})
	require.NoError(t, err)
	node, err := cdn.Listen(cdn.Config{ID: "edge-1", Addr: "127.0.0.1:0", Authorizer: list})
	require.NoError(t, err)
	defer node.Close()
	list.Bind(node)
	a, err := New(Config{Node: node, Access: list, Tokens: []Token{{Name: "ops", Secret: changing, Write: true}}})
	require.NoError(t, err)
	server := httptest.NewServer(a)
	defer server.Close()
	session, err := node.Authorize(t.Context(), cdn.AuthRequest{Action: cdn.ActionPlay, Stream: "live/one"})
	require.NoError(t, err)
	_, err = session.Enter(t.Context())
	require.NoError(t, err)
	ended := make(chan error, 1)
	session.Start(func(err error) { ended <- err })
	defer session.Leave(nil)

	doc, err := os.ReadFile("../../docs/admin.md")
	require.NoError(t, err)
	used := map[string]bool{}
	for i, part := range strings.Split(string(doc), "```sh\n") {
		if i == 0 {
			continue
		}
		commands, _, closed := strings.Cut(part, "```\n")
		require.True(t, closed)
		commands = strings.ReplaceAll(commands, "ABCDEFGH", session.Name())
		sh := exec.CommandContext(t.Context(), "sh", "-eu", "-c", commands)
		sh.Env = append(os.Environ(), "DELTA="+server.URL, "TOKEN="+changing)
		out, err := sh.CombinedOutput()
		require.NoError(t, err, "%s\n%s", commands, out)
		for _, r := range routes {
			end := r.path[strings.LastIndexByte(r.path, '/'):]
			if end == "/{id}" {
				end = strings.TrimSuffix(r.path, "{id}")
			}
			used[r.name] = used[r.name] || strings.Contains(commands, end)
		}
	}
	for _, r := range routes {
		require.True(t, used[r.name], "%s %s is not in the documentation", r.method, r.path)
	}
	require.ErrorContains(t, <-ended, "spam")
	require.Empty(t, list.Policy().Blocks)
	require.Len(t, list.Policy().Rules, 1)
	require.Equal(t, 500, node.Limits().Viewers)
	require.False(t, node.Draining())
	require.Contains(t, string(doc), "| `too-many-attempts` |")
}
