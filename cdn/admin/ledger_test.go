package admin

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/access"
)

// newLedger returns a ledger of a list that has a file's policy.
func newLedger(t *testing.T, file access.Policy) *ledger {
	list, err := access.New(nil, file)
	require.NoError(t, err)
	var l ledger
	l.init(list)
	return &l
}

// What the file forbids for good is not forbidden for a time only by an operator who
// forbids it once more.
func TestTheLedgerLeavesTheFile(t *testing.T) {
	file := access.Policy{
		Blocks: []access.Block{{Streams: "live/x"}},
		Rules:  []access.Rule{{Effect: access.Deny, Grant: "stolen"}},
	}
	l := newLedger(t, file)
	now := time.Now()
	require.NoError(t, l.put(entry{Kind: entryBlock, ID: "live/x", Until: now.Add(50 * time.Millisecond), At: now}))
	require.NoError(t, l.put(entry{Kind: entryRevoke, ID: "stolen", Until: now.Add(50 * time.Millisecond), At: now}))
	p := l.list.Policy()
	require.Subset(t, p.Blocks, file.Blocks)
	require.Subset(t, p.Rules, file.Rules)
	require.Eventually(t, func() bool { return len(l.list.Policy().Rules) == 1 }, 20*time.Second, 10*time.Millisecond)
	p = l.list.Policy()
	require.Equal(t, file.Blocks, p.Blocks)
	require.Equal(t, file.Rules, p.Rules)
}

// The newer of two changes of an operator replaces the older one.
func TestTheLedgerReplacesItsOwn(t *testing.T) {
	l := newLedger(t, access.Policy{})
	now := time.Now()
	for i := range 3 {
		at := now.Add(time.Duration(i) * time.Second)
		require.NoError(t, l.put(entry{Kind: entryBlock, ID: "live/x", Until: at.Add(time.Hour), At: at}))
		require.NoError(t, l.put(entry{Kind: entryRevoke, ID: "stolen", Until: at.Add(time.Hour), At: at}))
	}
	p := l.list.Policy()
	require.Len(t, p.Blocks, 1)
	require.Len(t, p.Rules, 1)
	require.True(t, p.Rules[0].Until.Equal(now.Add(time.Hour+2*time.Second)))
}

// A file that is read again takes nothing from what operators have forbidden, whether it
// had the same pattern before, or has it now.
func TestReplaceAccess(t *testing.T) {
	old := access.Policy{Blocks: []access.Block{{Streams: "live/both"}, {Streams: "live/file"}}}
	l := newLedger(t, old)
	now := time.Now()
	for _, id := range []string{"live/both", "live/api", "live/back"} {
		require.NoError(t, l.put(entry{Kind: entryBlock, ID: id, At: now}))
	}
	require.NoError(t, l.put(entry{Kind: entryBlock, ID: "live/back", Gone: true, At: now.Add(time.Second)}))
	require.NoError(t, l.put(entry{Kind: entryRevoke, ID: "stolen", At: now}))
	require.NoError(t, l.replace(access.Policy{Rules: []access.Rule{{Effect: access.Allow}}}))

	ask := func(stream cdn.StreamID, grant string) error {
		list, err := access.New(cdn.AuthorizerFunc(func(context.Context, cdn.AuthRequest) (cdn.Grant, error) {
			return cdn.Grant{ID: grant}, nil
		}), l.list.Policy())
		require.NoError(t, err)
		_, err = list.Authorize(t.Context(), cdn.AuthRequest{Action: cdn.ActionPlay, Stream: stream})
		return err
	}
	require.ErrorIs(t, ask("live/both", ""), cdn.ErrForbidden)
	require.ErrorIs(t, ask("live/api", ""), cdn.ErrForbidden)
	require.ErrorIs(t, ask("live/free", "stolen"), cdn.ErrForbidden, "though the file allows all")
	require.NoError(t, ask("live/file", ""), "the file has it no more")
	require.NoError(t, ask("live/back", ""))
	require.ErrorIs(t, l.replace(access.Policy{Rules: []access.Rule{{Effect: "x"}}}), cdn.ErrInvalid)
	require.ErrorIs(t, ask("live/api", ""), cdn.ErrForbidden)
}
